//! Resident memory, by what Linux says of this process.
use std::process::Command;
use std::{env, fs};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, Violation};
use serde_json::{Value, json};

use crate::hostile::{Hostile, SHORT, patient};
use crate::local::Dialler;

/// How far a session may raise resident memory while it lasts, where the rule is constant memory. A sixteen-MiB buffer, or
/// the half of one, does not hide in it.
const PEAK: u64 = 4 << 20;
/// How far all rounds together may leave it raised.
const GROWTH: u64 = 2 << 20;
/// Rounds before measuring, in which allocator and threads take what they keep; and rounds measured.
const ROUNDS: (usize, usize) = (3, 50);

const LARGEST: u32 = 0xff_ffff;
const ENDED: CloseReason = CloseReason::Transport(TransportError::EndOfStream);
const BAD_MAC: CloseReason = CloseReason::Transport(TransportError::BadMac);

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim_matches([':', ' ', '\t', 'k', 'B']).parse().ok());
    let kib: u64 = kib.expect("a size in kB");
    kib << 10
}

fn resident() -> u64 {
    status("VmRSS")
}

/// Runs this and returns by how much resident memory rose at the most meanwhile.
fn peak(run: impl FnOnce()) -> u64 {
    // "5" resets the peak to what is resident now: proc(5).
    fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
    let before = resident();
    run();
    status("VmHWM").saturating_sub(before)
}

/// What the remote sends in an active session or in place of Hello, whether its stream ends there, and the end of it.
struct Case {
    is_hello: bool,
    sends: Value,
    hangs_up: bool,
    cause: CloseReason,
    is_told: bool,
    /// Not a message that may be kept, so that memory is not to rise at all.
    constant: bool,
}

impl Case {
    fn run(&self, remote: &Hostile) {
        let session = if self.is_hello {
            remote.shake()
        } else {
            remote.session()
        };
        remote.geth.ok(self.sends.clone());
        if self.hangs_up {
            remote.geth.ok(json!({"cmd": "close", "how": "half"}));
        }
        let told = self.is_told.then_some(DisconnectReason::PROTOCOL_ERROR);
        remote.ends_on("", session, self.cause, told);
    }
}

fn cases() -> Vec<Case> {
    let breach = |sends, violation, constant| Case {
        is_hello: false,
        sends,
        hangs_up: false,
        cause: CloseReason::Violation(violation),
        is_told: true,
        constant,
    };
    let message = |payload: Value| {
        let mut sends = payload;
        sends["cmd"] = json!("send");
        sends
    };
    let raw =
        |code: u32| json!({"cmd": "send", "code": code, "size": LARGEST - 1, "snappy": "raw"});
    let lie = |size: u32, stated: u64| {
        message(json!({"code": 0x10, "size": size, "snappy": "lie", "stated": stated}))
    };
    let large_then = |alter: Value, cause| Case {
        is_hello: false,
        sends: message(json!({"code": 0x10, "size": LARGEST, "alter": alter})),
        hangs_up: true,
        cause,
        is_told: false,
        constant: false,
    };
    vec![
        // 16 MiB that are skipped, as they are and compressed.
        breach(raw(2), Violation::BaseMessageTooLarge, true),
        breach(
            message(json!({"code": 2, "size": LARGEST})),
            Violation::BaseMessageTooLarge,
            true,
        ),
        breach(
            message(json!({"code": 0x0f, "size": LARGEST})),
            Violation::BaseMessageTooLarge,
            true,
        ),
        breach(
            message(json!({"code": 0x12, "size": LARGEST})),
            Violation::CodeOutOfRange,
            true,
        ),
        // A Hello of 16 MiB.
        Case {
            is_hello: true,
            ..breach(raw(0), Violation::HelloTooLarge, true)
        },
        // A Disconnect of about as much, compressed.
        Case {
            cause: CloseReason::RemoteRequested(None),
            is_told: false,
            ..breach(
                message(json!({"code": 1, "size": LARGEST})),
                Violation::BadSnappy,
                true,
            )
        },
        // Lengths that are not kept: 16 MiB, one more, 4 GiB.
        breach(lie(10, u64::from(LARGEST)), Violation::BadSnappy, true),
        breach(lie(10, 1 << 24), Violation::MessageTooLarge, true),
        breach(
            lie(10, u64::from(u32::MAX)),
            Violation::MessageTooLarge,
            true,
        ),
        breach(lie(LARGEST, 1 << 24), Violation::MessageTooLarge, true),
        // A frame and a block of 16 MiB of which the beginning comes.
        Case {
            hangs_up: true,
            cause: ENDED,
            is_told: false,
            ..breach(
                json!({"cmd": "frame", "stated": LARGEST, "alter": {"truncate": 1024},
                    "body": {"hex": format!("10ffffff07f8feffff{}", "00".repeat(2000))}}),
                Violation::BadSnappy,
                true,
            )
        },
        // A message of 16 MiB that is almost all here, and one whose MAC is wrong: given back.
        large_then(json!({"truncate": -1}), ENDED),
        large_then(json!({"flip": [-1]}), BAD_MAC),
        // One that breaks its word at the very end.
        breach(
            lie(LARGEST - 1, u64::from(LARGEST)),
            Violation::BadSnappy,
            false,
        ),
    ]
}

