//! The listener, what it survives, and what a node tells of itself.
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;

use devp2p_std::node::StartError;
use devp2p_std::protocol::Failure;
use devp2p_std::session::Session;
use serde_json::json;

use super::*;

#[test]
fn connections_that_make_no_sense_do_no_harm() {
    let server = start(listening(80));
    let address = server.local_addr().expect("an address");
    let connect = || TcpStream::connect(address).expect("a connection");
    let mut silent = Vec::new();
    for round in 0..10_u8 {
        drop(connect());
        silent.push(connect());
        let mut junk = connect();
        // The remote may close before it was given all.
        let _ = junk.write_all(&[round.wrapping_mul(37); 1000]);
        let mut half = connect();
        half.write_all(&[1, 2, 3]).expect("a connection");
        half.shutdown(Shutdown::Write).expect("a connection");
        // Both are closed without an answer.
        for stream in [&mut junk, &mut half] {
            let read = stream.read(&mut [0]);
            assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        }
    }
    let events = server.host().subscribe(10);
    let client = dialler(81);
    client.dial(&server.enode()).expect("a session");
    added(&events);
    let end = server.shutdown();
    assert_eq!((end.reports.len(), end.unfinished), (1, 0));
    for mut stream in silent {
        let read = stream.read(&mut [0]);
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
}

#[test]
fn fifty_sessions_at_once() {
    let asks = || {
        let run = |subprotocol: &mut devp2p_std::handle::Subprotocol| {
            for i in 0..20_u8 {
                subprotocol.write(0, &[i; 100])?;
                if subprotocol.read()?.payload != [i; 100] {
                    let reason = DisconnectReason::SUBPROTOCOL_ERROR;
                    return Err(Failure::new(reason, "another answer"));
                }
            }
            // Until the server ends the session.
            subprotocol.read()?;
            Ok(())
        };
        Protocol::new("echo", 1, 2, run).expect("a valid name")
    };
    let server = start(listening(82));
    let events = server.host().subscribe(10_000);
    let clients: Vec<_> = (100..150)
        .map(|seed| start(Node::builder(host_with(seed, |host| host.protocol(asks())))))
        .collect();
    for client in &clients {
        client.add_static(server.enode());
    }
    wait_for_peers(&server, &events, 50);
    while server.host().traffic(0).messages_out < 50 * 20 {
        next(&events);
    }
    let infos = server.peer_infos();
    assert_eq!(infos.len(), 50);
    assert!(infos.is_sorted_by_key(|info| info.id.to_string()));
    let end = server.shutdown();
    assert_eq!((end.reports.len(), end.stuck.len()), (50, 0));
    assert_eq!(server.host().traffic(0).messages_in, 50 * 20);
}

#[test]
fn the_node_tells_what_admin_node_info_does() {
    let told = || echo().node_info(|| json!({ "network": 7 }));
    let silent = Protocol::new("silent", 3, 1, |_| Ok(())).expect("a valid name");
    let host = host_with(83, |host| {
        host.client_name("test/v1")
            .protocol(told())
            .protocol(silent)
    });
    let node = start(Node::builder(host).listen("127.0.0.1:0"));
    let port = node.local_addr().expect("an address").port();
    let id = node.host().id();
    let hash = devp2p_core::rlpx::keccak256(&[&id.0]);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let info = serde_json::to_value(node.info()).expect("JSON");
    assert_eq!(
        info,
        json!({
            "id": hash,
            "name": "test/v1",
            "enode": format!("enode://{id}@127.0.0.1:{port}?discport=0"),
            "enr": "",
            "ip": "127.0.0.1",
            "ports": { "discovery": 0, "listener": port },
            "listenAddr": format!("127.0.0.1:{port}"),
            "protocols": { "echo": { "network": 7 }, "silent": "unknown" },
        })
    );
}

#[test]
fn the_enode_states_an_address_that_can_be_dialled() {
    let everywhere = start(Node::builder(host(84)).listen("0.0.0.0:0"));
    let port = everywhere.local_addr().expect("an address").port();
    let enode = everywhere.enode();
    assert_eq!(enode.to_string().parse(), Ok(enode.clone()));
    assert!(
        enode
            .to_string()
            .ends_with(&format!("@127.0.0.1:{port}?discport=0"))
    );
    dialler(85).dial(&enode).expect("a session");

    let ip = "192.0.2.1".parse().expect("an address");
    let known = start(listening(86).external_ip(ip));
    assert!(known.enode().to_string().contains("@192.0.2.1:"));
    assert_eq!(known.info().ip, "192.0.2.1");

    let deaf = dialler(87);
    assert_eq!(deaf.local_addr(), None);
    assert_eq!(deaf.enode().tcp, 0);
    assert_eq!(deaf.info().listen_addr, "");
}

#[test]
fn the_port_is_told_in_hello() {
    let server = start(listening(88));
    let address = server.local_addr().expect("an address");
    let (sender, receiver) = mpsc::channel();
    let stream = TcpStream::connect(address).expect("a connection");
    let session = Session::dial(&host(90), stream, server.host().id()).expect("a session");
    let session = session.learn(move |hello| {
        sender.send(hello.listen_port).expect("a test that waits");
        Vec::new()
    });
    let stopper = session.stopper();
    std::thread::scope(|scope| {
        scope.spawn(|| session.run());
        let port = receiver.recv_timeout(PATIENCE).expect("a Hello");
        assert_eq!(port, u64::from(address.port()));
        stopper.stop(DisconnectReason::REQUESTED);
    });
}

#[test]
fn an_address_that_cannot_be_listened_on_is_named() {
    let server = start(listening(91));
    let address = server.local_addr().expect("an address");
    let taken = Node::builder(host(92)).listen(address).start();
    let error = taken.expect_err("it is taken");
    assert!(matches!(error, StartError::Listen { .. }));
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("choose another port"));

    let error = Node::builder(host(93)).listen("here").start();
    let text = error.expect_err("no port").to_string();
    assert!(text.contains("HOST:PORT"), "{text}");
}

/// Accepting fails for want of descriptors; once there are some, the connection that waited is a session.
#[test]
#[cfg(unix)]
fn the_listener_outlives_a_lack_of_descriptors() {
    if !is_alone(
        "node::listening::the_listener_outlives_a_lack_of_descriptors",
        64,
    ) {
        return;
    }
    let server = start(listening(94));
    let client = host(95);
    let address = server.local_addr().expect("an address");
    let events = server.host().subscribe(10);
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    // One for our end of the connection; the server has none for its own.
    files.pop();
    let stream = TcpStream::connect(address).expect("a connection");
    assert!(File::open("/dev/null").is_err());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let session = Session::dial(&client, stream, server.host().id());
            session.expect("a session").run()
        });
        drop(files);
        added(&events);
        server.shutdown();
    });
}
