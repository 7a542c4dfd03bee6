//! One session over bytes, without a socket, a clock or a handler: the core's session machine over memory that grows and is
//! given back, so that an idle session is small.

#[cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "seen by tests")
)]
pub(crate) mod output;

use std::sync::Arc;

use devp2p_core::code::LocalCode;
use devp2p_core::config::Local;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::hello::NodeId;
use devp2p_core::inbox::Hold;
use devp2p_core::output::Output as _;
use devp2p_core::peer::Peer;
use devp2p_core::rlp;
use devp2p_core::rlpx::message::{Compression, total};
use devp2p_core::rlpx::transmit::HEADER_LENGTH;
use devp2p_core::rlpx::{Entropy, MAX_SENT, NodeKey};
use devp2p_core::session::{self, Buffers, MIN_INBOX_MEMORY, PendingWrite, Progress, Written};
use devp2p_core::time::{Instant, PollAt};

use crate::compressor::Compressor;
use crate::event_loop::tools::Tools;
use crate::host::{Host, MAX_PROTOCOLS};
use crate::inbox::{Filling, Inbox, Observer, Slot};
use crate::keccak::{Handshake, Keccak256};
use crate::memory::Account;
use crate::node::Service;
use crate::offer::Offer;
use crate::peer::HelloText;
use output::{Lent, Limited, Output};

/// What a connection tells its driver, each once.
pub(crate) enum Event {
    /// The remote proved this identity: call [`Connection::admit`].
    Authenticated(NodeId),
    /// Hello was accepted: call [`Connection::reject`], or begin.
    Active(HelloText),
    /// Everything is said: end the sending direction of the transport, go on reading.
    HalfClose,
    /// The session is over: drop the transport.
    Closed(CloseReason),
}

type Machine = session::Connection<Slot, MAX_PROTOCOLS, Keccak256>;

/// The driver, in any order,
/// 1. passes what arrives to [`handle_input`](Self::handle_input) while [`wants_input`](Self::wants_input), keeping the rest;
///    and the transport's end to [`handle_end`](Self::handle_end);
/// 2. calls [`poll`](Self::poll) until `None` after that, and when [`poll_at`](Self::poll_at) says so;
/// 3. delivers what is in the inbox;
/// 4. writes the output to the transport and says so by [`on_taken`](Self::on_taken).
pub(crate) struct Connection {
    machine: Box<Machine>,
    pub(crate) inbox: Inbox,
    pub(crate) output: Output,
    /// Set once the remote is admitted for good; until then no message is taken.
    account: Option<Arc<Account>>,
    /// Until Hello was accepted.
    opening: Option<Box<Opening>>,
    /// The remote's Hello, accepted and not told yet.
    hello: Option<Box<HelloText>>,
    /// Our Hello, and the judgement of the remote's, wait for [`offer`](Connection::offer).
    holds_hello: bool,
}

/// What the opening needs memory for.
struct Opening {
    sent: [u8; MAX_SENT],
    gathered: [u8; MIN_INBOX_MEMORY],
}

/// The memory that the machine is lent for one call.
struct Growable<'a, O> {
    inboxes: Filling<'a, O>,
    output: Lent<'a>,
    opening: Option<&'a mut Opening>,
}

impl<'a, O: Observer> Buffers for Growable<'a, O> {
    type Slot = Slot;
    type Inboxes = Filling<'a, O>;
    type Output = Lent<'a>;

    const KEEPS_HELLO: bool = true;

    fn inboxes(&mut self) -> &mut Filling<'a, O> {
        &mut self.inboxes
    }

    fn output(&mut self) -> &mut Lent<'a> {
        &mut self.output
    }

    fn handshake(&mut self) -> (&mut [u8], &mut [u8]) {
        match &mut self.opening {
            Some(opening) => (&mut opening.sent, &mut opening.gathered),
            None => (&mut [], &mut []),
        }
    }

    fn send_packet(&mut self, length: usize) {
        if let Some(packet) = self.opening.as_ref().and_then(|o| o.sent.get(..length)) {
            let taken = self.output.push(packet);
            debug_assert!(taken, "this output takes any packet");
        }
    }
}

