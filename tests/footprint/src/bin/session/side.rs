//! One side of the connection: its session, whose every call is measured, and what has arrived for it.

use core::task::{Context, Poll, Waker};

use devp2p_core::code::LocalCode;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::session::{Event, PendingWrite, Session, StorageError};
use devp2p_core::time::Instant;
use devp2p_footprint::board::{Cost, measured};
use devp2p_footprint::measure::{Phase, fail};

/// The phases of a session: until the keys are there, until Hello is accepted, and after.
pub(crate) const HANDSHAKE: usize = 0;
pub(crate) const HELLO: usize = 1;
pub(crate) const ACTIVE: usize = 2;

/// The kinds of calls, and their names.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// What passes time: `poll`, `poll_at`, `admit`, `next_wake`, `close`.
    Poll,
    /// `handle_input`, `wants_input`, `handle_end`.
    Input,
    /// `poll_write`, `try_write`, `consume_output`.
    Write,
    /// `poll_readable`, `peek`, `pop`.
    Read,
}

impl Call {
    pub(crate) const NAMES: [&'static str; 4] = ["poll", "input", "write", "read"];
}

/// Bytes passed at a time.
const CHUNK: usize = 512;
/// What a side has room for of what has arrived.
const MEMORY: usize = 2048;
/// A call of so many instructions is a step of the handshake.
const STEP: u32 = 100_000;
pub(crate) const STEPS: usize = 8;

pub(crate) struct Side<'a> {
    pub(crate) session: Session<'a, 2>,
    pub(crate) stage: usize,
    pub(crate) phases: [Phase; 3],
    /// The deepest stack of each kind of call, once the session is active.
    pub(crate) depths: [u32; Call::NAMES.len()],
    /// The longest that passing at most 512 bytes took, once the session is active.
    pub(crate) longest_input: u32,
    /// The constructor alone.
    pub(crate) started: Cost,
    pub(crate) steps: [Cost; STEPS],
    pub(crate) stepped: usize,
    pub(crate) closed: Option<CloseReason>,
    half_closed: bool,
    arrived: [u8; MEMORY],
    from: usize,
    until: usize,
}

impl<'a> Side<'a> {
    pub(crate) fn start(f: impl FnOnce() -> Result<Session<'a, 2>, StorageError>) -> Self {
        let (session, started) = measured(f);
        let Ok(session) = session else {
            fail("storage");
        };
        let mut side = Self {
            session,
            stage: HANDSHAKE,
            phases: [Phase::default(); 3],
            depths: [0; Call::NAMES.len()],
            longest_input: 0,
            started,
            steps: [Cost::default(); STEPS],
            stepped: 0,
            closed: None,
            half_closed: false,
            arrived: [0; MEMORY],
            from: 0,
            until: 0,
        };
        side.phases[HANDSHAKE].add(started);
        side
    }

