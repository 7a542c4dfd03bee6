//! What the core logs of a session: each change of state, in order, and nothing for a message of a subprotocol.

use std::cell::RefCell;
use std::sync::Once;

use devp2p_core::capability::{Overflow, Protocol};
use devp2p_core::config::Config;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::rlpx::NodeKey;
use devp2p_core::rlpx::{Entropy, Handshake};
use devp2p_core::session::Session;
use devp2p_core::time::Duration;
use devp2p_tests::fixture::{config, protocol, secs};
use devp2p_tests::node::{Admission, Node, Reading, SLOTS, Spec};
use devp2p_tests::pair::Pair;
use log::{LevelFilter, Log, Metadata, Record};

/// Two sessions over fixed memory.
type Sessions = Pair<Node<Session<'static, SLOTS>>, Node<Session<'static, SLOTS>>>;

thread_local!(static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = record.level().as_str().to_lowercase();
        LINES.with_borrow_mut(|lines| lines.push(format!("{level} {}", record.args())));
    }

    fn flush(&self) {}
}

/// The lines of this thread since the last call.
fn lines() -> Vec<String> {
    static START: Once = Once::new();
    START.call_once(|| {
        log::set_logger(&Lines).expect("the first logger");
        log::set_max_level(LevelFilter::Trace);
    });
    LINES.take()
}

/// Each of these begins a line, in this order; other lines may stand between them.
#[track_caller]
fn expect(lines: &[String], starts: &[&str]) {
    let mut rest = lines.iter();
    for start in starts {
        let found = rest.any(|line| line.starts_with(start));
        assert!(
            found,
            "no {start:?} where it should be in:\n{}",
            lines.join("\n")
        );
    }
}

fn protocols() -> Vec<Protocol> {
    let mut lossy = protocol("lossy", 1, 300);
    lossy.overflow = Overflow::Drop;
    vec![protocol("echo", 2, 1024), lossy]
}

fn specs() -> [Spec; 2] {
    [1, 2].map(|seed| Spec::new(seed, &protocols()))
}

#[test]
fn a_session_tells_of_each_change_of_its_state() {
    let [a, b] = specs();
    lines();
    let mut pair = Sessions::dial(&a, &b);
    pair.activate();
    let opening = lines();
    let admitted = format!("debug admitted: Authenticated({})", a.id());
    expect(
        &opening,
        &[
            "trace handshake as Initiator: StaticShared",
            "trace handshake as Initiator: Sign",
            "trace handshake as Recipient: Open",
            "trace handshake as Recipient: Recover",
            &format!("debug the handshake is done with {}", a.id()),
            &admitted,
            "trace sending Hello",
            "debug Hello of Some(Remote",
            "debug shared: SharedCapability",
            "debug shared: SharedCapability",
            "debug active",
        ],
    );
    pair.a.write(0, 0, b"question");
    pair.b.write(0, 1, b"answer");
    pair.settle();
    assert_eq!(lines(), [""; 0], "no line for a message");

    pair.b.read(1, Reading::Stalled);
    pair.a.write_all(1, vec![(0, vec![vec![1; 200]]); 2]);
    pair.settle();
    expect(&lines(), &["debug dropped for inbox 1: Meta"]);

    pair.b.read(0, Reading::Stalled);
    pair.a.write_all(0, vec![(0, vec![vec![1; 500]]); 4]);
    pair.settle();
    expect(&lines(), &["debug holding back: inbox 0 is full"]);
    pair.b.read(0, Reading::Eager);
    pair.settle();
    expect(&lines(), &["debug no longer holding back"]);

    pair.run_for(secs(16));
    let pings = [
        "trace sending Ping",
        "trace received Ping",
        "trace sending Pong",
    ];
    let pings = lines_with(&pings, &["trace received Pong", "trace Pong after"]);
    expect(&lines(), &pings);

    let cause = CloseReason::Local(DisconnectReason::CLIENT_QUITTING);
    pair.a.session.close(pair.now, cause);
    pair.close();
    expect(
        &lines(),
        &[
            "debug closing: closed here: client quitting (0x08)",
            "trace sending Disconnect(client quitting (0x08))",
            "trace received Disconnect(Some(client quitting (0x08)))",
            "debug closing: the remote disconnected: client quitting (0x08)",
            "debug closed",
        ],
    );
}

fn lines_with<'a>(first: &[&'a str], then: &[&'a str]) -> Vec<&'a str> {
    [first, then].concat()
}

#[test]
fn a_deadline_is_named_by_the_cause_of_the_end() {
    let [a, mut b] = specs();
    b.config = config(|config: &mut Config| config.hold_back_limit = Duration::from_secs(3));
    let mut pair = Sessions::dial(&a, &b);
    pair.activate();
    lines();
    pair.b.read(0, Reading::Stalled);
    pair.a.write_all(0, vec![(0, vec![vec![1; 500]]); 4]);
    pair.run_for(secs(10));
    expect(
        &lines(),
        &[
            "debug holding back: inbox 0 is full",
            "debug closing: the inbox of subprotocol 0 stayed full",
            "debug closed",
        ],
    );
}

#[test]
fn a_remote_that_is_not_admitted_and_a_handshake_that_fails_are_told() {
    let [a, mut b] = specs();
    b.admission = Admission::Reject(DisconnectReason::TOO_MANY_PEERS);
    lines();
    let mut pair = Sessions::dial(&a, &b);
    pair.close();
    expect(
        &lines(),
        &["debug closing: not admitted: too many peers (0x04)"],
    );

    let key = NodeKey::new(&[1; 32]).expect("a key");
    let mut handshake = Handshake::recipient(Entropy::new(&[0x55; Entropy::LENGTH]));
    assert!(handshake.poll(&key, &mut [0; 512], &[]).is_err());
    expect(
        &lines(),
        &[
            "debug the random bytes for the handshake repeat themselves",
            "debug the handshake failed",
        ],
    );
}

/// Whatever is logged, the secrets that a session was made of are not in it.
#[test]
fn no_secret_is_logged() {
    let [a, b] = specs();
    lines();
    let mut pair = Sessions::dial(&a, &b);
    pair.activate();
    let all = lines().join("\n").to_lowercase();
    assert!(!all.contains("entropy") && !all.contains("secret"), "{all}");
    for seed in [1, 2] {
        let secret = devp2p_tests::fixture::secret(seed);
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{secret:?}");
        assert!(!all.contains(&hex) && !all.contains(&list[1..40]), "{all}");
    }
}
