//! Schedules of the blocking part, explored by shuttle: the code that ships, over a machine of one-byte messages.
//!
//! Waits never end by time here: what only a timeout would save is a deadlock.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::output::Output as _;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::busy_poll::BusyPoll;
use crate::connection::output::Lent;
use crate::transport::Source;

/// Sealed bytes that may wait, and messages that an inbox takes.
const OUTPUT_LIMIT: usize = 2;
const INBOX: usize = 2;

/// What the remote sends to be answered by [`PONG`], and what our end says last.
const PING: u8 = 0xf0;
const PONG: u8 = 0xf1;
const DISCONNECT: u8 = 0xf2;

const QUIT: CloseReason = CloseReason::Local(DisconnectReason::REQUESTED);

/// A message is a byte whose low bits are its subprotocol.
#[derive(Default)]
struct Model {
    inboxes: [VecDeque<u8>; 2],
    output: Output,
    spare: Option<Vec<u8>>,
    pongs: usize,
    closing: Option<CloseReason>,
    said: bool,
    half_closed: bool,
    ended: bool,
    told: bool,
    cut: bool,
}

impl Model {
    fn seal(&mut self, byte: u8) {
        let mut lent = Lent {
            output: &mut self.output,
            spare: &mut self.spare,
            limit: OUTPUT_LIMIT,
            expected: 0,
        };
        assert!(lent.push(&[byte]));
    }
}

impl super::Machine for Model {
    type Message = u8;
    type Payload<'a> = u8;

    fn close_reason(&self) -> Option<CloseReason> {
        self.closing
    }

    fn handle_input(&mut self, _: Instant, bytes: &mut [u8]) -> usize {
        let mut taken = 0;
        for &byte in bytes.iter() {
            if self.closing.is_some() || byte == PING {
                self.pongs += usize::from(byte == PING);
            } else {
                let inbox = &mut self.inboxes[usize::from(byte & 1)];
                if inbox.len() == INBOX {
                    break;
                }
                inbox.push_back(byte);
            }
            taken += 1;
        }
        taken
    }

    fn wants_input(&mut self) -> bool {
        self.closing.is_some() || self.inboxes.iter().all(|inbox| inbox.len() < INBOX)
    }

    fn is_held(&self) -> bool {
        self.closing.is_none() && self.inboxes.iter().any(|inbox| inbox.len() == INBOX)
    }

    fn waits_for_memory(&mut self) -> bool {
        true
    }

    fn handle_end(&mut self, _: Instant, error: TransportError) {
        self.closing.get_or_insert(CloseReason::Transport(error));
        self.ended = true;
    }

    fn poll(&mut self, _: Instant) -> Option<Event> {
        while self.pongs > 0 && self.output.len() < OUTPUT_LIMIT && self.closing.is_none() {
            self.pongs -= 1;
            self.seal(PONG);
        }
        let reason = self.closing?;
        if !std::mem::replace(&mut self.said, true) && !self.cut {
            self.seal(DISCONNECT);
        }
        if self.output.len() == 0 && !std::mem::replace(&mut self.half_closed, true) {
            return Some(Event::HalfClose);
        }
        if (self.ended || self.cut) && !std::mem::replace(&mut self.told, true) {
            self.output.clear();
            return Some(Event::Closed(reason));
        }
        None
    }

    fn poll_at(&mut self) -> PollAt {
        PollAt::Idle
    }

    fn close(&mut self, _: Instant, reason: CloseReason) {
        self.closing.get_or_insert(reason);
    }

    fn is_large(byte: u8) -> bool {
        byte & 2 != 0
    }

    fn write(
        &mut self,
        now: Instant,
        _: &mut PendingWrite,
        byte: u8,
        _: usize,
    ) -> Result<Progress, WriteError> {
        match self.try_write(now, 0, LocalCode(0), byte) {
            Ok(written) => Ok(Progress::Sealed(written)),
            Err(WriteError::WouldBlock { .. }) => Ok(Progress::Waits),
            Err(error) => Err(error),
        }
    }

    fn try_write(
        &mut self,
        _: Instant,
        _: usize,
        _: LocalCode,
        byte: u8,
    ) -> Result<Written, WriteError> {
        if let Some(reason) = self.closing {
            return Err(WriteError::Closed(reason));
        }
        if self.output.len() >= OUTPUT_LIMIT {
            return Err(WriteError::WouldBlock { free: 0 });
        }
        self.seal(byte);
        Ok(Written {
            length: 1,
            wire_length: 1,
        })
    }

