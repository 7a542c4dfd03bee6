//! Measures two sessions that talk to each other in memory: stack and instructions of every call. Keys and entropy are fixed,
//! so that each run counts the same.
#![no_std]
#![no_main]

#[path = "../../../../link/src/start.rs"]
mod reset;

mod side;

use core::panic::PanicInfo;
use core::task::Poll;

use devp2p_core::capability::Protocol;
use devp2p_core::code::LocalCode;
use devp2p_core::config::{Config, Local};
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::rlpx::{Entropy, NodeKey};
use devp2p_core::session::{PendingWrite, Session, Storage};
use devp2p_core::time::{Duration, Instant};
use devp2p_footprint::board;
use devp2p_footprint::measure::{fail, panicked, print, start, tell, tell_of};
use side::{ACTIVE, Call, Side};

const INBOX: usize = 4096;
const RING: usize = 2048;
const TABLE: usize = 512;
/// The largest payload that is written: more than the ring holds.
const LARGEST: usize = 3000;
/// A payload which with its code, of one byte, is a frame body of 1 KiB.
const KIBIBYTE: usize = 1023;
const CODE: LocalCode = LocalCode(1);

struct Memory {
    inboxes: [u8; INBOX],
    ring: [u8; RING],
    table: [u16; TABLE],
}

impl Memory {
    const fn new() -> Self {
        Self {
            inboxes: [0; INBOX],
            ring: [0; RING],
            table: [0; TABLE],
        }
    }

    fn lend(&mut self) -> Storage<'_> {
        Storage {
            inboxes: &mut self.inboxes,
            ring: &mut self.ring,
            table: &mut self.table,
        }
    }
}

struct Node {
    key: NodeKey,
    protocols: [Protocol; 2],
}

impl Node {
    fn new(secret: u8) -> Self {
        let protocols = [
            Protocol::new("echo", 1, 2, INBOX - 256),
            Protocol::new("sensor", 1, 2, 256),
        ];
        match (NodeKey::new(&[secret; 32]), protocols) {
            (Ok(key), [Ok(echo), Ok(sensor)]) => Self {
                key,
                protocols: [echo, sensor],
            },
            _ => fail("key or protocols"),
        }
    }

    fn local(&self, version: u8) -> Local<'_> {
        Local {
            id: *self.key.id(),
            client_name: "footprint",
            version,
            listen_port: 0,
            protocols: &self.protocols,
        }
    }
}

/// The last byte makes the packets as long as they come.
fn entropy(seed: u8) -> Entropy {
    let mut bytes = [seed; Entropy::LENGTH];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte ^= (i as u8).wrapping_mul(29);
    }
    if let Some(padding) = bytes.last_mut() {
        *padding = 99;
    }
    Entropy::new(&bytes)
}

/// What text is to a compressor, and what noise is.
fn fill(text: &mut [u8], noise: &mut [u8]) {
    let words = b"the remote node said Hello, and so did this one; ";
    for (to, from) in text.iter_mut().zip(words.iter().cycle()) {
        *to = *from;
    }
    let mut state = 0x2545_F491_u32;
    for to in noise {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        *to = state as u8;
    }
}

/// Lets both sides do and say what they will, until nothing moves.
fn settle(one: &mut Side<'_>, two: &mut Side<'_>, now: Instant) {
    loop {
        one.proceed(now);
        two.proceed(now);
        if !(one.carry(two, now) | two.carry(one, now)) {
            break;
        }
    }
}

/// Writes a payload, to its last byte.
fn write(one: &mut Side<'_>, two: &mut Side<'_>, now: Instant, subprotocol: usize, payload: &[u8]) {
    let mut write = PendingWrite::new(subprotocol, CODE);
    loop {
        match one.write(now, &mut write, payload) {
            Poll::Ready(Ok(())) => break,
            Poll::Ready(Err(_)) => fail("a write"),
            Poll::Pending if one.output_is_empty() => fail("a write that waits for nothing"),
            Poll::Pending => settle(one, two, now),
        }
    }
}

/// Writes one payload and reads it at the other end.
fn exchange(one: &mut Side<'_>, two: &mut Side<'_>, now: Instant, payload: &[u8]) {
    write(one, two, now, 0, payload);
    settle(one, two, now);
    if !two.read(0, Some(payload)) {
        fail("what was sent is not what came");
    }
}

/// Everything that a session does after Hello, and its end.
fn steady(one: &mut Side<'_>, two: &mut Side<'_>, mut now: Instant, text: &[u8], noise: &[u8]) {
    for payload in [text, noise] {
        for length in [0, 1, 100, KIBIBYTE, LARGEST] {
            let payload = payload.get(..length).unwrap_or_default();
            exchange(one, two, now, payload);
            exchange(two, one, now, payload);
        }
    }
    // Larger than the inbox: reported, and the session goes on.
    write(one, two, now, 1, text);
    settle(one, two, now);
    if !two.read(1, None) {
        fail("what was too large is not reported");
    }
    // One inbox is full, so its side holds back; then it is read.
    let held = noise.get(..KIBIBYTE).unwrap_or_default();
    for _ in 0..4 {
        write(one, two, now, 0, held);
        settle(one, two, now);
    }
    if !two.holds_back() {
        fail("nothing is held back");
    }
    for _ in 0..4 {
        if !two.read(0, Some(held)) {
            fail("what was held back");
        }
        settle(one, two, now);
    }
    for _ in 0..2 {
        now = now.saturating_add(Duration::from_secs(16));
        settle(one, two, now);
    }
    if one.session.peer().pongs() == 0 || two.session.peer().pongs() == 0 {
        fail("no Pong");
    }
    match one.try_write(now, 1, CODE, &text[..100]) {
        Ok(()) => settle(one, two, now),
        Err(_) => fail("a write at once"),
    }
    if !two.read(1, Some(&text[..100])) {
        fail("what was written at once");
    }
    one.close(now, CloseReason::Local(DisconnectReason::REQUESTED));
    settle(one, two, now);
    one.hang_up(two, now);
    settle(one, two, now);
    if two.closed
        != Some(CloseReason::RemoteRequested(Some(
            DisconnectReason::REQUESTED,
        )))
    {
        fail("the reason was lost");
    }
}

