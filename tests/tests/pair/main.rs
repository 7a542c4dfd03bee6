//! Two sessions over a seeded link, in virtual time: the scenarios are played over fixed memory and over memory that grows.
mod halves;
mod secrets;
mod shown;

/// The core's `Session`.
#[path = "."]
mod fixed {
    use devp2p_core::session::Session;
    use devp2p_tests::link::Faults;
    use devp2p_tests::node::{self, SLOTS, Spec};
    use devp2p_tests::pair::Pair;

    type Node = node::Node<Session<'static, SLOTS>>;

    fn dial(a: &Spec, b: &Spec) -> Pair<Node, Node> {
        Pair::dial(a, b)
    }

    fn over(a: &Spec, b: &Spec, faults: [Faults; 2], seed: u64) -> Pair<Node, Node> {
        Pair::over(a, b, faults, seed)
    }

    mod admission;
    mod causes;
    mod chunks;
    mod deadlines;
    mod faults;
    mod interleavings;
    mod ping;
    mod race;
    mod ring;
    mod smoke;
    mod stall;
    mod versions;
    mod writes;
}

/// The same machine over memory that grows, as hosts lend it.
#[path = "."]
#[expect(
    clippy::duplicate_mod,
    reason = "the same scenarios, with another session"
)]
mod growable {
    use devp2p_tests::growable::Growable;
    use devp2p_tests::link::Faults;
    use devp2p_tests::node::{self, Spec};
    use devp2p_tests::pair::Pair;

    type Node = node::Node<Growable>;

    fn dial(a: &Spec, b: &Spec) -> Pair<Node, Node> {
        Pair::dial(a, b)
    }

    fn over(a: &Spec, b: &Spec, faults: [Faults; 2], seed: u64) -> Pair<Node, Node> {
        Pair::over(a, b, faults, seed)
    }

    mod admission;
    mod causes;
    mod chunks;
    mod deadlines;
    mod faults;
    mod growing;
    mod interleavings;
    mod ping;
    mod race;
    mod smoke;
    mod stall;
    mod versions;
    mod writes;
}
