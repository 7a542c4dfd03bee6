//! Transports that break and remotes that misuse them: sessions end, threads end, memory stays bounded.
use std::fs;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use devp2p_core::capability::Protocol as CoreProtocol;
use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::CloseReason;
use devp2p_core::peer::BaseMessage;
use devp2p_std::protocol::Protocol;

use crate::session_raw::Raw;
use crate::session_rig::*;

/// Writes and reads until the session ends; one message is answered by one.
fn chatter(name: &str) -> Protocol {
    Protocol::new(name, 1, 2, |s| {
        for size in (0..).map(|i: usize| (i * 811) % 20_000) {
            s.write(0, &noise(size))?;
            let _ = s.read()?;
        }
        Ok(())
    })
    .expect("a valid name")
}

#[test]
fn a_transport_cut_anywhere_ends_both_sessions_and_all_their_threads() {
    // From inside auth to well into the traffic; each length shifts the cut within a frame.
    let cuts = (0..25).map(|i| i * 37).chain((1..60).map(|i| i * i * 331));
    for cut in cuts {
        let hosts = [host(1, vec![chatter("cut")]), host(2, vec![chatter("cut")])];
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let gate = Gate::default();
        gate.cut_at(cut);
        let dialled = dial(&hosts[0], Gated(ours, gate), &hosts[1]);
        let accepted = accept(&hosts[1], theirs);
        for report in [dialled.report(), accepted.report()] {
            assert!(report.stuck.is_empty(), "cut at {cut}: {report:?}");
            // Whoever notices late may have been told by the other that a closure failed to read.
            let reason = report.reason;
            assert!(
                matches!(reason, CloseReason::Transport(_)),
                "cut at {cut}: {reason}"
            );
        }
    }
    if let Ok(tasks) = fs::read_dir("/proc/self/task") {
        for task in tasks.flatten() {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            assert!(!name.starts_with("devp2p cut"), "{name}");
        }
    }
}

#[test]
fn a_flood_of_pings_that_nobody_reads_the_answers_of_is_bounded() {
    const PINGS: usize = 60_000;
    let (protocol, control) = controlled("test", 1, 8);
    let host = host(2, vec![protocol]);
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let gate = Gate::default();
    let running = accept(&host, Gated(theirs, gate.clone()));
    let mut raw = Raw::dial(ours, 1, host.id());
    raw.greet(&[CoreProtocol::new("test", 1, 8, 0).expect("a name")]);

    // A subprotocol stands in the write, so that the thread that answers finds the transport taken.
    gate.shut();
    let writer = control.run(|s| s.writer());
    let (done, written) = channel();
    thread::spawn(move || done.send(writer.write(0, b"stands in the way")));
    gate.wait_until_stopped();
    for _ in 0..PINGS {
        let ping = raw.ping_frame();
        std::io::Write::write_all(&mut raw.stream, &ping).expect("it reads on");
    }
    // A message after them is read: the session lives.
    raw.send(16 + 3, &[1, 0, 7]);
    let message = control.run(|s| s.read()).expect("a message");
    assert_eq!((message.code, message.payload), (3, vec![7]));

    gate.open();
    written
        .recv_timeout(HANG)
        .expect("no hang")
        .expect("a write");
    control.run(|s| s.disconnect(R::REQUESTED));
    let mut pongs = 0;
    loop {
        match raw
            .receive_base()
            .unwrap_or_else(|| panic!("no Disconnect after {pongs} Pongs: {:?}", running.stopper))
        {
            BaseMessage::Pong => pongs += 1,
            BaseMessage::Disconnect(reason) => break assert_eq!(reason, Some(R::REQUESTED)),
            BaseMessage::Ping => {}
        }
    }
    // The output takes 1 MiB of Pongs, 64 bytes each, and the wire some more while we read.
    assert!((1..20_000).contains(&pongs), "{pongs}");
    drop(raw);
    running.report();
}

#[test]
fn a_ping_asked_for_is_answered_and_measured() {
    let two = two();
    let peer = two.controls[0].run(|s| s.peer().clone());
    assert_eq!((peer.pongs(), peer.round_trip()), (0, None));
    peer.ping();
    let began = Instant::now();
    while peer.pongs() == 0 {
        assert!(began.elapsed() < HANG, "no Pong");
        thread::yield_now();
    }
    assert!(peer.round_trip().is_some());
    two.finish();
}
