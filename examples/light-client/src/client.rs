//! The light client as one machine: what to say to a peer, what its answers mean, and when to leave it.
//!
//! It does no I/O and reads no clock. A driver that has a session with a peer calls, in this order:
//! 1. [`begin`](Client::begin) once the session is active, with the versions that it shares.
//! 2. [`poll`](Client::poll) until it gives nothing more to send, after each of the other calls and when
//!    [`poll_at`](Client::poll_at) falls due.
//! 3. [`handle`](Client::handle) for each message that came, [`handle_oversize`](Client::handle_oversize) for one that was
//!    larger than the inbox.
//!
//! On a [`Fault`] the driver disconnects with [`Fault::reason`]. The chain outlives the session: the next one, with any peer,
//! goes on where this one was left. Nothing is kept of a message but what it proved; what nobody here wants (transactions,
//! announcements) is not read at all.

mod fault;
mod query;

use core::fmt;

use devp2p_core::rlp::NoRoom;
use devp2p_core::time::{Duration, Instant, PollAt};

pub use fault::Fault;
pub use query::{AnyAccount, AnyHead, AnySlot, Graded, Proof, Query};

use crate::chain::{Chain, Question, Step};
use crate::eth::{self, BlockHeaders, BlockRange, EmptyAnswer, Status};
use crate::evidence::{Head, Trusted, TrustedHash};
use crate::fork_id::Network;
use crate::header::MAX_LENGTH;
use crate::primitives::DecodeError;
use crate::snap;

/// Bytes that the largest message takes that [`Client::poll`] writes.
pub const MAX_SENT: usize = 160;
/// Headers that go-ethereum sends at most at a time.
const MOST_HEADERS: u64 = 1024;
/// Bytes of a BlockHeaders message besides its headers, at most.
const AROUND_HEADERS: usize = 24;
/// By how many bytes a header may exceed the largest one so far before it does not fit any more.
const HEADER_GROWTH: usize = 40;

/// One of the two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Protocol {
    /// `eth`.
    Eth,
    /// `snap`.
    Snap,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eth => eth::NAME,
            Self::Snap => snap::NAME,
        })
    }
}

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Bytes of the largest message that the driver can take: so many headers are asked for at a time as fit. Default: 8192.
    pub inbox: usize,
    /// How many ancestors of a trusted block are verified. Default: 64.
    pub back: u64,
    /// How long a Status may take. Default: 5 s, as go-ethereum has it.
    pub status_timeout: Duration,
    /// How long the peer's Status is waited for before ours is sent. A node that has ours first and is of another network often
    /// disconnects before its own is out, and nobody learns why. Default: 500 ms.
    pub status_delay: Duration,
    /// How long an answer may take. Default: 15 s.
    pub answer_timeout: Duration,
    /// How long it takes to ask for newer headers again when there were none. Default: 4 s, a third of a slot.
    pub poll_interval: Duration,
}

impl Config {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            inbox: 8192,
            back: 64,
            status_timeout: Duration::from_secs(5),
            status_delay: Duration::from_millis(500),
            answer_timeout: Duration::from_secs(15),
            poll_interval: Duration::from_secs(4),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// A message to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Outgoing {
    /// Of which protocol it is.
    pub protocol: Protocol,
    /// Its code.
    pub code: u32,
    /// Bytes of its payload, at the front of the buffer.
    pub length: usize,
}

/// What a message meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<'a> {
    /// Nothing for the user.
    Nothing,
    /// The peer said who it is, and belongs to the network.
    Status(Status),
    /// What is known of the chain has changed.
    Chain(Step),
    /// A query is answered.
    Proved(Proof<'a>),
    /// The peer does not have what the query asks for: nodes keep the state of the last 128 blocks or so.
    Unavailable(Query),
}

/// Why a query cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum QueryError {
    /// The session does not share `snap`.
    NoSnap,
    /// Another query is not answered yet.
    Busy,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSnap => "the peer does not serve state: it does not offer snap",
            Self::Busy => "another query is not answered yet",
        })
    }
}

impl core::error::Error for QueryError {}

/// The one question that is open.
#[derive(Debug, Clone, Copy)]
struct Asked {
    request_id: u64,
    deadline: Instant,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Headers(Question, u64),
    State(Query),
}

