//! What is done with one peer, in a thread of its own.

use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use devp2p_light::chain::Step;
use devp2p_light::client::{
    AnyAccount, AnyHead, AnySlot, Client, Config, Event, Graded, Proof, Query, QueryError,
};
use devp2p_light::eth::Status;
use devp2p_light::evidence::{Claimed, Head, Trusted, TrustedHash};
use devp2p_light::fork_id::Network;
use devp2p_light::primitives::{Address, Hash};
use devp2p_std::enode::Enode;

use super::Shared;
use super::peer::{self, Left, Next, Offer};

/// How often it is looked whether to stop, and for newer trusted hashes.
pub(super) const IDLE: Duration = Duration::from_millis(250);
/// Before a lost peer is dialled again; doubled each time, up to 16 times as long.
const PAUSE: Duration = Duration::from_secs(2);
/// Hashes of blocks that are kept for each peer.
const RING: usize = 256;

/// What is to be done with every peer.
#[derive(Debug)]
pub(super) struct Plan<'p> {
    pub(super) network: Network<'p>,
    pub(super) trusted: Option<TrustedHash>,
    pub(super) back: u64,
    pub(super) account: Option<Address>,
    pub(super) slot: Option<[u8; 32]>,
    pub(super) code: bool,
    pub(super) follow: bool,
    pub(super) offer: Offer,
}

/// What happened with a peer.
#[derive(Debug)]
pub(super) struct Report {
    /// Which of the enodes it is.
    pub(super) peer: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Status(Status),
    /// So many more headers were verified.
    Verified(u64),
    Trusted(Head<Trusted>),
    /// The peer's head, and the hashes of its last blocks.
    Claimed {
        head: Head<Claimed>,
        dropped: u64,
        known: Vec<(u64, Hash)>,
    },
    Account(AnyAccount),
    Slot(AnySlot),
    /// Code of so many bytes, with the account's hash.
    Code(AnyAccount, usize),
    /// The peer does not serve the state of this block.
    Unavailable(AnyHead),
    NoSnap,
    Left(Left),
}

pub(super) struct Worker<'p> {
    index: usize,
    enode: &'p Enode,
    plan: &'p Plan<'p>,
    shared: &'p Shared,
    sender: Sender<Report>,
}

/// What there is to do in a session besides following.
struct Task {
    /// The claimed head that was told last.
    told: Option<Hash>,
    dropped: u64,
    has_asked: bool,
    account: Option<AnyAccount>,
    is_done: bool,
}

impl<'p> Worker<'p> {
    pub(super) fn new(
        index: usize,
        enode: &'p Enode,
        plan: &'p Plan<'p>,
        shared: &'p Shared,
        sender: Sender<Report>,
    ) -> Self {
        Self {
            index,
            enode,
            plan,
            shared,
            sender,
        }
    }

    pub(super) fn run(self) {
        let mut config = Config::new();
        config.inbox = peer::INBOX as usize;
        config.back = self.plan.back;
        let mut client = Client::<RING>::new(self.plan.network, self.plan.trusted, config);
        let mut applied = self.plan.trusted;
        let mut pause = PAUSE;
        // What was proved in one session need not be proved again in the next.
        let mut is_done = false;
        loop {
            let mut task = Task {
                told: None,
                dropped: 0,
                has_asked: false,
                account: None,
                is_done,
            };
            let left = match crate::key::load(None) {
                Ok(key) => peer::drive(
                    self.enode,
                    self.plan.offer,
                    key,
                    &mut client,
                    IDLE,
                    |client, event| match event {
                        Some(event) => self.on_event(client, &mut task, event),
                        None => self.on_idle(client, &mut task, &mut applied),
                    },
                ),
                Err(failure) => Left::Unreachable(failure),
            };
            is_done = task.is_done;
            if task.told.is_some() {
                pause = PAUSE;
            }
            let is_last = match &left {
                Left::Done => true,
                Left::Fault(fault) => fault.is_lie() || !self.plan.follow,
                Left::Ended(_) | Left::Unreachable(_) => !self.plan.follow,
            };
            self.tell(What::Left(left));
            if is_last || self.rests(pause) {
                return;
            }
            pause = (pause * 2).min(PAUSE * 16);
        }
    }

    /// Waits before the next dial; true if it is time to stop.
    fn rests(&self, pause: Duration) -> bool {
        let mut waited = Duration::ZERO;
        while waited < pause && !self.shared.is_stopping() {
            thread::sleep(IDLE);
            waited += IDLE;
        }
        self.shared.is_stopping()
    }

    fn tell(&self, what: What) {
        let peer = self.index;
        // Nobody listens any more if the output broke.
        let _ = self.sender.send(Report { peer, what });
    }

