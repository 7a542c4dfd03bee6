//! The watches: a message whole in time, an inbox that holds back only so long, a wire that takes our bytes in time.

use devp2p_core::config::Config;
use devp2p_core::inbox::Hold;
use devp2p_core::time::{Duration, Instant};
use devp2p_core::watch::{Late, ReceiveWatch, Received, TransmitWatch};

const CONFIG: Config = {
    let mut config = Config::new();
    config.message_timeout = Duration::from_micros(300);
    config.hold_back_limit = Duration::from_micros(150);
    config
};
const WRITE: Duration = Duration::from_micros(200);

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn received(messages: u32, partial: bool, held: Option<Hold>) -> Received {
    Received {
        messages,
        partial,
        held,
    }
}

const PIECE: Received = Received {
    messages: 0,
    partial: true,
    held: None,
};

/// `late` is what is found at `deadline`.
#[track_caller]
fn due(watch: &ReceiveWatch, deadline: u64, late: Late) {
    assert_eq!(watch.deadline(&CONFIG), at(deadline));
    assert_eq!(watch.late(), Some(late));
}

#[track_caller]
fn idle(watch: &ReceiveWatch) {
    assert_eq!(watch.deadline(&CONFIG), Instant::MAX);
    assert_eq!(watch.late(), None);
}

#[test]
fn a_message_is_timed_from_its_first_byte_whatever_else_comes_of_it() {
    let mut watch = ReceiveWatch::new();
    idle(&watch);
    assert_eq!(watch.update(at(10), PIECE), Some(true));
    for now in [11, 200, 309] {
        assert_eq!(watch.update(at(now), PIECE), None);
        due(&watch, 310, Late::Message);
    }
    assert_eq!(watch.update(at(309), received(1, false, None)), Some(false));
    idle(&watch);
}

#[test]
fn each_message_has_its_own_time() {
    let mut watch = ReceiveWatch::new();
    assert_eq!(watch.update(at(10), PIECE), Some(true));
    assert_eq!(
        watch.update(at(300), received(2, true, None)),
        None,
        "one ends, the next has begun"
    );
    due(&watch, 600, Late::Message);
}

#[test]
fn an_inbox_that_holds_back_is_timed_instead_of_the_message() {
    let mut watch = ReceiveWatch::new();
    let held = received(0, true, Some(Hold::Inbox(3)));
    assert_eq!(watch.update(at(10), held), Some(true));
    assert_eq!(watch.held(), Some(Hold::Inbox(3)));
    due(&watch, 160, Late::Held(Hold::Inbox(3)));
    assert_eq!(watch.update(at(100), held), None);
    due(&watch, 160, Late::Held(Hold::Inbox(3)));
}

#[test]
fn held_time_is_not_counted_against_the_message() {
    let mut watch = ReceiveWatch::new();
    watch.update(at(0), PIECE);
    watch.update(at(100), received(0, true, Some(Hold::Inbox(1))));
    due(&watch, 250, Late::Held(Hold::Inbox(1)));
    assert_eq!(
        watch.update(at(240), PIECE),
        None,
        "room was found, the rest has yet to come"
    );
    assert_eq!(watch.held(), None);
    due(&watch, 440, Late::Message);
    watch.update(at(400), received(0, true, Some(Hold::Inbox(1))));
    due(&watch, 550, Late::Held(Hold::Inbox(1)));
    watch.update(at(410), PIECE);
    due(&watch, 450, Late::Message);
}

#[test]
fn a_slow_reader_is_not_a_stalled_one() {
    let mut watch = ReceiveWatch::new();
    let next_held = received(1, true, Some(Hold::Inbox(2)));
    watch.update(at(0), received(0, true, Some(Hold::Inbox(2))));
    for now in [100, 200, 300, 400] {
        assert_eq!(watch.update(at(now), next_held), None);
        due(&watch, now + 150, Late::Held(Hold::Inbox(2)));
    }
    watch.update(at(500), received(1, true, Some(Hold::Inbox(0))));
    due(&watch, 650, Late::Held(Hold::Inbox(0)));
    assert_eq!(watch.update(at(501), received(1, false, None)), Some(false));
    idle(&watch);
}

#[test]
fn a_wait_for_memory_is_timed_apart_from_one_for_an_inbox() {
    let mut watch = ReceiveWatch::new();
    watch.update(at(0), received(0, true, Some(Hold::Inbox(1))));
    let starved = received(0, true, Some(Hold::Memory));
    assert_eq!(watch.update(at(100), starved), None);
    due(&watch, 250, Late::Held(Hold::Memory));
    watch.update(at(200), starved);
    due(&watch, 250, Late::Held(Hold::Memory));
    // The message began at 0, and was held back for 240.
    watch.update(at(240), PIECE);
    due(&watch, 540, Late::Message);
}

