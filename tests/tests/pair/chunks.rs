//! The same bytes, however they are cut, give the same events.
use devp2p_core::capability::Protocol;
use devp2p_core::error::TransportError;
use devp2p_core::session::Event;
use devp2p_core::time::Instant;
use devp2p_tests::endpoint::Endpoint;
use devp2p_tests::fixture::protocol;
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::Kind;
use devp2p_tests::link::Faults;
use devp2p_tests::node::{Got, Node, Spec};
use devp2p_tests::pair::Pair;
use devp2p_tests::random::Random;
use devp2p_tests::rogue::{Manners, Remote, Rogue, Say, body, compressed};

for_each_kind! {
    over RLPx:
    a_cut_at_every_position_changes_nothing,
    byte_by_byte_and_in_random_pieces_every_conversation_is_the_same,
    a_hello_with_the_disconnect_in_one_piece_is_an_active_session_that_ends,
}

const NOW: Instant = Instant::ZERO;

fn protocols() -> Vec<Protocol> {
    vec![protocol("chat", 4, 700), protocol("echo", 2, 4096)]
}

fn spec() -> Spec {
    Spec::new(2, &protocols())
}

/// Everything that a rogue sends a node if it says this after its Hello.
fn record<K: Kind>(script: Vec<Say>) -> Vec<u8> {
    struct Tap(Rogue, Vec<u8>);
    impl Endpoint for Tap {
        fn advance(&mut self, now: Instant, trace: &mut dyn FnMut(String)) -> bool {
            self.0.advance(now, trace)
        }
        fn output(&self) -> &[u8] {
            self.0.output()
        }
        fn consume_output(&mut self, now: Instant, n: usize) {
            self.1.extend(&self.0.output()[..n]);
            self.0.consume_output(now, n);
        }
        fn wants_input(&mut self) -> bool {
            self.0.wants_input()
        }
        fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
            self.0.handle_input(now, bytes)
        }
        fn handle_end(&mut self, now: Instant, error: TransportError) {
            self.0.handle_end(now, error);
        }
        fn take_ending(&mut self) -> Option<devp2p_tests::endpoint::Ending> {
            self.0.take_ending()
        }
        fn poll_at(&self) -> devp2p_core::time::PollAt {
            self.0.poll_at()
        }
    }
    let mut rogue = Rogue::dial(1, spec().id(), Manners::Polite);
    rogue.say_hello(5, &protocols());
    for say in script {
        rogue.say(say);
    }
    let faults = [Faults::none(), Faults::none()];
    let mut pair = Pair::new(
        Tap(rogue, Vec::new()),
        Node::<K::Machine>::accept(&spec()),
        faults,
        0,
    );
    pair.settle();
    pair.a.1
}

/// What a node makes of these bytes, cut so. Its own bytes are taken by nobody in particular.
fn replay<K: Kind>(pieces: &[&[u8]]) -> (Vec<Event>, Vec<Vec<Got>>) {
    let mut node = Node::<K::Machine>::accept(&spec());
    let settle = |node: &mut Node<K::Machine>| {
        while node.advance(NOW, &mut |_| {}) || !node.output().is_empty() {
            let n = node.output().len();
            node.consume_output(NOW, n);
        }
    };
    settle(&mut node);
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut at = 0;
        while at < bytes.len() {
            assert!(node.wants_input(), "everything is read here");
            let n = node.handle_input(NOW, &mut bytes[at..]);
            assert!(n > 0, "what is wanted is taken");
            at += n;
            settle(&mut node);
        }
    }
    node.handle_end(NOW, TransportError::EndOfStream);
    settle(&mut node);
    let got = (0..2).map(|i| node.got(i).to_vec()).collect();
    (node.event_kinds(), got)
}

fn conversation() -> Vec<Say> {
    let mut random = Random::new(1);
    let mut message = |code, length| {
        let payload = random.compressible(length);
        Say::Frame(body(code, &compressed(&payload)))
    };
    vec![
        message(16, 0),
        message(17, 15),
        Say::Frame(body(2, &[1, 0, 0xc0])),
        message(20, 100),
        Say::Frame(body(5, b"reserved")),
        message(19, 900), // larger than its inbox
        message(16, 30),
        Say::Frame(body(3, &[0xc0])),
    ]
}

fn endings() -> Vec<Vec<Say>> {
    vec![
        vec![],
        vec![Say::Frame(body(1, &[2, 4, 0xc1, 4]))],
        vec![Say::Frame(body(22, b"out of range"))],
        vec![Say::Frame(body(16, b"\x09not Snappy"))],
        vec![Say::BadMac(body(16, &compressed(b"altered")))],
        vec![Say::PartOfFrame(body(16, &compressed(&[7; 100])), 50)],
        vec![Say::Frame(vec![])],
    ]
}

fn a_cut_at_every_position_changes_nothing<K: Kind>() {
    let mut script = conversation();
    script.push(Say::Frame(body(1, &[2, 4, 0xc1, 4])));
    let bytes = record::<K>(script);
    let whole = replay::<K>(&[&bytes]);
    assert_eq!(whole.0.len(), 3, "{:?}", whole.0);
    assert_eq!(whole.1[0].len(), 4);
    assert_eq!(whole.1[1].len(), 1);
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        assert_eq!(replay::<K>(&[left, right]), whole, "cut at {cut}");
    }
}

fn byte_by_byte_and_in_random_pieces_every_conversation_is_the_same<K: Kind>() {
    for (n, ending) in endings().into_iter().enumerate() {
        let mut script = conversation();
        script.extend(ending);
        let bytes = record::<K>(script);
        let whole = replay::<K>(&[&bytes]);
        assert!(matches!(whole.0.last(), Some(Event::Closed(_))));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(replay::<K>(&single), whole, "ending {n}, byte by byte");
        for seed in 0..60 {
            let mut random = Random::new(seed);
            let mut rest = &bytes[..];
            let mut pieces = Vec::new();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(1 + random.index(200)));
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(replay::<K>(&pieces), whole, "ending {n}, seed {seed}");
        }
    }
}

fn a_hello_with_the_disconnect_in_one_piece_is_an_active_session_that_ends<K: Kind>() {
    let bytes = record::<K>(vec![
        Say::Frame(body(16, &compressed(b"a word"))),
        Say::Frame(body(1, &[2, 4, 0xc1, 4])),
    ]);
    let (events, got) = replay::<K>(&[&bytes]);
    assert_eq!(events[1], Event::Active);
    assert_eq!(got[0][0].payload.as_deref(), Some(&b"a word"[..]));
}
