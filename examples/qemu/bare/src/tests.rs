//! A board and its host end on one line, in virtual time.

use std::vec::Vec;

use devp2p_core::arena::RECORD_OVERHEAD;
use devp2p_core::capability::Protocol;
use devp2p_core::config::Local;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::framed::Event;
use devp2p_core::hello::NodeId;
use devp2p_core::lifecycle::State;
use devp2p_core::time::{Duration, Instant, PollAt};

use crate::line::{Line, line};
use crate::node::{News, Node, Status};
use crate::protocols::*;

const ECHO_INBOX: usize = 1024;
const LARGEST: usize = ECHO_INBOX - RECORD_OVERHEAD;
static BOARD: [Protocol; 2] = protocols(ECHO_INBOX);
static HOST: [Protocol; 2] = protocols(1 << 17);

fn local(id: u8, protocols: &'static [Protocol]) -> Local<'static> {
    Local {
        id: NodeId([id; 64]),
        client_name: "test",
        version: 4,
        listen_port: 0,
        protocols,
    }
}

fn leak(bytes: usize) -> &'static mut [u8] {
    Vec::leak(std::vec![0; bytes])
}

/// How often a step may happen at one instant before it is taken for a livelock.
const MAX_STEPS: usize = 100_000;
/// How often the clock may move before what is waited for happens.
const MAX_TURNS: usize = 1_000;

struct Bench {
    now: Instant,
    board: Node<'static>,
    host: Line<'static>,
    to_board: Vec<u8>,
    to_host: Vec<u8>,
    /// Bytes that the wire carries at a time.
    piece: usize,
    /// The wire is cut: what it takes does not arrive.
    cut: bool,
    board_news: Vec<News>,
    host_events: Vec<Event>,
    board_done: bool,
}

fn host(now: Instant) -> Line<'static> {
    let inboxes = leak(HOST.iter().map(|protocol| protocol.inbox).sum());
    line(local(2, &HOST), inboxes, leak(1 << 17), now).unwrap()
}

fn board(sessions: u32, now: Instant) -> Node<'static> {
    let inboxes = leak(ECHO_INBOX + SENSOR_INBOX);
    let line = line(local(1, &BOARD), inboxes, leak(320), now).unwrap();
    Node::new(line, sessions, now)
}

impl Bench {
    fn new(sessions: u32, piece: usize) -> Self {
        let now = Instant::ZERO;
        Self {
            now,
            board: board(sessions, now),
            host: host(now),
            to_board: Vec::new(),
            to_host: Vec::new(),
            piece,
            cut: false,
            board_news: Vec::new(),
            host_events: Vec::new(),
            board_done: false,
        }
    }

    /// One round of both drivers; true if anything happened.
    fn step(&mut self) -> bool {
        let mut any = false;
        let n = self.to_board.len().min(self.piece);
        let n = self
            .board
            .line()
            .handle_input(self.now, &mut self.to_board[..n]);
        self.to_board.drain(..n);
        any |= n > 0;
        loop {
            match self.board.poll(self.now) {
                Some(Some(news)) => self.board_news.push(news),
                Some(None) => break,
                None => {
                    self.board_done = true;
                    break;
                }
            }
            any = true;
        }
        let line = self.board.line();
        let n = line.output().len().min(self.piece);
        self.to_host
            .extend_from_slice(&line.output()[..if self.cut { 0 } else { n }]);
        line.consume_output(self.now, n);
        any |= n > 0;

        let n = self.to_host.len().min(self.piece);
        let n = self.host.handle_input(self.now, &mut self.to_host[..n]);
        self.to_host.drain(..n);
        any |= n > 0;
        while let Some(event) = self.host.poll(self.now) {
            self.host_events.push(event);
            any = true;
        }
        let n = self.host.output().len().min(self.piece);
        self.to_board
            .extend_from_slice(&self.host.output()[..if self.cut { 0 } else { n }]);
        self.host.consume_output(self.now, n);
        any | (n > 0)
    }

    fn settle(&mut self) {
        for _ in 0..MAX_STEPS {
            if !self.step() {
                return;
            }
        }
        panic!("livelock");
    }

    fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..MAX_TURNS {
            self.settle();
            if done(self) {
                return;
            }
            match self.board.poll_at().min(self.host.poll_at()) {
                PollAt::At(at) => self.now = at.max(self.now),
                PollAt::Now => {}
                PollAt::Idle => panic!("nothing is left to happen"),
            }
        }
        panic!("it does not happen");
    }

    fn activate(&mut self) {
        self.run_until(|bench| bench.host_events.contains(&Event::Active));
    }

    /// The cause on the board's and on the host's side.
    fn close(&mut self) -> (CloseReason, CloseReason) {
        self.run_until(|bench| bench.closed().is_some());
        let closed = self.closed().unwrap();
        self.board_news.clear();
        self.host_events.clear();
        closed
    }

    fn closed(&self) -> Option<(CloseReason, CloseReason)> {
        let board = self.board_news.iter().find_map(|news| match news {
            News::Closed(reason) => Some(*reason),
            _ => None,
        })?;
        let host = self.host_events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(*reason),
            _ => None,
        })?;
        Some((board, host))
    }

    fn write(&mut self, subprotocol: usize, code: devp2p_core::code::LocalCode, payload: &[u8]) {
        self.run_until(|bench| {
            match bench
                .host
                .try_write(bench.now, subprotocol, code, &[payload])
            {
                Ok(()) => true,
                Err(WriteError::WouldBlock { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        });
    }

    fn read(&mut self, subprotocol: usize, code: devp2p_core::code::LocalCode) -> Vec<u8> {
        for _ in 0..100 {
            self.run_until(|bench| bench.host.peek(subprotocol).is_some());
            let message = self.host.peek(subprotocol).unwrap();
            let found = (message.meta.code == code).then(|| message.payload.unwrap().to_vec());
            self.host.pop(subprotocol);
            if let Some(payload) = found {
                return payload;
            }
        }
        panic!("it does not come");
    }
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + length) as u8).collect()
}

#[test]
fn echoes_every_size_up_to_the_inbox_through_a_ring_that_is_smaller() {
    for piece in [1, 7, 4096] {
        let mut bench = Bench::new(1, piece);
        bench.activate();
        let step = if piece == 4096 { 1 } else { 97 };
        for length in (0..=LARGEST).step_by(step).chain([LARGEST]) {
            bench.write(ECHO, ECHO_REQUEST, &payload(length));
            assert_eq!(bench.read(ECHO, ECHO_REPLY), payload(length));
        }
    }
}

#[test]
fn many_messages_at_once_are_held_back_and_come_in_order() {
    let mut bench = Bench::new(1, 64);
    bench.activate();
    for length in 0..200 {
        bench.write(ECHO, ECHO_REQUEST, &payload(length));
    }
    for length in 0..200 {
        assert_eq!(bench.read(ECHO, ECHO_REPLY), payload(length));
    }
}

#[test]
fn what_is_too_large_is_reported_and_the_session_lives() {
    let mut bench = Bench::new(1, 4096);
    bench.activate();
    for length in [LARGEST + 1, 5_000, 65_535] {
        bench.write(ECHO, ECHO_REQUEST, &payload(length));
        assert_eq!(bench.read(SENSOR, OVERSIZE), (length as u32).to_le_bytes());
    }
    bench.write(ECHO, ECHO_REQUEST, &payload(9));
    assert_eq!(bench.read(ECHO, ECHO_REPLY), payload(9));
}

#[test]
fn readings_come_at_the_interval_that_was_set() {
    let mut bench = Bench::new(1, 4096);
    bench.activate();
    for number in 0..3 {
        let reading = Reading::decode(&bench.read(SENSOR, READING)).unwrap();
        assert_eq!(reading, Reading::take(number));
        assert_eq!(
            bench.now,
            Instant::from_micros(1_000_000 * u64::from(number))
        );
    }
    bench.write(SENSOR, SET_INTERVAL, &10_000_u32.to_le_bytes());
    bench.read(SENSOR, READING);
    let from = bench.now;
    bench.read(SENSOR, READING);
    assert_eq!(bench.now.saturating_since(from), Duration::from_secs(10));
}

#[test]
fn every_reason_is_sent_and_received() {
    let mut bench = Bench::new(1000, 4096);
    for reason in (0..=u8::MAX).map(DisconnectReason) {
        bench.activate();
        bench.host.disconnect(bench.now, reason);
        let (board, host) = bench.close();
        assert_eq!(board, CloseReason::RemoteRequested(Some(reason)));
        assert_eq!(host, CloseReason::Local(reason));
        bench.host.restart(bench.now);

        bench.activate();
        bench.write(SENSOR, LEAVE, &[reason.0]);
        let (board, host) = bench.close();
        assert_eq!(board, CloseReason::Local(reason));
        assert_eq!(host, CloseReason::RemoteRequested(Some(reason)));
        bench.host.restart(bench.now);
    }
    assert_eq!(bench.board.status(), Status::Success);
}