/// What belongs to one session.
#[derive(Debug, Clone, Copy)]
struct Session {
    eth: u32,
    has_snap: bool,
    /// When the remote's Status is due, until it has come.
    status_due: Option<Instant>,
    /// When ours is sent, unless the remote's comes before; `None` once it was.
    send_status: Option<Instant>,
    asked: Option<Asked>,
    /// An answer that is owed to the remote.
    owed: Option<(Protocol, EmptyAnswer)>,
    query: Option<Query>,
    /// When to ask for newer headers.
    ask_again: Instant,
    /// Bytes of the largest header so far; before the first, of the largest that is thinkable.
    largest: usize,
    /// Not more headers than this: more were too many.
    most: u64,
}

/// A light client: see the [module](self) for how to drive it.
#[derive(Debug, Clone)]
pub struct Client<'n, const N: usize = 64> {
    network: Network<'n>,
    config: Config,
    chain: Chain<N>,
    session: Option<Session>,
    last_id: u64,
}

impl<'n, const N: usize> Client<'n, N> {
    /// A client of this network that trusts the block with this hash; without one, everything is a peer's claim.
    pub const fn new(network: Network<'n>, trusted: Option<TrustedHash>, config: Config) -> Self {
        Self {
            network,
            config,
            chain: Chain::new(network.genesis, trusted, config.back),
            session: None,
            last_id: 0,
        }
    }

    /// The chain as far as it is known.
    pub const fn chain(&self) -> &Chain<N> {
        &self.chain
    }

    /// Trusts a newer block; see [`Chain::trust`].
    pub fn trust(&mut self, hash: TrustedHash) -> Option<Head<Trusted>> {
        self.chain.trust(hash)
    }

    /// Begins a session that shares this version of `eth`, and `snap` or not.
    pub fn begin(&mut self, now: Instant, eth: u32, has_snap: bool) {
        self.session = Some(Session {
            eth,
            has_snap,
            status_due: Some(now.saturating_add(self.config.status_timeout)),
            send_status: Some(now.saturating_add(self.config.status_delay)),
            asked: None,
            owed: None,
            query: None,
            ask_again: now,
            largest: MAX_LENGTH,
            most: MOST_HEADERS,
        });
    }