/// Instructions for a frame of 1 KiB: written and read, at the side of the writer and of the reader.
fn frame(name: &str, one: &mut Side<'_>, two: &mut Side<'_>, now: Instant, payload: &[u8]) {
    let payload = payload.get(..KIBIBYTE).unwrap_or_default();
    let sealed = one.phases[ACTIVE].instructions;
    let mut write = PendingWrite::new(0, CODE);
    if one.write(now, &mut write, payload) != Poll::Ready(Ok(())) {
        fail("a write into an empty ring");
    }
    tell_of(
        name,
        "write",
        one.phases[ACTIVE].instructions.wrapping_sub(sealed),
    );
    one.carry_whole(two, now);
    let opened = two.phases[ACTIVE].instructions;
    two.take(now);
    tell_of(
        name,
        "open",
        two.phases[ACTIVE].instructions.wrapping_sub(opened),
    );
    if !two.read(0, Some(payload)) {
        fail("the frame");
    }
    settle(one, two, now);
}

/// One session from its first byte to its end; returns the deepest stack of each kind of call once it is active, and the
/// longest that passing 512 bytes took.
fn session(
    version: u8,
    nodes: &[Node; 2],
    memory: &mut [Memory; 2],
    text: &[u8],
    noise: &[u8],
) -> ([u32; Call::NAMES.len()], u32) {
    let [ours, theirs] = nodes;
    let [memory, other] = memory;
    let (config, now) = (Config::new(), Instant::from_micros(1));
    let mut one = Side::start(|| {
        let local = ours.local(version);
        let (storage, entropy) = (memory.lend(), entropy(3));
        Session::dial(
            *theirs.key.id(),
            &ours.key,
            local,
            config,
            storage,
            entropy,
            now,
        )
    });
    let mut two = Side::start(|| {
        let local = theirs.local(version);
        let (storage, entropy) = (other.lend(), entropy(5));
        Session::accept(&theirs.key, local, config, storage, entropy, now)
    });
    settle(&mut one, &mut two, now);
    if one.stage != ACTIVE || two.stage != ACTIVE {
        fail("no session");
    }
    let [plain, noisy] = match version {
        4 => ["frame", "frame.noise"],
        _ => ["snappy.text", "snappy.noise"],
    };
    frame(plain, &mut one, &mut two, now, text);
    frame(noisy, &mut one, &mut two, now, noise);
    steady(&mut one, &mut two, now, text, noise);
    // Both versions shake hands in the same way, so it is told once.
    for (role, side) in [("initiator", &one), ("recipient", &two)] {
        if version == 5 {
            tell_handshake(role, side);
        }
    }
    let depths = core::array::from_fn(|i| one.depths[i].max(two.depths[i]));
    (depths, one.longest_input.max(two.longest_input))
}

fn tell_handshake(role: &str, side: &Side<'_>) {
    for (i, step) in side.steps.iter().take(side.stepped).enumerate() {
        tell_of(role, STEPS[i][0], step.instructions);
        tell_of(role, STEPS[i][1], step.stack);
    }
    let [handshake, hello, _] = side.phases;
    tell_of(role, "instructions", handshake.instructions);
    tell_of(role, "longest", handshake.longest);
    tell_of(role, "stack", handshake.stack.max(hello.stack));
    tell_of(role, "start.stack", side.started.stack);
    tell_of(role, "hello.instructions", hello.instructions);
    tell_of(role, "hello.stack", hello.stack);
}

fn tell_steady(name: &str, call: &str, depth: u32) {
    print(format_args!("steady.{name}.{call}.stack {depth}\n"));
}

const STEPS: [[&str; 2]; side::STEPS] = [
    ["step1.instructions", "step1.stack"],
    ["step2.instructions", "step2.stack"],
    ["step3.instructions", "step3.stack"],
    ["step4.instructions", "step4.stack"],
    ["step5.instructions", "step5.stack"],
    ["step6.instructions", "step6.stack"],
    ["step7.instructions", "step7.stack"],
    ["step8.instructions", "step8.stack"],
];

fn main() -> ! {
    start();
    let nodes = [Node::new(7), Node::new(9)];
    let mut memory = [const { Memory::new() }; 2];
    let (mut text, mut noise) = ([0; LARGEST], [0; LARGEST]);
    fill(&mut text, &mut noise);
    let (mut deepest, mut longest_input) = (0, 0);
    for (name, version) in [("plain", 4), ("snappy", 5)] {
        let (depths, longest) = session(version, &nodes, &mut memory, &text, &noise);
        for (call, depth) in Call::NAMES.into_iter().zip(depths) {
            tell_steady(name, call, depth);
            deepest = depth.max(deepest);
        }
        longest_input = longest.max(longest_input);
    }
    tell("steady.stack", deepest);
    tell("steady.input.longest", longest_input);
    board::exit(0)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