/// The machine, and what it is lent.
struct Parts<'a, O> {
    machine: &'a mut Machine,
    buffers: Growable<'a, O>,
    key: &'a NodeKey,
    local: Local<'a>,
    compressor: &'a mut Option<Box<Compressor>>,
}

impl Connection {
    /// The side that dialled `remote`, or that was dialled.
    pub(crate) fn new(
        host: &Host<impl Service>,
        remote: Option<NodeId>,
        entropy: Entropy,
        now: Instant,
    ) -> Self {
        let handshake = match remote {
            Some(remote) => Handshake::initiator_with(remote, entropy),
            None => Handshake::recipient_with(entropy),
        };
        let machine = Machine::new(handshake, &host.local(), host.config, now);
        Self {
            machine: Box::new(machine),
            inbox: Inbox::new(host.protocols.len()),
            output: Output::default(),
            account: None,
            opening: Some(Box::new(Opening {
                sent: [0; MAX_SENT],
                gathered: [0; MIN_INBOX_MEMORY],
            })),
            hello: None,
            holds_hello: false,
        }
    }

    /// Lets our Hello wait until [`offer`](Self::offer).
    pub(crate) fn hold_hello(&mut self) {
        self.holds_hello = true;
        self.machine.defer_hello(true);
    }

    /// The remote's Hello, if it came while ours is held.
    pub(crate) fn held_hello(&mut self, tools: &mut Tools<impl Service>) -> Option<Vec<u8>> {
        let mut parts = self.lend(tools, 0, Untold);
        let payload = parts.machine.kept_hello(&mut parts.buffers)?;
        Some(payload.to_vec())
    }

    /// It is decided what to offer: what `tools` says.
    pub(crate) fn offer(&mut self, now: Instant, tools: &mut Tools<impl Service>) {
        self.holds_hello = false;
        self.machine.defer_hello(false);
        self.judge_hello(now, tools);
    }

    fn judge_hello(&mut self, now: Instant, tools: &mut Tools<impl Service>) {
        let Parts {
            machine,
            mut buffers,
            local,
            ..
        } = self.lend(tools, 0, Untold);
        if let Some(payload) = machine.kept_hello(&mut buffers) {
            let text = HelloText::read(payload);
            machine.handle_hello(now, &local, &mut buffers);
            if machine.is_active() {
                self.hello = Some(Box::new(text));
            }
        }
    }

    /// Whether a frame has proved the identity that the handshake claims.
    pub(crate) fn is_authentic(&self) -> bool {
        self.machine.is_authentic()
    }

    /// Whether the transport takes no more bytes.
    pub(crate) fn is_cut(&self) -> bool {
        self.machine.is_cut()
    }