    /// Asks a question about the state. The answer, if nothing has to be asked for it; else it comes as an [`Event`].
    ///
    /// # Errors
    /// [`QueryError`]; also [`QueryError::NoSnap`] without a session.
    pub fn query(&mut self, query: Query) -> Result<Option<Proof<'static>>, QueryError> {
        if let Some(known) = query.known() {
            return Ok(Some(known));
        }
        let session = self.session.as_mut().filter(|session| session.has_snap);
        let session = session.ok_or(QueryError::NoSnap)?;
        let is_open = session.query.is_some()
            || matches!(
                session.asked,
                Some(Asked {
                    what: What::State(_),
                    ..
                })
            );
        if is_open {
            return Err(QueryError::Busy);
        }
        session.query = Some(query);
        Ok(None)
    }

    /// When [`poll`](Self::poll) has something to do, if nothing comes before.
    pub fn poll_at(&self) -> PollAt {
        let Some(session) = &self.session else {
            return PollAt::Idle;
        };
        if session.owed.is_some() {
            return PollAt::Now;
        }
        if let Some(at) = session.send_status {
            return match session.status_due {
                Some(due) => PollAt::At(at.min(due)),
                None => PollAt::Now,
            };
        }
        if let Some(due) = session.status_due {
            return PollAt::At(due);
        }
        match (&session.asked, session.query) {
            (Some(asked), _) => PollAt::At(asked.deadline),
            (None, Some(_)) => PollAt::Now,
            (None, None) => match self.chain.question(1) {
                Some(Question::Ahead { .. }) => PollAt::At(session.ask_again),
                Some(_) => PollAt::Now,
                None => PollAt::Idle,
            },
        }
    }

    /// Writes the next message to send to the front of `out`. `None` if there is none now.
    ///
    /// # Errors
    /// [`Fault`] if the peer has let time run out.
    pub fn poll(
        &mut self,
        now: Instant,
        out: &mut [u8; MAX_SENT],
    ) -> Result<Option<Outgoing>, Fault> {
        let most = self.most_headers();
        let Some(session) = &mut self.session else {
            return Ok(None);
        };
        if let Some(at) = session.send_status
            && (now >= at || session.status_due.is_none())
        {
            session.send_status = None;
            let status = own_status(&self.network, &self.chain, session.eth);
            return Ok(outgoing(
                Protocol::Eth,
                eth::code::STATUS,
                status.encode(out),
            ));
        }
        if let Some((protocol, answer)) = session.owed.take() {
            return Ok(outgoing(protocol, answer.code, answer.encode(out)));
        }
        if let Some(due) = session.status_due {
            return if now >= due {
                Err(Fault::NoStatus)
            } else {
                Ok(None)
            };
        }
        if let Some(asked) = &session.asked {
            return if now >= asked.deadline {
                Err(Fault::NoAnswer)
            } else {
                Ok(None)
            };
        }
        let what = match (session.query, self.chain.question(most)) {
            (Some(query), _) => What::State(query),
            (None, None) => return Ok(None),
            (None, Some(Question::Ahead { .. })) if now < session.ask_again => return Ok(None),
            (None, Some(question)) => What::Headers(question, most),
        };
        let request_id = self.last_id.wrapping_add(1);
        let sent = match &what {
            What::Headers(question, _) => {
                let written = question.request(request_id).encode(out);
                outgoing(Protocol::Eth, eth::code::GET_BLOCK_HEADERS, written)
            }
            What::State(query) => {
                let request = query.request();
                outgoing(
                    Protocol::Snap,
                    request.code(),
                    request.encode(request_id, out),
                )
            }
        };
        if sent.is_some() {
            self.last_id = request_id;
            session.query = None;
            session.asked = Some(Asked {
                request_id,
                deadline: now.saturating_add(self.config.answer_timeout),
                what,
            });
        }
        Ok(sent)
    }

    /// Takes a message of the peer. [`poll`](Self::poll) must have been called until it had nothing more: one answer can be owed
    /// at a time.
    ///
    /// # Errors
    /// [`Fault`] if the peer is to be left.
    pub fn handle<'a>(
        &mut self,
        now: Instant,
        protocol: Protocol,
        code: u32,
        payload: &'a [u8],
    ) -> Result<Event<'a>, Fault> {
        let malformed = |error| Fault::Malformed {
            protocol,
            code,
            error,
        };
        let Some(session) = &mut self.session else {
            return Ok(Event::Nothing);
        };
        match protocol {
            Protocol::Eth if code == eth::code::STATUS => {
                if session.status_due.take().is_none() {
                    return Err(Fault::StatusOutOfPlace);
                }
                let status = Status::decode(session.eth, payload).map_err(malformed)?;
                check_status(&self.network, &self.chain, session.eth, &status)?;
                self.chain.hint(status.head);
                session.ask_again = now;
                return Ok(Event::Status(status));
            }
            // Each protocol has its own queue in a session, so that only those of one come in order.
            Protocol::Eth if session.status_due.is_some() => return Err(Fault::StatusOutOfPlace),
            Protocol::Eth => {}
            Protocol::Snap => {
                return match snap::empty_answer(code, payload).map_err(malformed)? {
                    Some(answer) => {
                        session.owed = Some((protocol, answer));
                        Ok(Event::Nothing)
                    }
                    None => self.on_state(code, payload),
                };
            }
        }
        match code {
            eth::code::BLOCK_HEADERS => return self.on_headers(now, payload),
            eth::code::BLOCK_RANGE_UPDATE => {
                let range = BlockRange::decode(payload).map_err(malformed)?;
                self.chain.hint(range.latest_hash);
                session.ask_again = now;
            }
            _ => {
                let answer = eth::empty_answer(session.eth, code, payload).map_err(malformed)?;
                session.owed = answer.map(|answer| (protocol, answer));
            }
        }
        Ok(Event::Nothing)
    }

    /// Takes note of a message that was larger than the inbox, and skipped.
    ///
    /// # Errors
    /// [`Fault`] if it was the answer to a question that cannot be made smaller.
    pub fn handle_oversize(
        &mut self,
        protocol: Protocol,
        code: u32,
        length: u32,
    ) -> Result<(), Fault> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let Some(asked) = &session.asked else {
            return Ok(());
        };
        match asked.what {
            What::Headers(_, amount)
                if (protocol, code) == (Protocol::Eth, eth::code::BLOCK_HEADERS) =>
            {
                session.most = amount / 2;
                if session.most == 0 {
                    return Err(Fault::AnswerTooLarge { length });
                }
                session.asked = None;
                Ok(())
            }
            What::State(query)
                if (protocol, code) == (Protocol::Snap, query.request().code() + 1) =>
            {
                Err(Fault::AnswerTooLarge { length })
            }
            _ => Ok(()),
        }
    }

    fn on_headers<'a>(&mut self, now: Instant, payload: &'a [u8]) -> Result<Event<'a>, Fault> {
        let (protocol, code) = (Protocol::Eth, eth::code::BLOCK_HEADERS);
        let answer = BlockHeaders::decode(payload).map_err(|error| Fault::Malformed {
            protocol,
            code,
            error,
        })?;
        let unasked = Fault::Unasked { protocol, code };
        let session = self.session.as_mut().ok_or(unasked)?;
        let question = match session.asked {
            Some(Asked {
                request_id,
                what: What::Headers(question, _),
                ..
            }) if request_id == answer.request_id => question,
            _ => return Err(unasked),
        };
        let step = self.chain.answer(question, answer.headers)?;
        session.asked = None;
        let largest = answer
            .headers
            .flatten()
            .map(|header| header.encoded().len())
            .max();
        if let Some(largest) = largest {
            session.largest = match session.largest {
                MAX_LENGTH => largest,
                so_far => so_far.max(largest),
            };
        }
        if step == Step::CaughtUp {
            session.ask_again = now.saturating_add(self.config.poll_interval);
        }
        Ok(Event::Chain(step))
    }

    fn on_state<'a>(&mut self, code: u32, payload: &'a [u8]) -> Result<Event<'a>, Fault> {
        let protocol = Protocol::Snap;
        let unasked = Fault::Unasked { protocol, code };
        let malformed = |error: DecodeError| Fault::Malformed {
            protocol,
            code,
            error,
        };
        let session = self.session.as_mut().ok_or(unasked)?;
        let Some(Asked {
            request_id,
            what: What::State(query),
            ..
        }) = session.asked
        else {
            return Err(unasked);
        };
        if code != query.request().code() + 1 {
            return Err(unasked);
        }
        let answer = snap::Answer::decode(code, payload).map_err(malformed)?;
        if answer.request_id != request_id {
            return Err(unasked);
        }
        session.asked = None;
        let proof = match query {
            Query::Code { .. } => match answer.code().map_err(malformed)? {
                None => return Ok(Event::Unavailable(query)),
                Some(code) => query.verify(answer.proof, code)?,
            },
            _ if answer.proof.is_empty() => return Ok(Event::Unavailable(query)),
            _ => query.verify(answer.proof, &[])?,
        };
        Ok(Event::Proved(proof))
    }

    /// How many headers fit into the inbox.
    fn most_headers(&self) -> u64 {
        let Some(session) = &self.session else {
            return 1;
        };
        let each = match session.largest {
            MAX_LENGTH => MAX_LENGTH,
            largest => largest + HEADER_GROWTH,
        };
        let room = self.config.inbox.saturating_sub(AROUND_HEADERS);
        let fit = room.checked_div(each).unwrap_or_default() as u64;
        fit.min(session.most).max(1)
    }
}

