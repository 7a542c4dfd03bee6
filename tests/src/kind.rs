//! The kinds of session that the same tests run over: RLPx in fixed memory and in memory that grows, and a framing of its own.

mod checked;
mod speaker;

use devp2p_core::framed::{Fixed, FramedSession};
use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::transmit;
use devp2p_core::session::Session;

pub use checked::{Checked, OVERHEAD};
pub use speaker::Speaker;

use crate::growable::Growable;
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

    /// A rogue that dials `remote`.
    fn rogue(seed: u64, remote: NodeId) -> Self::Rogue;
    /// A payload after Hello as it is on the wire.
    fn payload(content: &[u8]) -> Vec<u8>;
    /// Bytes of a frame with so many bytes of code and payload.
    fn frame_length(body: usize) -> usize;

    /// `a` dials `b` over a perfect link.
    fn dial(a: &Spec, b: &Spec) -> Nodes<Self> {
        Pair::dial(a, b)
    }

    /// `a` dials `b`; `faults` are those towards `a` and towards `b`.
    fn pair(a: &Spec, b: &Spec, faults: [Faults; 2], seed: u64) -> Nodes<Self> {
        Pair::over(a, b, faults, seed)
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
        Pair::new(rogue, Node::accept(spec), faults, 0)
    }
}

/// Two nodes of a kind.
pub type Nodes<K> = Pair<Node<<K as Kind>::Machine>, Node<<K as Kind>::Machine>>;

/// RLPx with Snappy, in fixed memory.
#[derive(Debug)]
pub struct Rlpx;

/// RLPx with Snappy, in memory that grows.
#[derive(Debug)]
pub struct Growing;

macro_rules! over_rlpx {
    ($($kind:ty: $machine:ty),*) => {$(
        impl Kind for $kind {
            type Machine = $machine;
            type Rogue = Rogue;
            const VERSION: u8 = 5;
            const PROVES_IDENTITY: bool = true;

            fn rogue(seed: u64, remote: NodeId) -> Rogue {
                Rogue::dial(seed, remote, Manners::Polite)
            }
            fn payload(content: &[u8]) -> Vec<u8> {
                compressed(content)
            }
            fn frame_length(body: usize) -> usize {
                transmit::frame_length(body)
            }
        }
    )*};
}

over_rlpx!(Rlpx: Session<'static, SLOTS>, Growing: Growable);

/// A framing of the tests' own, in fixed memory.
#[derive(Debug)]
pub struct Private;

impl Kind for Private {
    type Machine = FramedSession<Checked, Fixed<'static, SLOTS>, SLOTS>;
    type Rogue = Speaker;
    const VERSION: u8 = devp2p_core::framed::VERSION;
    const PROVES_IDENTITY: bool = false;

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

/// Makes a test of each function, which is generic over a [`Kind`], for each kind; of those after `over RLPx:` for the kinds
/// over RLPx, whose rogue is a [`Rogue`].
#[macro_export]
macro_rules! for_each_kind {
    (over RLPx: $($name:ident),* $(,)?) => {
        mod fixed {
            $(#[test] fn $name() { super::$name::<$crate::kind::Rlpx>(); })*
        }
        mod growing {
            $(#[test] fn $name() { super::$name::<$crate::kind::Growing>(); })*
        }
    };
    ($($name:ident),* $(,)? $(; over RLPx: $($rlpx:ident),* $(,)?)?) => {
        mod private {
            $(#[test] fn $name() { super::$name::<$crate::kind::Private>(); })*
        }
        $crate::for_each_kind! { over RLPx: $($name,)* $($($rlpx),*)? }
    };
}