    fn lend<'a, S: Service, O: Observer>(
        &'a mut self,
        tools: &'a mut Tools<S>,
        arrived: usize,
        observer: O,
    ) -> Parts<'a, O> {
        let Tools {
            host,
            offer,
            spare,
            compressor,
            output_limit,
            ..
        } = tools;
        let local = local(host, offer);
        Parts {
            machine: &mut self.machine,
            buffers: Growable {
                inboxes: Filling {
                    inbox: &mut self.inbox,
                    protocols: local.protocols,
                    account: self.account.as_ref(),
                    arrived,
                    observer,
                },
                output: Lent {
                    output: &mut self.output,
                    spare,
                    limit: *output_limit,
                    expected: 0,
                },
                opening: self.opening.as_deref_mut(),
            },
            key: &host.key,
            local,
            compressor,
        }
    }

    pub(crate) fn peer(&self) -> &Peer<MAX_PROTOCOLS> {
        self.machine.peer()
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.peer().close_reason()
    }

    pub(crate) fn request_ping(&mut self) {
        self.machine.request_ping();
    }

    // ---- What comes in ----

    /// Whether bytes would be consumed now. Goes on with a message that waited, if there is room for it.
    pub(crate) fn wants_input(&mut self, tools: &mut Tools<impl Service>) -> bool {
        if self.peer().is_closing() {
            return true;
        }
        if !self.takes_input() {
            return false;
        }
        let now = tools.host.clock.now();
        let Parts {
            machine,
            mut buffers,
            local,
            ..
        } = self.lend(tools, 0, Untold);
        if machine.is_held() {
            // Without bytes it can only begin or go on with its message, not end it.
            machine.handle_input(now, &local, &mut buffers, &mut []);
            !machine.is_held()
        } else {
            machine.wants_input(&mut buffers)
        }
    }

    /// Whether nothing is told first, and there is memory to take messages in.
    fn takes_input(&self) -> bool {
        self.hello.is_none() && (self.account.is_some() || !self.machine.is_active())
    }

    /// Begins to take messages, in memory of this account.
    pub(crate) fn set_account(&mut self, account: Arc<Account>) {
        self.account = Some(account);
    }

    /// The session is closed: only messages that were not read keep memory of the account.
    pub(crate) fn release_account(&mut self) {
        self.account = None;
    }

    /// What to wait at for memory that other sessions hold, if that is what a message waits for.
    pub(crate) fn waits_for_memory(&self) -> Option<&Account> {
        let waits = self.peer().held() == Some(Hold::Memory) && !self.peer().is_closing();
        self.account().filter(|_| waits)
    }

    pub(crate) fn account(&self) -> Option<&Account> {
        self.account.as_deref()
    }

    /// Takes bytes, decrypting them in place; returns how many were consumed. Pass none to have a message opened that
    /// waited for room.
    pub(crate) fn handle_input(
        &mut self,
        now: Instant,
        bytes: &mut [u8],
        tools: &mut Tools<impl Service>,
        observer: impl Observer,
    ) -> usize {
        if !self.takes_input() && !self.peer().is_closing() {
            return 0;
        }
        let Parts {
            machine,
            mut buffers,
            local,
            ..
        } = self.lend(tools, bytes.len(), observer);
        let n = machine.handle_input(now, &local, &mut buffers, bytes);
        let is_active = machine.is_active();
        if !self.holds_hello && !is_active {
            self.judge_hello(now, tools);
        }
        n
    }

    /// Whether a message waits for room in its inbox.
    pub(crate) fn is_held(&self) -> bool {
        self.machine.is_held()
    }

    /// Nothing more arrives, or the transport broke.
    pub(crate) fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.machine.handle_end(now, error);
    }

    /// The transport takes no more bytes. What has arrived may tell why (a Disconnect, say): read that first.
    pub(crate) fn cut_output(&mut self) {
        self.machine.cut_output();
        self.output.clear();
    }

    // ---- Admission and the end ----

    /// The keys are there: our Hello goes out, or in its place why the remote is not admitted.
    pub(crate) fn admit(&mut self, now: Instant, admitted: Result<(), DisconnectReason>) {
        match admitted {
            Ok(()) => self.machine.admit(),
            Err(reason) => self.machine.reject(now, reason),
        }
    }

    /// Turns the remote away after its Hello.
    pub(crate) fn reject(&mut self, now: Instant, reason: DisconnectReason) {
        self.machine.reject(now, reason);
    }

    /// Closes the session for `cause`, unless it is closing already.
    pub(crate) fn close(&mut self, now: Instant, cause: CloseReason) {
        self.machine.close(now, cause);
    }

    // ---- Progress ----

    /// Does what is due. Work is bounded by one step of the handshake, which is at most one point multiplication.
    pub(crate) fn poll(&mut self, now: Instant, tools: &mut Tools<impl Service>) -> Option<Event> {
        if self.peer().is_starved(now)
            && self.account().is_some_and(|account| !account.must_go(now))
        {
            self.machine.restart_memory_wait(now);
        }
        loop {
            let mut parts = self.lend(tools, 0, Untold);
            let event = parts
                .machine
                .poll(now, parts.key, &parts.local, &mut parts.buffers);
            if !self.machine.is_opening() {
                self.opening = None;
            }
            return Some(match event? {
                session::Event::Authenticated(id) => Event::Authenticated(id),
                session::Event::Active => match self.hello.take() {
                    Some(hello) if !self.peer().is_closing() => Event::Active(*hello),
                    // The end was decided before anybody was told of the beginning.
                    _ => continue,
                },
                session::Event::HalfClose => Event::HalfClose,
                session::Event::Closed(reason) => Event::Closed(reason),
            });
        }
    }

    /// When [`poll`](Self::poll) has something to do, if nothing else happens first.
    pub(crate) fn poll_at(&self, tools: &Tools<impl Service>) -> PollAt {
        let output = Limited {
            output: &self.output,
            limit: tools.output_limit,
        };
        self.machine
            .poll_at(&local(&tools.host, &tools.offer), &output)
    }

    /// The transport took `n` bytes of the output.
    pub(crate) fn on_taken(&mut self, now: Instant, n: usize) {
        self.output.consume(n);
        self.machine.on_taken(now, n);
    }

    // ---- Writing ----

    /// Whether messages go compressed, once the session is active.
    pub(crate) fn compresses(&self) -> bool {
        self.machine.compresses()
    }

    /// Writes one message, or says why not. Compresses it, if that is to be, with the compressor of `tools`.
    pub(crate) fn try_write(
        &mut self,
        now: Instant,
        tools: &mut Tools<impl Service>,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
    ) -> Result<Written, WriteError> {
        let Parts {
            machine,
            mut buffers,
            local,
            compressor,
            ..
        } = self.lend(tools, 0, Untold);
        let length = total(payload);
        let wire = machine.check_write(now, &local, &mut buffers, subprotocol, code, length)?;
        let output = buffers.output();
        if !machine.compresses() {
            return machine.try_write(now, output, subprotocol, code, payload, Compression::None);
        }
        let (_, code_length) = rlp::encode_code(wire.0);
        let at = HEADER_LENGTH + code_length;
        let room = output.compose(at, snap::raw::max_compress_len(length));
        let form = Compression::InPlace {
            length: length as u32,
            wire_length: compressor.get_or_insert_default().compress(payload, room) as u32,
        };
        machine.try_write(now, output, subprotocol, code, &[], form)
    }

    /// Begins to write, or goes on with, a message that is in its form for the wire: seals it whole, or about `budget` bytes of it.
    pub(crate) fn write(
        &mut self,
        now: Instant,
        tools: &mut Tools<impl Service>,
        write: &mut PendingWrite,
        message: Encoded<'_>,
        budget: usize,
    ) -> Result<Progress, WriteError> {
        let mut parts = self.lend(tools, 0, Untold);
        let output = parts.buffers.output();
        parts.machine.write(
            now,
            output,
            write,
            message.payload,
            message.form(),
            budget,
            None,
        )
    }

    /// Writes one message that is in its form for the wire whole and at once, or says why not.
    pub(crate) fn try_write_encoded(
        &mut self,
        now: Instant,
        tools: &mut Tools<impl Service>,
        subprotocol: usize,
        code: LocalCode,
        message: Encoded<'_>,
    ) -> Result<Written, WriteError> {
        let mut parts = self.lend(tools, 0, Untold);
        let local = parts.local;
        let length = total(message.payload);
        let machine = parts.machine;
        machine.check_write(now, &local, &mut parts.buffers, subprotocol, code, length)?;
        let output = parts.buffers.output();
        machine.try_write(
            now,
            output,
            subprotocol,
            code,
            message.payload,
            message.form(),
        )
    }

    /// Passes a free token to the subprotocol that waits for it. Whose threads are to be woken is for the driver to know.
    pub(crate) fn pass_token(&mut self, tools: &Tools<impl Service>) {
        let output = Limited {
            output: &self.output,
            limit: tools.output_limit,
        };
        while self.machine.next_wake(&output).is_some() {}
    }
}

/// A message in its form for the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoded<'a> {
    pub(crate) payload: &'a [&'a [u8]],
    /// Bytes that were compressed; nothing if it goes as it is.
    pub(crate) compressed_from: Option<u32>,
}

impl Encoded<'_> {
    fn form(&self) -> Compression<'static> {
        match self.compressed_from {
            Some(length) => Compression::Done { length },
            None => Compression::None,
        }
    }
}

/// What this side says of itself.
fn local<'a, S: Service>(host: &'a Host<S>, offer: &'a Option<Arc<Offer>>) -> Local<'a> {
    match offer {
        None => host.local(),
        Some(offer) => Local {
            protocols: &offer.registered,
            ..host.local()
        },
    }
}

/// Nobody is told.
pub(crate) struct Untold;

impl Observer for Untold {
    fn received(&self, _subprotocol: usize, _meta: &devp2p_core::inbox::Meta) {}
    fn dropped(&self, _subprotocol: usize, _meta: &devp2p_core::inbox::Meta) {}
}
