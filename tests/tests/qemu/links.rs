//! Connections that break, and remotes that go away and come back.
use devp2p_tests::board::{Board, Kind, dial};
use devp2p_tests::geth::Geth;
use devp2p_tests::relay::Relay;
use serde_json::json;

use crate::boards::{both_boards, echoes, ended, geth, services, succeeds, told};

both_boards!(
    a_broken_connection_is_followed_by_a_new_one,
    a_connection_that_falls_silent_is_noticed_by_its_pings,
    a_cable_is_pulled_and_plugged_in_again,
    the_remote_is_killed_and_started_again,
);

fn a_broken_connection_is_followed_by_a_new_one(kind: Kind) {
    let geth = geth();
    let relay = Relay::to(geth.address());
    let words = dial(&geth.id(), relay.address());
    let board = Board::boot(kind, &format!("{words} until=08 ping=5 retries=2"));
    echoes(&board);
    relay.cut();
    ended(&board, "Transport(EndOfStream)");
    echoes(&board);
    // With the board's next Ping.
    relay.reset();
    ended(&board, "Transport(Io)");
    echoes(&board);
    geth.quit();
    ended(&board, &told(0x08));
    succeeds(board);
}

fn a_connection_that_falls_silent_is_noticed_by_its_pings(kind: Kind) {
    let geth = geth();
    let relay = Relay::to(geth.address());
    let words = dial(&geth.id(), relay.address());
    let board = Board::boot(kind, &format!("{words} until=08 ping=5 retries=2"));
    for _ in 0..2 {
        echoes(&board);
        relay.silence();
        ended(&board, "PingTimeout");
        geth.event("peer_dropped");
    }
    echoes(&board);
    geth.quit();
    ended(&board, &told(0x08));
    succeeds(board);
}

fn a_cable_is_pulled_and_plugged_in_again(kind: Kind) {
    let geth = geth();
    let words = dial(&geth.id(), geth.address());
    let board = Board::boot(kind, &format!("{words} until=08 ping=5 retries=30"));
    echoes(&board);
    board.unplug();
    ended(&board, "PingTimeout");
    board.line("no connection: no answer");
    board.plug();
    // Until it notices, the remote may still take the first session for a live one, and refuse the next.
    echoes(&board);
    geth.quit();
    ended(&board, &told(0x08));
    succeeds(board);
}

fn the_remote_is_killed_and_started_again(kind: Kind) {
    let secret = "51".repeat(32);
    let first = Geth::peer(&json!({"key": secret, "protocols": services()}));
    let address = first.address();
    let words = dial(&first.id(), address);
    let board = Board::boot(kind, &format!("{words} until=08 retries=30"));
    echoes(&board);
    // By a signal that it cannot handle.
    drop(first);
    ended(&board, "Transport(");
    board.line("no connection: ");
    let config = json!({"key": secret, "listen": address.to_string(), "protocols": services()});
    let second = Geth::peer(&config);
    echoes(&board);
    second.quit();
    ended(&board, &told(0x08));
    succeeds(board);
}
