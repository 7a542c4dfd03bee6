//! How the sessions of a node are served: what a form of it provides beside the one node.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::hello::NodeId;

use super::shared::Shared;
use crate::info::PeerInfo;

/// Serves the sessions of a [`Node`](super::Node): [`Threads`](super::Threads) or
/// [`Loops`](crate::event_loop::Loops). Nothing else implements it.
pub trait Service: Serve {}

/// A remote with which there is a session.
pub trait Remote: Clone + Send + 'static {
    /// Its identity.
    fn id(&self) -> NodeId;
    /// Where it is.
    fn remote_addr(&self) -> Option<SocketAddr>;
    /// Whether its session ends, which the node was not told.
    fn is_ending(&self) -> bool;
    /// Notes whether it is trusted, or static.
    fn mark(&self, trusted: Option<bool>, is_static: Option<bool>);
    /// What go-ethereum's `admin_peers` tells of it.
    fn info(&self) -> PeerInfo;
}

/// A service calls [`Shared::claims`], [`Shared::activate`], [`Shared::begun`], [`Shared::ends`] and [`Shared::close`] for each
/// connection that it is given, in this order.
pub trait Serve: Sized + Send + Sync + 'static {
    /// What serves one protocol.
    type Run: Clone + Send + Sync;
    /// What a program holds of a session.
    type Peer: Remote;
    /// What the service is made of.
    type Settings;
    /// What its threads are started with.
    type Parts;
    /// Ends one connection from outside.
    type Abort: Clone + Send;

    /// Takes what it needs of the system.
    fn new(settings: Self::Settings) -> io::Result<(Self, Self::Parts)>;
    /// Starts its own threads, if it has any.
    fn start(shared: &Arc<Shared<Self>>, parts: Self::Parts) -> io::Result<()>
    where
        Self: Service;
    /// Begins a session over this connection, with the node that was dialled or with whoever dialled us. Called under the node's
    /// lock: must not block. A thread that it returns is joined when the connection is over.
    fn open(
        shared: &Arc<Shared<Self>>,
        ticket: u64,
        stream: TcpStream,
        dialled: Option<NodeId>,
    ) -> io::Result<(Self::Abort, Option<JoinHandle<()>>)>
    where
        Self: Service;
    /// Ends a connection, telling the remote why if it can.
    fn abort(&self, ticket: u64, abort: Self::Abort, reason: DisconnectReason);
    /// The node shuts down: has every connection end.
    fn shut_down(&self, connections: Vec<(u64, Self::Abort)>);
    /// Joins its own threads: all connections are over.
    fn join(&self);
}
