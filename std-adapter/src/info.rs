//! What a node tells about itself and its peers, with the JSON fields of go-ethereum's `admin_nodeInfo` and `admin_peers`.
//!
//! Two differences: there are no node records here, so `enr` is left out of a peer and empty for the node, and a peer without
//! capabilities has an empty list where go-ethereum prints `null`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::keccak256;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::enode::Enode;
use crate::node::Service;
use crate::protocol::Protocol;

/// The Keccak-256 of a node's 64-byte identity; what go-ethereum prints as `id`, in hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdHash(pub [u8; 32]);

impl fmt::Display for IdHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for IdHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for IdHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a protocol tells, as `admin_peers` shows it for one peer and `admin_nodeInfo` for the node.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ProtocolInfo {
    /// The protocol has no closure to ask. Printed as `"unknown"`.
    #[default]
    Unknown,
    /// The closure for a peer had nothing to tell yet. Printed as `"handshake"`.
    Handshake,
    /// What the closure told.
    Known(Value),
}

impl Serialize for ProtocolInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown => serializer.serialize_str("unknown"),
            Self::Handshake => serializer.serialize_str("handshake"),
            Self::Known(value) => value.serialize(serializer),
        }
    }
}

/// One peer, as an element of `admin_peers`. Where several are listed, go-ethereum sorts them by `id`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeerInfo {
    /// The node record, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enr: Option<String>,
    /// The enode URL.
    pub enode: String,
    /// The hash of its identity.
    pub id: IdHash,
    /// The client name in its Hello.
    pub name: String,
    /// The capabilities in its Hello, each as `name/version`.
    pub caps: Vec<String>,
    /// The connection.
    pub network: NetworkInfo,
    /// The subprotocols of the session, by name.
    pub protocols: BTreeMap<String, ProtocolInfo>,
}

/// Stands for the address of a remote whose transport has none.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl PeerInfo {
    /// Of a peer with this client name, these capabilities and these protocols.
    pub(crate) fn new<'a, S: Service>(
        id: NodeId,
        (name, caps): (&str, &[String]),
        remote: Option<SocketAddr>,
        network: NetworkInfo,
        protocols: impl Iterator<Item = &'a Protocol<S>>,
    ) -> Self {
        let told = |protocol: &Protocol<S>| match &protocol.peer_info {
            None => ProtocolInfo::Unknown,
            Some(info) => info(&id).map_or(ProtocolInfo::Handshake, ProtocolInfo::Known),
        };
        Self {
            enr: None,
            enode: Enode::new(id, remote.unwrap_or(NOWHERE)).to_string(),
            id: IdHash(keccak256(&[&id.0])),
            name: name.to_owned(),
            caps: caps.to_vec(),
            network,
            protocols: protocols
                .map(|protocol| (protocol.capability().name.to_string(), told(protocol)))
                .collect(),
        }
    }
}

/// How a peer is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkInfo {
    /// This end of the connection, `host:port`.
    pub local_address: String,
    /// The remote end of the connection, `host:port`.
    pub remote_address: String,
    /// Whether the remote dialled.
    pub inbound: bool,
    /// Whether the peer passes the limit on sessions.
    pub trusted: bool,
    /// Whether the peer is dialled again whenever its session ends.
    #[serde(rename = "static")]
    pub is_static: bool,
}

impl NetworkInfo {
    /// Of a connection with these ends, if the transport has addresses: the local and the remote one.
    pub(crate) fn new(
        (local, remote): (Option<SocketAddr>, Option<SocketAddr>),
        inbound: bool,
        trusted: bool,
        is_static: bool,
    ) -> Self {
        let text = |addr: Option<SocketAddr>| addr.map(|addr| addr.to_string()).unwrap_or_default();
        Self {
            local_address: text(local),
            remote_address: text(remote),
            inbound,
            trusted,
            is_static,
        }
    }
}

/// This node, as `admin_nodeInfo`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// The hash of its identity.
    pub id: IdHash,
    /// The client name in our Hello.
    pub name: String,
    /// The enode URL that others dial.
    pub enode: String,
    /// The node record: empty without one.
    pub enr: String,
    /// The address that others are told.
    pub ip: String,
    /// The ports that others are told.
    pub ports: Ports,
    /// Where the node listens, `host:port`; empty if it does not.
    pub listen_addr: String,
    /// The registered protocols, by name.
    pub protocols: BTreeMap<String, ProtocolInfo>,
}

/// The ports of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// The UDP port of discovery; zero without it.
    pub discovery: u16,
    /// The TCP port of RLPx; zero if the node does not listen.
    pub listener: u16,
}
