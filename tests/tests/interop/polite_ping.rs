//! Ping and Pong, by the real clock.
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use devp2p_core::config::Config;
use devp2p_core::time;
use devp2p_std::protocol::Protocol;
use devp2p_tests::geth::{Geth, is};
use serde_json::json;

use crate::local::{Dialler, both_ways, connect, dial, echo, host, host_with};

/// How long the sessions last: longer than go-ethereum waits for any message (30 s), so that a side whose Pings are not
/// answered is noticed.
const LASTING: Duration = Duration::from_secs(40);

both_ways!(a_session_lasts_by_pings_alone);

fn a_session_lasts_by_pings_alone(dialler: Dialler) {
    // With our Pings at their default interval; and with none, when only our answers to theirs keep the session up.
    let mut silent = Config::new();
    silent.ping_interval = time::Duration::from_secs(3600);
    let sessions = [Config::new(), silent].map(|config| {
        thread::spawn(move || {
            let (sender, pongs) = channel();
            let sender = Mutex::new(sender);
            let lasts = Protocol::new("echo", 1, 2, move |subprotocol| {
                // Neither a message nor the end may come.
                let nothing = subprotocol.read_timeout(LASTING)?.is_none();
                let sender = sender.lock().expect("no panic under the lock");
                sender.send((nothing, subprotocol.peer().pongs()))?;
                drop(sender);
                subprotocol.read()?;
                Ok(())
            });
            let lasts = lasts.expect("a valid name");
            let geth = Geth::peer(&json!({}));
            let host = host().config(config).protocol(lasts).build();
            let session = connect(dialler, &host.expect("a host"), &geth);
            let peer = session.peer();
            let (nothing, pongs) = pongs.recv_timeout(2 * LASTING).expect("it lasts");
            assert!(nothing, "a message came");
            assert_eq!(peer.close_reason(), None);
            assert_eq!(
                geth.take(is("peer_dropped")),
                Vec::<serde_json::Value>::new()
            );
            geth.quit();
            session.report();
            (pongs, peer.round_trip())
        })
    });
    let [pinging, silent] = sessions.map(|session| session.join().expect("no panic"));
    assert!(pinging.0 >= 2, "{} Pongs", pinging.0);
    assert!(pinging.1.is_some());
    assert_eq!(silent, (0, None));
}

/// On the wire: a Ping asked for here, its answer, and the answer to theirs.
#[test]
fn a_ping_is_answered_by_one_pong() {
    let geth = Geth::raw(&json!({}));
    let host = host_with([echo()]);
    geth.begin(json!({"cmd": "accept"}));
    let session = dial(&host, &geth);
    geth.ok(json!({"cmd": "session"}));
    let peer = session.peer();
    for pongs in 1..=3 {
        peer.ping();
        let ping = geth.ok(json!({"cmd": "read"}));
        assert_eq!((&ping["code"], &ping["hex"]), (&json!(2), &json!("c0")));
        geth.ok(json!({"cmd": "send", "code": 3, "hex": "c0"}));
        geth.ok(json!({"cmd": "send", "code": 2, "hex": "c0"}));
        let pong = geth.ok(json!({"cmd": "read"}));
        assert_eq!((&pong["code"], &pong["hex"]), (&json!(3), &json!("c0")));
        // Its Pong came before its Ping, which was answered.
        assert_eq!(peer.pongs(), pongs);
    }
    assert!(peer.round_trip().is_some());
    geth.ok(json!({"cmd": "close"}));
    session.report();
}
