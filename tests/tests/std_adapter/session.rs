//! Two sessions of the std adapter over real sockets.
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::rlpx::NodeKey;
use devp2p_std::host::Host;
use devp2p_std::protocol::{Failure, Protocol};
use devp2p_std::session::Session;

fn key(seed: u8) -> NodeKey {
    NodeKey::new(&[seed; 32]).expect("a valid secret")
}

/// Answers code 0 by code 1 with the same payload, until the session closes.
fn echo() -> Protocol {
    Protocol::new("echo", 1, 2, |subprotocol| {
        loop {
            let message = subprotocol.read()?;
            subprotocol.write(1, &message.payload)?;
        }
    })
    .expect("a valid name")
}

/// Sends each payload by code 0 and expects it back.
fn asks(sizes: Vec<usize>) -> Protocol {
    Protocol::new("echo", 1, 2, move |subprotocol| {
        for size in &sizes {
            let payload: Vec<u8> = (0..*size).map(|i| (i * 7 + i / 251) as u8).collect();
            subprotocol.write(0, &payload)?;
            let answer = subprotocol.read()?;
            if answer.code != 1 || answer.payload != payload {
                return Err(Failure::new(
                    DisconnectReason::SUBPROTOCOL_ERROR,
                    "another answer",
                ));
            }
        }
        Ok(())
    })
    .expect("a valid name")
}

fn hosts(client: Protocol, server: Protocol) -> (Arc<Host>, Arc<Host>) {
    let host = |seed, protocol| {
        Host::builder(key(seed))
            .protocol(protocol)
            .build()
            .expect("a host")
    };
    (host(1, client), host(2, server))
}

#[test]
fn messages_of_every_size_are_echoed_over_tcp() {
    let (client, server) = hosts(
        asks(vec![0, 1, 55, 56, 1024, 65_535, 1 << 20, 5_000_000]),
        echo(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let id = server.id();
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        Session::accept(&server, stream).expect("a session").run()
    });
    let stream = TcpStream::connect(address).expect("a connection");
    let report = Session::dial(&client, stream, id).expect("a session").run();
    let other = serving.join().expect("no panic");
    assert_eq!(
        report.reason,
        CloseReason::ProtocolReturned { subprotocol: 0 },
        "{other:?}"
    );
    assert!(!report.remote_requested && report.was_active && report.stuck.is_empty());
    assert_eq!(
        other.reason,
        CloseReason::RemoteRequested(Some(DisconnectReason::CLIENT_QUITTING))
    );
    assert!(other.remote_requested);
    assert_eq!(client.traffic(0).messages_in, 8);
    assert_eq!(
        client.traffic(0).bytes_out,
        1 + 55 + 56 + 1024 + 65_535 + (1 << 20) + 5_000_000
    );
}

#[test]
fn a_panic_in_a_run_closure_is_a_subprotocol_error() {
    let panics = Protocol::new("echo", 1, 2, |_| panic!("on purpose")).expect("a valid name");
    let (client, server) = hosts(panics, echo());
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let id = server.id();
    let serving = thread::spawn(move || Session::accept(&server, theirs).expect("a session").run());
    let report = Session::dial(&client, ours, id).expect("a session").run();
    let reason = DisconnectReason::SUBPROTOCOL_ERROR;
    assert_eq!(
        report.reason,
        CloseReason::ProtocolError {
            subprotocol: 0,
            reason
        }
    );
    let other = serving.join().expect("no panic");
    assert_eq!(other.reason, CloseReason::RemoteRequested(Some(reason)));
}
