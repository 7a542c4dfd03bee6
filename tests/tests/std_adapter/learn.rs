//! A session whose Hello waits for the remote's, to offer what it finds there.
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::rlpx::NodeKey;
use devp2p_std::host::{Host, MAX_PROTOCOLS};
use devp2p_std::protocol::Protocol;
use devp2p_std::session::Session;

fn host(seed: u8, protocols: Vec<Protocol>) -> Arc<Host> {
    let key = NodeKey::new(&[seed; 32]).expect("a valid secret");
    let builder = Host::builder(key);
    let builder = protocols
        .into_iter()
        .fold(builder, |builder, protocol| builder.protocol(protocol));
    builder.build().expect("a host")
}

fn protocol(name: &str, version: u32, asks: bool) -> Protocol {
    Protocol::new(name, version, 2, move |subprotocol| {
        if asks {
            subprotocol.write(0, b"learned")?;
            assert_eq!(subprotocol.read()?.payload, b"learned");
            return Ok(());
        }
        loop {
            let message = subprotocol.read()?;
            subprotocol.write(1, &message.payload)?;
        }
    })
    .expect("a valid name")
}

#[test]
fn a_session_offers_what_it_saw_in_the_remotes_hello() {
    let server = host(1, vec![protocol("echo", 1, false)]);
    let client = host(2, vec![]);
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let id = server.id();
    let serving = thread::spawn(move || Session::accept(&server, theirs).expect("a session").run());
    let (sender, seen) = mpsc::channel();
    let report = Session::dial(&client, ours, id)
        .expect("a session")
        .learn(move |hello| {
            let capabilities = hello
                .capabilities()
                .map(|c| (c.name.to_vec(), c.version))
                .collect::<Vec<_>>();
            let _ = sender.send(capabilities);
            vec![protocol("echo", 1, true)]
        })
        .run();
    assert_eq!(seen.recv(), Ok(vec![(b"echo".to_vec(), 1)]));
    assert_eq!(
        report.reason,
        CloseReason::ProtocolReturned { subprotocol: 0 }
    );
    let other = serving.join().expect("no panic");
    assert_eq!(
        other.reason,
        CloseReason::RemoteRequested(Some(DisconnectReason::CLIENT_QUITTING))
    );
}

#[test]
fn two_that_wait_for_each_other_go_on_with_what_their_hosts_register() {
    let server = host(1, vec![protocol("echo", 1, false)]);
    let client = host(2, vec![protocol("echo", 1, true)]);
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let id = server.id();
    let serving = thread::spawn(move || {
        let session = Session::accept(&server, theirs).expect("a session");
        session.learn(|_| vec![]).run()
    });
    let session = Session::dial(&client, ours, id).expect("a session");
    let report = session.learn(|_| vec![]).run();
    assert_eq!(
        report.reason,
        CloseReason::ProtocolReturned { subprotocol: 0 }
    );
    assert!(serving.join().expect("no panic").was_active);
}

#[test]
fn a_learned_list_is_cut_to_what_a_host_can_offer_and_repeats_nothing() {
    let names: Vec<_> = (0..=MAX_PROTOCOLS).map(|i| format!("p{i:02}")).collect();
    let all = |names: &[String]| -> Vec<_> {
        let twice = names.iter().chain(names);
        twice.map(|name| protocol(name, 1, false)).collect()
    };
    // The remote offers all that are left after the cut, and one that is not.
    let server = host(
        1,
        names[1..]
            .iter()
            .map(|name| protocol(name, 1, false))
            .collect(),
    );
    let client = host(2, vec![]);
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let id = server.id();
    let serving = thread::spawn(move || Session::accept(&server, theirs).expect("a session").run());
    let (sender, shared) = mpsc::channel();
    let session = Session::dial(&client, ours, id).expect("a session");
    let report = session.learn(move |_| all(&names)).run_with(move |c| {
        if let Some(peer) = &c.peer {
            let _ = sender.send(peer.shared().len());
            peer.disconnect(DisconnectReason::REQUESTED);
        }
        Ok(())
    });
    assert_eq!(
        report.reason,
        CloseReason::Local(DisconnectReason::REQUESTED)
    );
    assert_eq!(shared.recv(), Ok(MAX_PROTOCOLS - 1));
    assert!(serving.join().is_ok());
}

#[test]
fn a_remote_that_is_not_admitted_is_told_so_though_our_hello_waits() {
    let server = host(1, vec![]);
    let client = host(2, vec![protocol("echo", 1, true)]);
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let id = server.id();
    let serving = thread::spawn(move || {
        let session = Session::accept(&server, theirs).expect("a session");
        session
            .learn(|_| vec![])
            .run_with(|_| Err(DisconnectReason::TOO_MANY_PEERS))
    });
    let report = Session::dial(&client, ours, id).expect("a session").run();
    assert_eq!(
        report.reason,
        CloseReason::RemoteRequested(Some(DisconnectReason::TOO_MANY_PEERS))
    );
    assert_eq!(
        serving.join().expect("no panic").reason,
        CloseReason::Rejected(DisconnectReason::TOO_MANY_PEERS)
    );
}
