//! What an ended session leaves in memory: none of its keys.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::rlpx::{Curve, DefaultCurve, Entropy, keccak256};
use devp2p_core::session::Session;
use devp2p_tests::fixture::protocol;
use devp2p_tests::node::{Node, SLOTS, Spec};
use devp2p_tests::pair::Pair;
use devp2p_tests::random::Random;

/// Not those of any other test: what these sessions leave must be their own.
const SEEDS: std::ops::Range<u64> = 0x5ec0..0x5ec8;
/// The keys are never in this process but where sessions put them: another one works them out, and says them masked.
const MASK: u8 = 0xa5;
const ASKED: &str = "DEVP2P_TESTS_MASKED_KEYS";

/// Half a key of AES-256, masked.
type Masked = [u8; 16];

/// The frame and MAC keys of the session between the nodes of these seeds (RLPx specification, "Initial Handshake").
fn keys(dials: u64, accepts: u64) -> [[u8; 32]; 2] {
    let [a, b] = [dials, accepts].map(|seed| {
        let mut bytes = [0; Entropy::LENGTH];
        Random::new(seed ^ 0x656e_7472).fill(&mut bytes);
        bytes
    });
    let part = |bytes: &[u8], at: usize| <[u8; 32]>::try_from(&bytes[at..at + 32]).unwrap();
    let remote = DefaultCurve::public_key(&part(&b, 0)).unwrap();
    let ephemeral = DefaultCurve::shared_x(&part(&a, 0), &remote).unwrap();
    let nonces = keccak256(&[&part(&b, 64), &part(&a, 64)]);
    let shared = keccak256(&[&ephemeral, &nonces]);
    let aes = keccak256(&[&ephemeral, &shared]);
    [aes, keccak256(&[&ephemeral, &aes])]
}

/// Says the keys where it is asked to, in the process that [`masked_keys`] starts.
#[test]
fn says_its_keys_masked_if_asked() {
    if std::env::var_os(ASKED).is_none() {
        return;
    }
    for seed in SEEDS.step_by(2) {
        for key in keys(seed, seed + 1) {
            let hex: String = key
                .iter()
                .map(|byte| format!("{:02x}", byte ^ MASK))
                .collect();
            println!("masked {hex}");
        }
    }
}

fn masked_keys() -> Vec<Masked> {
    let this = std::env::current_exe().expect("this program");
    let said = Command::new(this)
        .args([
            "--exact",
            "secrets::says_its_keys_masked_if_asked",
            "--nocapture",
        ])
        .env(ASKED, "1")
        .output()
        .expect("it runs");
    let text = String::from_utf8(said.stdout).expect("text");
    let digits = text.lines().filter_map(|line| line.split("masked ").nth(1));
    let halves = digits.flat_map(|line| [line[..32].to_owned(), line[32..64].to_owned()]);
    let byte = |text: &str, at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    halves
        .map(|text| std::array::from_fn(|at| byte(&text, at)))
        .collect()
}

/// How often a half of a key stands in this process's memory.
fn found(halves: &[Masked]) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    let memory = File::open("/proc/self/mem").expect("memory");
    let mut buffer = vec![0; 1 << 20];
    let own = buffer.as_ptr().addr()..buffer.as_ptr().addr() + buffer.len();
    let mut starts = vec![false; 1 << 16];
    let start =
        |bytes: &[u8], mask: u8| usize::from(bytes[0] ^ mask) << 8 | usize::from(bytes[1] ^ mask);
    for half in halves {
        starts[start(half, MASK)] = true;
    }
    let mut found = 0;
    for map in maps.lines().filter(|map| map.contains(" rw")) {
        let (range, _) = map.split_once(' ').expect("a range");
        let (from, to) = range.split_once('-').expect("a range");
        let number = |text| usize::from_str_radix(text, 16).expect("a number");
        let (mut at, to) = (number(from), number(to));
        while at < to {
            let length = buffer.len().min(to - at);
            let Ok(n) = memory.read_at(&mut buffer[..length], at as u64) else {
                break;
            };
            for (offset, window) in buffer[..n].windows(16).enumerate() {
                if starts[start(window, 0)]
                    && !own.contains(&(at + offset))
                    && halves
                        .iter()
                        .any(|half| half.iter().zip(window).all(|(a, b)| a ^ MASK == *b))
                {
                    found += 1;
                }
            }
            // What crosses the end of a piece is looked at with the next one.
            at += if n > 15 && at + n < to {
                n - 15
            } else {
                n.max(1)
            };
        }
    }
    buffer.fill(0);
    found
}

#[inline(never)]
fn session(dials: u64, look: impl FnOnce()) {
    let protocols = [protocol("echo", 2, 2048)];
    let (a, b) = (
        Spec::new(dials, &protocols),
        Spec::new(dials + 1, &protocols),
    );
    let mut pair: Pair<Node<Session<'static, SLOTS>>, Node<Session<'static, SLOTS>>> =
        Pair::dial(&a, &b);
    pair.activate();
    for size in [10, 1_000, 100_000] {
        pair.a.write(0, 0, &vec![1; size]);
        pair.b.write(0, 1, &vec![2; size]);
        pair.settle();
    }
    look();
    let cause = CloseReason::Local(DisconnectReason::CLIENT_QUITTING);
    pair.a.session.close(pair.now, cause);
    pair.close();
}

#[test]
fn an_ended_session_leaves_none_of_its_keys_in_memory() {
    let halves = masked_keys();
    assert_eq!(halves.len(), 2 * SEEDS.count());
    assert_eq!(found(&halves), 0, "before there is a session");
    for dials in SEEDS.step_by(2) {
        session(dials, || {
            let lives = found(&halves);
            // Both halves of two keys, on two sides, each at the front of a key schedule.
            assert!(lives >= 8, "{lives} while the session lives");
        });
    }
    assert_eq!(found(&halves), 0, "after all have ended");
}