/// Floods of a remote that reads none of our answers, until the write deadline ends it: what waits is bounded by the owed
/// Pongs, the inbox and the output, not by the flood.
fn floods() {
    let mut config = patient();
    config.write_timeout = SHORT;
    let remote = Hostile::with(Dialler::Them, config);
    let flood = |code: u32, size: u32| {
        let session = remote.session();
        let flood = json!({"cmd": "flood", "code": code, "size": size, "pattern": "random", "count": 100_000_000});
        remote.geth.command(flood);
        remote.geth.ok(json!({"cmd": "close"}));
        assert_eq!(session.report().reason, CloseReason::WriteTimeout);
    };
    let rose = peak(|| flood(2, 1));
    assert!(rose <= PEAK, "{rose} bytes by Pings");
    let rose = peak(|| flood(0x10, 60_000));
    assert!(rose <= 2 * PEAK, "{rose} bytes by requests");
    remote.assert_well();
}

/// The test again, in a process whose allocator takes large buffers from the system and gives them back at once. What it
/// would otherwise keep of them for later hides what we take; on a loaded machine it keeps one in each of its arenas.
fn again_without_keeping(name: &str) {
    let program = env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["--exact", name, "--nocapture"])
        .env(THRESHOLD, "131072")
        .output()
        .expect("this program runs");
    let (out, err) = (output.stdout, output.stderr);
    print!("{}", String::from_utf8_lossy(&out));
    eprint!("{}", String::from_utf8_lossy(&err));
    assert!(output.status.success());
}

/// From which size on glibc does so; setting it makes it stay as it is.
const THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";

/// No hostile session raises it by what it states, and none leaves anything behind.
#[test]
fn resident_memory_stays_flat() {
    if env::var_os(THRESHOLD).is_none() {
        return again_without_keeping("resident::resident_memory_stays_flat");
    }
    let remote = Hostile::new(Dialler::Them);
    let cases = cases();
    let (warming, measured) = ROUNDS;
    for _ in 0..warming {
        for case in &cases {
            case.run(&remote);
        }
    }
    for case in &cases {
        let rose = peak(|| case.run(&remote));
        if case.constant {
            assert!(rose <= PEAK, "{rose} bytes by {}", case.sends);
        } else {
            // So the measure would have seen a buffer.
            assert!(rose > PEAK, "{rose} bytes by {}", case.sends);
        }
    }
    floods();
    let before = resident();
    for _ in 0..measured {
        for case in &cases {
            case.run(&remote);
        }
    }
    let grew = resident().saturating_sub(before);
    println!(
        "{} sessions: {before} bytes, {grew} more at the end",
        measured * cases.len()
    );
    assert!(grew <= GROWTH, "{grew} bytes");
    assert_eq!(remote.host.memory().used(), 0);
    remote.assert_well();
}