    /// Measures one call of the session.
    fn call<R>(&mut self, kind: Call, f: impl FnOnce(&mut Session<'a, 2>) -> R) -> R {
        let session = &mut self.session;
        let (result, cost) = measured(|| f(session));
        self.count(kind, cost);
        result
    }

    fn count(&mut self, kind: Call, cost: Cost) {
        self.phases[self.stage].add(cost);
        if self.stage == ACTIVE {
            let depth = &mut self.depths[kind as usize];
            *depth = cost.stack.max(*depth);
        }
        if self.stage == HANDSHAKE && cost.instructions > STEP {
            match self.steps.get_mut(self.stepped) {
                Some(step) => *step = cost,
                None => fail("too many steps"),
            }
            self.stepped += 1;
        }
    }

    /// Passes what has arrived to the session, as far as it takes it.
    pub(crate) fn take(&mut self, now: Instant) {
        while self.from < self.until {
            let Some(bytes) = self.arrived.get_mut(self.from..self.until) else {
                fail("arrived");
            };
            let session = &mut self.session;
            let (taken, cost) = measured(|| session.handle_input(now, bytes));
            self.count(Call::Input, cost);
            if self.stage == ACTIVE && self.until - self.from <= CHUNK {
                self.longest_input = self.longest_input.max(cost.instructions);
            }
            self.from += taken;
            if taken == 0 {
                break;
            }
        }
    }

    /// Does all that there is to do now.
    pub(crate) fn proceed(&mut self, now: Instant) {
        loop {
            self.take(now);
            let event = self.call(Call::Poll, |session| session.poll(now));
            match event {
                Some(Event::Authenticated(_)) => {
                    self.stage = HELLO;
                    self.call(Call::Poll, |session| session.admit());
                }
                Some(Event::Active) => self.stage = ACTIVE,
                Some(Event::HalfClose) => self.half_closed = true,
                Some(Event::Closed(reason)) => self.closed = Some(reason),
                None => {}
            }
            while let Some(waker) = self.call(Call::Poll, Session::next_wake) {
                waker.wake();
            }
            let at = self.call(Call::Poll, |session| session.poll_at());
            let more = self.from < self.until && self.call(Call::Input, Session::wants_input);
            if event.is_none() && !at.is_due(now) && !more {
                break;
            }
        }
    }

    pub(crate) fn output_is_empty(&self) -> bool {
        self.session.output().is_empty()
    }

    /// Passes some of what waits to `other`; whether there was any, and room for it.
    pub(crate) fn carry(&mut self, other: &mut Side<'_>, now: Instant) -> bool {
        self.carry_some(other, now, CHUNK)
    }

    /// Passes all that waits to `other`, in one piece as it is passed on.
    pub(crate) fn carry_whole(&mut self, other: &mut Side<'_>, now: Instant) {
        while self.carry_some(other, now, MEMORY) {}
        if !self.output_is_empty() {
            fail("no room for the whole");
        }
    }

    fn carry_some(&mut self, other: &mut Side<'_>, now: Instant, most: usize) -> bool {
        if other.from == other.until {
            (other.from, other.until) = (0, 0);
        } else if most == CHUNK {
            return false;
        }
        let output = self.session.output();
        let Some(to) = other.arrived.get_mut(other.until..) else {
            return false;
        };
        let length = output.len().min(most).min(to.len());
        if let (Some(to), Some(from)) = (to.get_mut(..length), output.get(..length)) {
            to.copy_from_slice(from);
        }
        other.until += length;
        if length > 0 {
            self.call(Call::Write, |session| session.consume_output(now, length));
        }
        length > 0
    }

    pub(crate) fn write(
        &mut self,
        now: Instant,
        write: &mut PendingWrite,
        payload: &[u8],
    ) -> Poll<Result<(), WriteError>> {
        let mut cx = Context::from_waker(Waker::noop());
        self.call(Call::Write, |session| {
            session.poll_write(now, write, &[payload], Some(&mut cx))
        })
    }

    pub(crate) fn try_write(
        &mut self,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        payload: &[u8],
    ) -> Result<(), WriteError> {
        self.call(Call::Write, |session| {
            session.try_write(now, subprotocol, code, &[payload])
        })
    }

    /// Reads one message; whether there was one with this payload, or with `None` one that was too large.
    pub(crate) fn read(&mut self, subprotocol: usize, payload: Option<&[u8]>) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        if self.call(Call::Read, |session| {
            session.poll_readable(subprotocol, Some(&mut cx))
        }) != Poll::Ready(Ok(()))
        {
            return false;
        }
        let same = self.call(Call::Read, |session| {
            session
                .peek(subprotocol)
                .is_some_and(|message| message.payload == payload)
        });
        self.call(Call::Read, |session| session.pop(subprotocol));
        same
    }

    pub(crate) fn holds_back(&mut self) -> bool {
        self.from < self.until && !self.call(Call::Input, Session::wants_input)
    }

    pub(crate) fn close(&mut self, now: Instant, cause: CloseReason) {
        self.call(Call::Poll, |session| session.close(now, cause));
    }

    /// Both directions of the transport end, once both sides have said what they had to say.
    pub(crate) fn hang_up(&mut self, other: &mut Side<'_>, now: Instant) {
        if !self.half_closed {
            fail("the side that closes does not end its direction");
        }
        other.call(Call::Input, |session| {
            session.handle_end(now, TransportError::EndOfStream)
        });
        self.call(Call::Input, |session| {
            session.handle_end(now, TransportError::EndOfStream)
        });
    }
}