    fn pass_token(&mut self) {}

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn on_taken(&mut self, _: Instant, bytes: usize) {
        self.output.consume(bytes);
    }

    fn cut_output(&mut self) {
        self.cut = true;
        self.output.clear();
    }

    fn is_cut(&self) -> bool {
        self.cut
    }

    fn has_message(&self, subprotocol: usize) -> bool {
        self.inboxes.get(subprotocol).is_some_and(|i| !i.is_empty())
    }

    fn pop(&mut self, subprotocol: usize) -> Option<u8> {
        self.inboxes.get_mut(subprotocol)?.pop_front()
    }
}

/// Time passes with each look at it. The timer is a thread of the model that calls at once, or when it comes to it.
#[derive(Default)]
struct Timer {
    micros: AtomicU64,
    set: Mutex<(Option<Instant>, bool)>,
    changed: Condvar,
}

struct ModelEnv(Arc<Timer>);

impl super::Env for ModelEnv {
    fn now(&self) -> Instant {
        Instant::from_micros(self.0.micros.fetch_add(7, Ordering::SeqCst))
    }

    fn set_timer(&self, at: Instant) {
        sync::lock(&self.0.set).0 = Some(at);
        self.0.changed.notify_one();
    }
}

type Session = Blocking<Model, ModelEnv>;

fn run_timer(timer: &Timer, session: &Session) {
    let mut set = sync::lock(&timer.set);
    loop {
        if let Some(at) = set.0.take() {
            drop(set);
            timer.micros.fetch_max(at.as_micros(), Ordering::SeqCst);
            session.on_timer(at);
            set = sync::lock(&timer.set);
        } else if set.1 {
            return;
        } else {
            set = sync::wait(&timer.changed, set, None);
        }
    }
}

/// One direction of a transport.
#[derive(Default)]
struct Pipe {
    state: Mutex<(VecDeque<u8>, bool)>,
    changed: Condvar,
}

impl Pipe {
    fn push(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = sync::lock(&self.state);
        if state.1 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        // A part of them, perhaps.
        let n = thread_rng().gen_range(1..=bytes.len());
        state.0.extend(&bytes[..n]);
        drop(state);
        self.changed.notify_all();
        Ok(n)
    }

    fn end(&self) {
        sync::lock(&self.state).1 = true;
        self.changed.notify_all();
    }

    /// What there is, or nothing at the end; `limited`, gives up if that takes long.
    fn pull(&self, buf: &mut [u8], limited: bool) -> io::Result<usize> {
        if limited {
            thread::yield_now();
        }
        let mut state = sync::lock(&self.state);
        while state.0.is_empty() && !state.1 {
            if limited {
                return Err(ErrorKind::WouldBlock.into());
            }
            state = sync::wait(&self.changed, state, None);
        }
        let n = buf.len().min(state.0.len());
        for (to, from) in buf.iter_mut().zip(state.0.drain(..n)) {
            *to = from;
        }
        Ok(n)
    }
}

/// Both directions, and whether our reads are limited.
#[derive(Clone, Default)]
struct Wire {
    inward: Arc<Pipe>,
    outward: Arc<Pipe>,
    limited: Arc<std::sync::atomic::AtomicBool>,
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let limited = self.limited.load(std::sync::atomic::Ordering::SeqCst);
        self.inward.pull(buf, limited)
    }
}