/// What is said of this side: it stands where its trust begins, or at the genesis block, and serves nothing.
fn own_status<const N: usize>(network: &Network<'_>, chain: &Chain<N>, version: u32) -> Status {
    let (number, time) = chain.trusted_position();
    let head = chain.trusted().map_or(network.genesis, Head::hash);
    Status {
        version,
        network_id: network.id,
        genesis: network.genesis,
        fork_id: network.fork_id(number, time),
        head,
        numbers: Some((number, number)),
    }
}

fn check_status<const N: usize>(
    network: &Network<'_>,
    chain: &Chain<N>,
    version: u32,
    status: &Status,
) -> Result<(), Fault> {
    if status.version != version {
        return Err(Fault::OtherVersion(status.version));
    }
    if status.network_id != network.id {
        return Err(Fault::OtherNetwork(status.network_id));
    }
    if status.genesis != network.genesis {
        return Err(Fault::OtherGenesis(status.genesis));
    }
    let (number, time) = chain.trusted_position();
    network
        .check(status.fork_id, number, time)
        .map_err(Fault::OtherForks)
}

/// What was written: `MAX_SENT` bytes are enough for each message.
fn outgoing(protocol: Protocol, code: u32, written: Result<usize, NoRoom>) -> Option<Outgoing> {
    let length = written.ok()?;
    Some(Outgoing {
        protocol,
        code,
        length,
    })
}