#[test]
fn a_reader_that_waited_for_the_wire_has_its_time_anew() {
    let mut watch = ReceiveWatch::new();
    watch.update(at(0), received(0, true, Some(Hold::Inbox(1))));
    watch.on_taken(at(149), &CONFIG);
    due(&watch, 150, Late::Held(Hold::Inbox(1)));
    watch.on_taken(at(150), &CONFIG);
    due(&watch, 300, Late::Held(Hold::Inbox(1)));
}

#[test]
fn at_the_far_end_of_time_the_watches_saturate() {
    let mut watch = ReceiveWatch::new();
    watch.update(at(u64::MAX - 2), PIECE);
    assert_eq!(watch.deadline(&CONFIG), Instant::MAX);
    watch.update(at(u64::MAX - 2), received(0, true, Some(Hold::Inbox(0))));
    assert_eq!(watch.deadline(&CONFIG), Instant::MAX);
    watch.update(Instant::MAX, PIECE);
    assert_eq!(watch.deadline(&CONFIG), Instant::MAX);

    let mut wire = TransmitWatch::new();
    wire.on_sealed(at(u64::MAX - 1), usize::MAX);
    wire.on_sealed(at(u64::MAX - 1), usize::MAX);
    assert_eq!(wire.pending(), u64::MAX);
    assert_eq!(wire.deadline(WRITE), Some(Instant::MAX));
}

#[test]
fn the_wire_has_its_time_for_what_was_sealed_when_the_mark_was_set() {
    let mut wire = TransmitWatch::new();
    assert_eq!(wire.deadline(WRITE), None);
    wire.on_sealed(at(10), 0);
    assert_eq!(wire.deadline(WRITE), None);
    wire.on_sealed(at(10), 100);
    assert_eq!(wire.deadline(WRITE), Some(at(210)));
    wire.on_sealed(at(50), 100);
    assert_eq!(
        wire.deadline(WRITE),
        Some(at(210)),
        "later bytes do not move the mark"
    );
    wire.on_taken(at(60), 0);
    wire.on_taken(at(60), 99);
    assert_eq!(
        wire.deadline(WRITE),
        Some(at(210)),
        "one byte before the mark still waits"
    );
    wire.on_taken(at(70), 1);
    assert_eq!(
        wire.deadline(WRITE),
        Some(at(270)),
        "the next mark, from when the last was passed"
    );
    assert_eq!(wire.pending(), 100);
    wire.on_taken(at(80), 100);
    assert_eq!((wire.deadline(WRITE), wire.pending()), (None, 0));
    wire.on_taken(at(80), 1);
    assert_eq!(wire.pending(), 0);
}

#[test]
fn a_wire_that_trickles_below_the_mark_is_too_late() {
    let mut wire = TransmitWatch::new();
    wire.on_sealed(at(0), 1_000);
    for now in 1..200 {
        wire.on_taken(at(now), 1);
        wire.on_sealed(at(now), 1);
        assert_eq!(wire.deadline(WRITE), Some(at(200)));
    }
}

#[test]
fn a_writer_that_stops_inside_its_frame_is_timed_from_the_last_byte_taken() {
    let mut wire = TransmitWatch::new();
    wire.set_inside_frame(true);
    assert_eq!(wire.deadline(WRITE), None, "not a byte of it is sealed");
    wire.on_sealed(at(0), 64);
    wire.on_taken(at(30), 64);
    assert_eq!(wire.pending(), 0);
    assert_eq!(wire.deadline(WRITE), Some(at(230)));
    wire.on_sealed(at(100), 16);
    assert_eq!(wire.deadline(WRITE), Some(at(300)));
    wire.set_inside_frame(false);
    assert_eq!(
        wire.deadline(WRITE),
        Some(at(300)),
        "its last bytes still wait"
    );
    wire.on_taken(at(110), 16);
    assert_eq!(wire.deadline(WRITE), None);
}

#[test]
fn a_frame_that_ends_with_nothing_waiting_leaves_nothing_to_watch() {
    let mut wire = TransmitWatch::new();
    wire.set_inside_frame(true);
    wire.on_sealed(at(0), 64);
    wire.on_taken(at(1), 64);
    wire.set_inside_frame(false);
    assert_eq!(wire.deadline(WRITE), None);
}