impl Source for Wire {
    fn try_read(&mut self, _: &mut [u8]) -> Option<io::Result<usize>> {
        None
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outward.push(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Closer for Wire {
    fn close_write(&self) {
        self.outward.end();
    }
    fn close(&self) {
        self.inward.end();
        self.outward.end();
    }
    fn limit_reads(&self, limit: Option<std::time::Duration>) -> bool {
        let limited = &self.limited;
        limited.store(limit.is_some(), std::sync::atomic::Ordering::SeqCst);
        true
    }
}

/// A live session, its timer, and the remote's end of its wire.
struct Rig {
    session: Arc<Session>,
    timer: Arc<Timer>,
    timing: thread::JoinHandle<()>,
    wire: Wire,
    /// The end was seen by a background thread.
    end: Arc<(Mutex<bool>, Condvar)>,
}

fn rig() -> Rig {
    let (wire, timer) = (Wire::default(), Arc::new(Timer::default()));
    let session = Blocking::new(
        ModelEnv(Arc::clone(&timer)),
        Model::default(),
        Box::new(wire.clone()),
        Arc::new(wire.clone()),
    );
    session.begin_reading(Box::new(ReadHalf::new(
        Box::new(wire.clone()),
        Arc::new(wire.clone()),
    )));
    let (of_thread, of_timer) = (Arc::clone(&session), Arc::clone(&timer));
    let timing = thread::spawn(move || run_timer(&of_timer, &of_thread));
    let end = Arc::new((Mutex::new(false), Condvar::new()));
    let seen = Arc::clone(&end);
    session.at_end(Box::new(move |over, _| {
        assert!(over.is_ok());
        *sync::lock(&seen.0) = true;
        seen.1.notify_one();
    }));
    // The thread that opened the session ends without work.
    session.lock().reader.runs = false;
    Rig {
        end,
        session,
        timer,
        timing,
        wire,
    }
}

impl Rig {
    fn spawn(&self, f: impl FnOnce(&Session) + Send + 'static) -> thread::JoinHandle<()> {
        let session = Arc::clone(&self.session);
        thread::spawn(move || f(&session))
    }

    /// Answers each message by itself and each Pong by nothing, until our end says that it ends.
    fn echo(&self) -> thread::JoinHandle<()> {
        let wire = self.wire.clone();
        thread::spawn(move || {
            let mut byte = [0];
            while matches!(wire.outward.pull(&mut byte, false), Ok(1)) {
                match byte[0] {
                    DISCONNECT => break,
                    PONG => {}
                    _ => while wire.inward.push(&byte).is_ok_and(|n| n == 0) {},
                }
            }
            wire.inward.end();
        })
    }

    /// Ends the session and everything in the model.
    fn finish(self, threads: Vec<thread::JoinHandle<()>>) {
        for thread in threads {
            thread.join().expect("no panic");
        }
        self.session.close(QUIT);
        assert_eq!(self.session.wait_closed(), QUIT);
        let mut seen = sync::lock(&self.end.0);
        while !*seen {
            seen = sync::wait(&self.end.1, seen, None);
        }
        drop(seen);
        self.session.join_writer();
        sync::lock(&self.timer.set).1 = true;
        self.timer.changed.notify_one();
        self.timing.join().expect("no panic");
    }
}

fn never() -> BusyPoll {
    BusyPoll::new(Duration::ZERO)
}

fn ask(session: &Session, subprotocol: usize, rounds: u8, writes: u8) {
    let mut poll = never();
    for round in 0..rounds {
        for n in 0..writes {
            let byte = (round * writes + n) << 1 | subprotocol as u8;
            let written = session.write(subprotocol, LocalCode(0), byte, None);
            assert!(written.is_ok());
        }
        for n in 0..writes {
            let byte = (round * writes + n) << 1 | subprotocol as u8;
            assert_eq!(session.next(subprotocol, None, &mut poll), Some(Ok(byte)));
        }
    }
}

/// Explores schedules at random, and by priorities that change a few times.
fn explore(name: &str, schedules: usize, model: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = shuttle::Config::new();
    // More would be a loop that gets nowhere.
    config.max_steps = shuttle::MaxSteps::FailAfter(10_000);
    let random = RandomScheduler::new(schedules);
    shuttle::Runner::new(random, config.clone()).run(model.clone());
    let by_priority = PctScheduler::new(3, schedules);
    shuttle::Runner::new(by_priority, config).run(model);
    println!("{name}: {} schedules, none stuck", 2 * schedules);
}

#[test]
fn every_answer_reaches_the_subprotocol_that_asked() {
    explore("two that ask", 4_000, || {
        let rig = rig();
        let echo = rig.echo();
        let asks = [0, 1].map(|i| rig.spawn(move |session| ask(session, i, 2, 1)));
        let session = Arc::clone(&rig.session);
        rig.finish(asks.into());
        drop(session);
        echo.join().expect("no panic");
    });
}

#[test]
fn one_that_writes_twice_before_it_reads_gets_both_answers() {
    explore("two that ask twice at a time", 3_000, || {
        let rig = rig();
        let echo = rig.echo();
        let asks = [0, 1].map(|i| rig.spawn(move |session| ask(session, i, 1, 2)));
        rig.finish(asks.into());
        echo.join().expect("no panic");
    });
}

#[test]
fn every_sealed_message_leaves_though_nobody_reads_or_flushes() {
    explore("two that write", 4_000, || {
        let rig = rig();
        let wire = rig.wire.clone();
        let remote = thread::spawn(move || {
            let (mut byte, mut sums) = ([0], [0; 2]);
            // Before anything else is said.
            for _ in 0..6 {
                assert_eq!(wire.outward.pull(&mut byte, false).ok(), Some(1));
                sums[usize::from(byte[0] & 1)] += 1;
            }
            assert_eq!(sums, [3, 3]);
            while matches!(wire.outward.pull(&mut byte, false), Ok(1)) {}
            wire.inward.end();
        });
        let writes = [0, 1].map(|i| {
            rig.spawn(move |session| {
                for n in 0..3 {
                    let written = match n {
                        2 => session.try_write(i, LocalCode(0), n << 1 | i as u8),
                        _ => session.write(i, LocalCode(0), n << 1 | i as u8, None),
                    };
                    if written.is_err() {
                        let byte = n << 1 | i as u8;
                        assert!(session.write(i, LocalCode(0), byte, None).is_ok());
                    }
                }
            })
        });
        for write in writes {
            write.join().expect("no panic");
        }
        // The session lives until the remote has all of it.
        rig.session.flush_all().expect("a live session");
        rig.finish(Vec::new());
        remote.join().expect("no panic");
    });
}

#[test]
fn a_ping_is_answered_whoever_waits_or_does_not() {
    for waits in [false, true] {
        explore("a Ping", 2_000, move || {
            let rig = rig();
            let wire = rig.wire.clone();
            let waiting = waits.then(|| {
                rig.spawn(|session| {
                    let mut poll = never();
                    assert_eq!(session.next(0, None, &mut poll), Some(Err(QUIT)));
                })
            });
            let mut byte = [0];
            for _ in 0..2 {
                assert_eq!(wire.inward.push(&[PING]).ok(), Some(1));
                assert_eq!(wire.outward.pull(&mut byte, false).ok(), Some(1));
                assert_eq!(byte, [PONG]);
            }
            let ends = thread::spawn(move || {
                while matches!(wire.outward.pull(&mut byte, false), Ok(1)) {}
                wire.inward.end();
            });
            rig.session.close(QUIT);
            rig.finish(waiting.into_iter().collect());
            ends.join().expect("no panic");
        });
    }
}

#[test]
fn the_end_reaches_everyone_at_any_moment() {
    explore("the end", 4_000, || {
        let rig = rig();
        let echo = rig.echo();
        let all = [0, 1].map(|i| {
            rig.spawn(move |session| {
                let mut poll = never();
                for n in 0..2 {
                    let byte = n << 1 | i as u8;
                    if session.write(i, LocalCode(0), byte, None).is_err() {
                        return;
                    }
                    match session.next(i, None, &mut poll) {
                        Some(Ok(got)) => assert_eq!(got, byte),
                        end => return assert_eq!(end, Some(Err(QUIT))),
                    }
                }
            })
        });
        let closes = rig.spawn(|session| session.close(QUIT));
        let threads = all.into_iter().chain([closes]).collect();
        rig.finish(threads);
        echo.join().expect("no panic");
    });
}

#[test]
fn what_waits_behind_a_full_inbox_goes_on_when_it_is_read() {
    explore("a full inbox", 3_000, || {
        let rig = rig();
        let wire = rig.wire.clone();
        let remote = thread::spawn(move || {
            // Four for the first subprotocol, of which two fit, then one for the second.
            for byte in [0, 2, 4, 6, 1] {
                assert!(wire.inward.push(&[byte]).is_ok());
            }
            let mut byte = [0];
            while matches!(wire.outward.pull(&mut byte, false), Ok(1)) {}
            wire.inward.end();
        });
        let reads = [4, 1].map(|count| {
            rig.spawn(move |session| {
                let (index, mut poll) = (usize::from(count == 1), never());
                for n in 0..count {
                    let byte = n << 1 | index as u8;
                    assert_eq!(session.next(index, None, &mut poll), Some(Ok(byte)));
                }
            })
        });
        rig.finish(reads.into());
        remote.join().expect("no panic");
    });
}
