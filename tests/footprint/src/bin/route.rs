//! Measures the peer at message level: what routing a message takes, and the stack.
#![no_std]
#![no_main]

#[path = "../../../link/src/start.rs"]
mod start;

use core::hint::black_box;
use core::panic::PanicInfo;

use devp2p_core::arena::{Arena, RECORD_OVERHEAD};
use devp2p_core::capability::Protocol;
use devp2p_core::config::{Config, Local};
use devp2p_core::hello::NodeId;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{Expected, Peer};
use devp2p_core::time::{Duration, Instant};
use devp2p_footprint::board::{self, measured};
use devp2p_footprint::measure::{Phase, fail, panicked, tell, tell_of};

/// Messages over which an instruction count is averaged, since one is of the order of the counter's resolution.
const MESSAGES: usize = 100;
/// Bytes of an ordinary payload.
const PAYLOAD: usize = 100;
/// Room for all of them.
const INBOX: usize = MESSAGES * (PAYLOAD + RECORD_OVERHEAD);
/// The first code of the only subprotocol (RLPx specification, "Message ID-based multiplexing").
const FIRST_CODE: u64 = 16;

fn protocol() -> Protocol {
    match Protocol::new(black_box("demo"), 1, 8, INBOX) {
        Ok(protocol) => protocol,
        Err(_) => fail("the protocol"),
    }
}

fn local(id: u8, protocols: &[Protocol]) -> Local<'_> {
    Local {
        id: NodeId([id; 64]),
        client_name: "footprint",
        version: 4,
        listen_port: 0,
        protocols,
    }
}

struct Side<'a> {
    local: Local<'a>,
    peer: Peer<2>,
    inboxes: Arena<'a, 2>,
}

impl<'a> Side<'a> {
    fn new(local: Local<'a>, memory: &'a mut [u8]) -> Self {
        let Ok(inboxes) = Arena::new(memory, local.protocols) else {
            fail("the arena");
        };
        let deadline = Instant::from_micros(5_000_000);
        Self {
            peer: Peer::new(Config::new(), &local, Expected::Anyone, deadline),
            inboxes,
            local,
        }
    }

    /// Passes everything that the base protocol wants to say to `other`.
    fn speak(&mut self, now: Instant, other: &mut Self, phase: &mut Phase) {
        let mut bytes = [0; 256];
        while let Some(control) = phase.call(|| self.peer.poll_control(now)) {
            let encoded = phase.call(|| control.encode(&self.local, false, &mut bytes));
            let payload = encoded.ok().and_then(|length| bytes.get(..length));
            let Some(payload) = payload else {
                fail("a control message");
            };
            phase.call(|| self.peer.on_sealed(now, payload.len()));
            phase.call(|| self.peer.on_taken(now, payload.len()));
            let code = u64::from(control.code().0);
            other.take(now, code, payload, phase);
        }
    }

    fn take(&mut self, now: Instant, code: u64, payload: &[u8], phase: &mut Phase) {
        let Self {
            local,
            peer,
            inboxes,
        } = self;
        let held = phase.call(|| peer.handle_message(now, local, code, payload, inboxes));
        if held.is_err() {
            fail("held back");
        }
    }
}

/// The instructions of routing one message, each into an inbox that has room, averaged.
fn route(side: &mut Side<'_>, now: Instant, payload: &[u8]) -> u32 {
    let ((), cost) = measured(|| {
        for _ in 0..MESSAGES {
            let Side {
                local,
                peer,
                inboxes,
            } = &mut *side;
            let code = black_box(FIRST_CODE + 1);
            let held = peer.handle_message(now, local, code, black_box(payload), inboxes);
            if held.is_err() {
                fail("held back");
            }
        }
    });
    cost.instructions / MESSAGES as u32
}

/// The instructions of reading one message, averaged.
fn read(side: &mut Side<'_>, payload: &[u8]) -> u32 {
    let mut sum = 0usize;
    let ((), cost) = measured(|| {
        while let Some(message) = side.inboxes.peek(0) {
            sum += black_box(message.payload).map_or(0, <[u8]>::len);
            side.inboxes.pop(0);
        }
    });
    if sum != MESSAGES * payload.len() {
        fail("what was routed is not there");
    }
    cost.instructions / MESSAGES as u32
}

fn main() -> ! {
    board::start();
    let protocols = [protocol()];
    let (mut here, mut there) = ([0; INBOX], [0; INBOX]);
    let mut here = Side::new(local(1, &protocols), &mut here);
    let mut there = Side::new(local(2, &protocols), &mut there);
    let mut phase = Phase::default();
    let mut now = Instant::from_micros(1);
    here.speak(now, &mut there, &mut phase);
    there.speak(now, &mut here, &mut phase);
    if here.peer.state() != State::Active || there.peer.state() != State::Active {
        fail("no session");
    }
    let payload = [0xA5; PAYLOAD];
    for _ in 0..4 {
        // Long enough for a Ping.
        now = now.saturating_add(Duration::from_secs(16));
        phase.call(|| here.peer.handle_timeout(now));
        phase.call(|| there.peer.handle_timeout(now));
        here.speak(now, &mut there, &mut phase);
        there.speak(now, &mut here, &mut phase);
        // The answer to a Ping that came last.
        here.speak(now, &mut there, &mut phase);
        here.take(now, FIRST_CODE, &payload, &mut phase);
        phase.call(|| here.inboxes.pop(0));
    }
    if here.peer.pongs() == 0 || here.peer.state() != State::Active {
        fail("no Pong");
    }
    for (name, payload) in [("route.0", &[][..]), ("route.100", &payload)] {
        tell_of(name, "instructions", route(&mut here, now, payload));
        tell_of(name, "read", read(&mut here, payload));
    }
    tell("message.stack", phase.stack);
    board::exit(0)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
