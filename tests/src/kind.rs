//! The kinds of session that the same tests run over: RLPx, and a framing of its own in the same fixed memory.

mod checked;
mod speaker;

use devp2p_core::framed::{Fixed, FramedSession};
use devp2p_core::hello::NodeId;
use devp2p_core::session::Session;

pub use checked::{Checked, OVERHEAD};
pub use speaker::Speaker;

use crate::link::Faults;
use crate::node::{Machine, Node, SLOTS, Spec};
use crate::pair::Pair;
use crate::rogue::{Manners, Remote, Rogue, compressed};

/// A kind of session, and what speaks to it.
pub trait Kind {
    /// The session.
    type Machine: Machine;
    /// What says to it whatever it is told.
    type Rogue: Remote;
    /// The base protocol version that both sides speak.
    const VERSION: u8;
    /// Whether the transport proves who the remote is.
    const PROVES_IDENTITY: bool;

    /// A node that dials `remote`.
    fn dial(spec: &Spec, remote: NodeId) -> Node<Self::Machine>;
    /// A node that is dialled.
    fn accept(spec: &Spec) -> Node<Self::Machine>;
    /// A rogue that dials `remote`.
    fn rogue(seed: u64, remote: NodeId) -> Self::Rogue;
    /// A payload after Hello as it is on the wire.
    fn payload(content: &[u8]) -> Vec<u8>;
    /// Bytes of a frame with so many bytes of code and payload.
    fn frame_length(body: usize) -> usize;

    /// `a` dials `b`; `faults` are those towards `a` and towards `b`.
    fn pair(a: &Spec, b: &Spec, faults: [Faults; 2], seed: u64) -> Nodes<Self> {
        Pair::new(Self::dial(a, b.id()), Self::accept(b), faults, seed)
    }

    /// A rogue that has said its Hello, with its own version and the protocols of `spec`, to an active node.
    ///
    /// # Panics
    /// If the node is not active.
    fn active(spec: &Spec) -> Pair<Self::Rogue, Node<Self::Machine>> {
        let mut pair = Self::silent(spec);
        pair.a.say_hello(Self::VERSION, &spec.protocols);
        pair.settle();
        assert!(pair.b.active().is_some());
        pair
    }

    /// A rogue that has not said its Hello.
    fn silent(spec: &Spec) -> Pair<Self::Rogue, Node<Self::Machine>> {
        let rogue = Self::rogue(1, spec.id());
        let faults = [Faults::none(), Faults::none()];
        Pair::new(rogue, Self::accept(spec), faults, 0)
    }
}

/// Two nodes of a kind.
pub type Nodes<K> = Pair<Node<<K as Kind>::Machine>, Node<<K as Kind>::Machine>>;

/// RLPx, with Snappy.
#[derive(Debug)]
pub struct Rlpx;

impl Kind for Rlpx {
    type Machine = Session<'static, SLOTS>;
    type Rogue = Rogue;
    const VERSION: u8 = 5;
    const PROVES_IDENTITY: bool = true;

    fn dial(spec: &Spec, remote: NodeId) -> Node {
        Node::dial(spec, remote)
    }
    fn accept(spec: &Spec) -> Node {
        Node::accept(spec)
    }
    fn rogue(seed: u64, remote: NodeId) -> Rogue {
        Rogue::dial(seed, remote, Manners::Polite)
    }
    fn payload(content: &[u8]) -> Vec<u8> {
        compressed(content)
    }
    fn frame_length(body: usize) -> usize {
        devp2p_core::rlpx::transmit::frame_length(body)
    }
}

/// A framing of the tests' own.
#[derive(Debug)]
pub struct Private;

impl Kind for Private {
    type Machine = FramedSession<Checked, Fixed<'static, SLOTS>, SLOTS>;
    type Rogue = Speaker;
    const VERSION: u8 = devp2p_core::framed::VERSION;
    const PROVES_IDENTITY: bool = false;

    fn dial(spec: &Spec, _remote: NodeId) -> Node<Self::Machine> {
        Node::framed(spec, Checked::default())
    }
    fn accept(spec: &Spec) -> Node<Self::Machine> {
        Node::framed(spec, Checked::default())
    }
    fn rogue(seed: u64, _remote: NodeId) -> Speaker {
        Speaker::new(seed)
    }
    fn payload(content: &[u8]) -> Vec<u8> {
        content.to_vec()
    }
    fn frame_length(body: usize) -> usize {
        // A code below 128 is one byte of the body.
        body - 1 + OVERHEAD
    }
}

/// Makes a test of each function, which is generic over a [`Kind`], for each kind.
#[macro_export]
macro_rules! for_each_kind {
    ($($name:ident),* $(,)?) => {
        mod rlpx {
            $(#[test] fn $name() { super::$name::<$crate::kind::Rlpx>(); })*
        }
        mod private {
            $(#[test] fn $name() { super::$name::<$crate::kind::Private>(); })*
        }
    };
}
