//! What `Debug` shows of a session.
use std::fmt::Debug;

use devp2p_core::config::Config;
use devp2p_core::rlpx::Entropy;
use devp2p_core::session::{MIN_INBOX_MEMORY, Session, Storage};
use devp2p_core::time::Instant;
use devp2p_tests::fixture::{self, protocol};
use devp2p_tests::node::{Node, Spec};
use devp2p_tests::pair::Pair;

/// Whether these bytes stand anywhere in the text, as `Debug` writes bytes.
fn shows(value: &impl Debug, bytes: &[u8]) -> bool {
    let list = format!("{bytes:?}");
    let text = format!("{value:?}");
    text.contains(list.trim_matches(['[', ']']))
}

#[test]
fn a_handshake_in_progress_shows_nothing_of_its_randomness() {
    let protocols = [protocol("a", 1, 100)];
    let key = fixture::key(1);
    let (mut inboxes, mut ring, mut table) = ([0; MIN_INBOX_MEMORY], [0; 1024], [0; 64]);
    let randomness: [u8; Entropy::LENGTH] = std::array::from_fn(|i| i as u8 ^ 0x55);
    let storage = Storage {
        inboxes: &mut inboxes,
        ring: &mut ring,
        table: &mut table,
    };
    let mut session: Session<'_, 1> = Session::dial(
        *fixture::key(2).id(),
        &key,
        fixture::local(&key, 5, &protocols),
        Config::new(),
        storage,
        Entropy::new(&randomness),
        Instant::ZERO,
    )
    .expect("memory enough");
    let mut steps = 0;
    while session.output().is_empty() {
        assert!(session.poll(Instant::ZERO).is_none());
        steps += 1;
        // The nonce stands in auth, as it is until auth is encrypted.
        for piece in randomness.chunks_exact(16) {
            assert!(!shows(&session, piece), "after {steps} steps");
        }
    }
    assert!(steps > 3);
    assert!(shows(&randomness, &randomness[16..32]), "it would be seen");
}

#[test]
fn a_session_shows_nothing_of_its_messages() {
    let protocols = [protocol("a", 1, 1000)];
    let mut pair: Pair<Node, Node> =
        Pair::dial(&Spec::new(1, &protocols), &Spec::new(2, &protocols));
    pair.activate();
    pair.b.read(0, devp2p_tests::node::Reading::Stalled);
    pair.a.write(0, 0, b"between us");
    pair.settle();
    let message = pair.b.session.peek(0).expect("it arrived");
    assert_eq!(message.payload, Some(&b"between us"[..]));
    assert!(!shows(&pair.b.session, b"between us"));
}