    fn on_idle(
        &self,
        client: &mut Client<'_, RING>,
        task: &mut Task,
        applied: &mut Option<TrustedHash>,
    ) -> Next {
        if self.shared.is_stopping() {
            return Next::Stop;
        }
        if let Some(hash) = self.shared.trusted()
            && *applied != Some(hash)
        {
            *applied = Some(hash);
            if let Some(head) = client.trust(hash) {
                self.on_trusted(task, head);
            }
        }
        Next::GoOn
    }

    fn on_event(&self, client: &mut Client<'_, RING>, task: &mut Task, event: Event<'_>) -> Next {
        match event {
            Event::Nothing => return Next::GoOn,
            Event::Status(status) => self.tell(What::Status(status)),
            Event::Chain(Step::Trusted(head)) => {
                self.tell(What::Verified(1));
                self.on_trusted(task, head);
            }
            Event::Chain(Step::Back { count, .. }) => self.tell(What::Verified(count)),
            Event::Chain(Step::Ahead { count, dropped, .. }) => {
                task.dropped += dropped;
                self.tell(What::Verified(count));
            }
            Event::Chain(Step::CaughtUp) => self.on_caught_up(client, task),
            Event::Chain(_) => {}
            Event::Proved(Proof::Account(account)) => {
                task.account = Some(account);
                self.tell(What::Account(account));
                match self.plan.slot {
                    Some(key) => self.ask(client, task, Query::Slot { account, key }),
                    None => self.ask_for_code(client, task),
                }
            }
            Event::Proved(Proof::Slot(slot)) => {
                self.tell(What::Slot(slot));
                self.ask_for_code(client, task);
            }
            Event::Proved(Proof::Code(code)) => {
                if let Some(account) = task.account {
                    self.tell(What::Code(account, code.len()));
                }
                task.is_done = true;
            }
            Event::Unavailable(query) => self.on_unavailable(client, task, query),
        }
        match task.is_done && !self.plan.follow {
            true => Next::Stop,
            false => Next::GoOn,
        }
    }

    /// What was proved before is proved again against the newer block.
    fn on_trusted(&self, task: &mut Task, head: Head<Trusted>) {
        self.tell(What::Trusted(head));
        task.has_asked = false;
        task.is_done = false;
    }

    fn on_caught_up(&self, client: &mut Client<'_, RING>, task: &mut Task) {
        let chain = client.chain();
        if let Some(head) = chain.claimed().copied()
            && task.told != Some(head.hash())
        {
            task.told = Some(head.hash());
            let numbers = chain.ring().range();
            let numbers = numbers
                .into_iter()
                .flat_map(|(oldest, newest)| oldest..=newest);
            let known = numbers.filter_map(|number| Some((number, chain.ring().get(number)?)));
            self.tell(What::Claimed {
                head,
                dropped: std::mem::take(&mut task.dropped),
                known: known.collect(),
            });
        }
        if task.has_asked || task.is_done {
            return;
        }
        task.has_asked = true;
        let head = match (chain.trusted(), chain.claimed()) {
            (Some(head), _) => AnyHead::Trusted(*head),
            (None, Some(head)) => AnyHead::Claimed(*head),
            (None, None) => return,
        };
        match self.plan.account {
            Some(address) => self.ask(client, task, Query::Account { head, address }),
            None => task.is_done = true,
        }
    }

    fn ask(&self, client: &mut Client<'_, RING>, task: &mut Task, query: Query) {
        match client.query(query) {
            Ok(None) => {}
            Ok(Some(known)) => {
                self.on_event(client, task, Event::Proved(known));
            }
            Err(QueryError::NoSnap | QueryError::Busy) => {
                self.tell(What::NoSnap);
                task.is_done = true;
            }
        }
    }

    fn ask_for_code(&self, client: &mut Client<'_, RING>, task: &mut Task) {
        match task.account {
            Some(account) if self.plan.code => self.ask(client, task, Query::Code { account }),
            _ => task.is_done = true,
        }
    }

    /// The state of a trusted block is too old: that of the claimed head is there, as a claim.
    fn on_unavailable(&self, client: &mut Client<'_, RING>, task: &mut Task, query: Query) {
        let (head, address) = match query {
            Query::Account { head, address } => (head, address),
            Query::Slot { account, .. } | Query::Code { account } => {
                (head_of(&account), Address::default())
            }
        };
        self.tell(What::Unavailable(head));
        let claimed = client.chain().claimed().copied();
        match (query, head, claimed) {
            (Query::Account { .. }, Graded::Trusted(_), Some(claimed)) => {
                let head = AnyHead::Claimed(claimed);
                self.ask(client, task, Query::Account { head, address });
            }
            _ => task.is_done = true,
        }
    }
}

/// The block after which an account is so.
pub(super) fn head_of(account: &AnyAccount) -> AnyHead {
    match account {
        Graded::Trusted(account) => Graded::Trusted(*account.head()),
        Graded::Claimed(account) => Graded::Claimed(*account.head()),
    }
}
