//! Addresses on the command line.

use std::net::{SocketAddr, UdpSocket};

use devp2p_core::hello::NodeId;
use devp2p_std::enode::{Enode, EnodeError, Host};

/// `HOST:PORT`, or `:PORT` for every address of this machine, as go-ethereum takes it.
#[derive(Debug, Clone)]
pub(crate) struct Addr {
    host: Option<Host>,
    port: u16,
}

impl Addr {
    /// Where to listen.
    pub(crate) fn to_listen(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}:{}", self.port),
            // Both families at one socket, where there are both.
            None if UdpSocket::bind("[::]:0").is_ok() => format!("[::]:{}", self.port),
            None => format!("0.0.0.0:{}", self.port),
        }
    }

    /// The node that listens there; without a host it is this machine's. There is no discovery.
    pub(crate) fn to_enode(&self, id: NodeId) -> Enode {
        let local = SocketAddr::from(([127, 0, 0, 1], self.port));
        let enode = Enode {
            udp: 0,
            ..Enode::new(id, local)
        };
        match &self.host {
            Some(host) => Enode {
                host: host.clone(),
                ..enode
            },
            None => enode,
        }
    }
}

/// Reads an address for the command line.
pub(crate) fn parse_addr(text: &str) -> Result<Addr, String> {
    let text = text.trim_ascii();
    let is_all = text.starts_with(':');
    let host = if is_all { "0.0.0.0" } else { "" };
    // What an enode may say after its identity.
    let enode = format!("enode://{}@{host}{text}", NodeId([0; 64]));
    match enode.parse::<Enode>() {
        Ok(enode) if !text.contains(['?', '/', '#']) => Ok(Addr {
            host: (!is_all).then_some(enode.host),
            port: enode.tcp,
        }),
        Err(EnodeError::InvalidPort) => Err("the port is not a number from 0 to 65535".to_owned()),
        _ => Err(
            "not HOST:PORT, as 127.0.0.1:30303, [::1]:30303, localhost:30303 or :30303".to_owned(),
        ),
    }
}

/// Reads the enode of a node to dial for the command line.
pub(crate) fn parse_enode(text: &str) -> Result<Enode, String> {
    let enode: Enode = text
        .parse()
        .map_err(|error: EnodeError| error.to_string())?;
    if enode.tcp == 0 {
        return Err(
            "the enode states TCP port 0: the node does not listen, so it cannot be dialled"
                .to_owned(),
        );
    }
    Ok(enode)
}