#[test]
fn the_last_session_ends_the_work_with_everything_said() {
    let mut bench = Bench::new(1, 3);
    bench.activate();
    bench.write(SENSOR, LEAVE, &[8]);
    let (_, host) = bench.close();
    assert_eq!(
        host,
        CloseReason::RemoteRequested(Some(DisconnectReason::CLIENT_QUITTING))
    );
    bench.run_until(|bench| bench.board_done);
}

#[test]
fn a_silent_session_lives_by_pings() {
    let mut bench = Bench::new(1, 4096);
    bench.activate();
    bench.write(SENSOR, SET_INTERVAL, &0_u32.to_le_bytes());
    let end = bench.now.saturating_add(Duration::from_secs(100));
    bench.run_until(|bench| bench.now >= end);
    assert!(bench.host.peer().pongs() >= 3);
    assert!(bench.board.line().peer().pongs() >= 3);
    assert_eq!(bench.host.peer().state(), State::Active);
}

#[test]
fn a_dead_line_ends_the_session_by_ping_timeout() {
    let mut bench = Bench::new(2, 4096);
    bench.activate();
    bench.write(SENSOR, SET_INTERVAL, &0_u32.to_le_bytes());
    bench.settle();
    bench.cut = true;
    let (board, host) = bench.close();
    assert_eq!(board, CloseReason::PingTimeout);
    assert_eq!(host, CloseReason::PingTimeout);
    bench.cut = false;
    bench.host.restart(bench.now);
    bench.activate();
    assert_eq!(bench.board.status(), Status::Failure);
}

#[test]
fn damage_ends_the_session_and_the_next_one_begins() {
    let mut bench = Bench::new(1000, 4096);
    // A frame to the board: 30 bytes of payload and what stands around it.
    for at in 0..43 {
        bench.activate();
        bench.write(SENSOR, SET_INTERVAL, &0_u32.to_le_bytes());
        bench.settle();
        bench
            .host
            .try_write(bench.now, ECHO, ECHO_REQUEST, &[&payload(30)])
            .unwrap();
        let mut bytes = bench.host.output().to_vec();
        bench.host.consume_output(bench.now, bytes.len());
        assert_eq!(bytes.len(), 43);
        bytes[at] ^= 0x10;
        bench.to_board.extend(bytes);
        let (board, host) = bench.close();
        assert_eq!(
            board,
            CloseReason::Transport(TransportError::BadMac),
            "{at}"
        );
        assert_eq!(
            host,
            CloseReason::Transport(TransportError::EndOfStream),
            "{at}"
        );
        bench.host.restart(bench.now);
    }
    bench.activate();
}

#[test]
fn either_end_can_start_anew_at_any_time() {
    let mut bench = Bench::new(1000, 16);
    for steps in 0..200 {
        // The host's program is killed and started again while a message is on its way.
        bench.activate();
        bench
            .host
            .try_write(bench.now, ECHO, ECHO_REQUEST, &[&payload(500)])
            .unwrap();
        for _ in 0..steps {
            bench.step();
        }
        if steps % 2 == 0 {
            bench.host = host(bench.now);
        } else {
            bench.board = board(1000, bench.now);
        }
        bench.host_events.clear();
        bench.run_until(|bench| {
            if matches!(bench.host_events.last(), Some(Event::Closed(_))) {
                bench.host.restart(bench.now);
                bench.host_events.clear();
            }
            bench.host_events.contains(&Event::Active)
        });
        bench.write(ECHO, ECHO_REQUEST, &payload(9));
        while bench.read(ECHO, ECHO_REPLY) != payload(9) {}
    }
}

#[test]
fn noise_before_the_first_frame_is_not_held_against_anyone() {
    let mut bench = Bench::new(1, 4096);
    bench.to_board.extend((0..=255).cycle().take(1000));
    bench.to_host.extend([0xa5; 100]);
    bench.activate();
    bench.write(ECHO, ECHO_REQUEST, &payload(9));
    assert_eq!(bench.read(ECHO, ECHO_REPLY), payload(9));
}
