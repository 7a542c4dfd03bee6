//! What the dialling end does on the session: `echo`, `bench` and `chat` at once, each in its own thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_std::handle::{ReadError, Subprotocol, Writer};
use devp2p_std::protocol::{self, Protocol};

use super::guest::Guest;
use crate::payload;
use crate::services::{self, bench, chat, discard, echo};

/// Echoes under way at a time.
const WINDOW: usize = 8;
/// Payload of each `bench` message.
pub(super) const BENCH_SIZE: usize = 1024;
/// `bench` messages between two waits for the other end.
const BATCH: u32 = 2_000;
/// The same while others use the session: each message then waits for one of theirs.
const SHARED_BATCH: u32 = 100;
/// Between two lines of `chat`.
pub(super) const LINE_INTERVAL: Duration = Duration::from_millis(100);

/// Payloads of `echo`, in bytes: nothing, both sides of every border on the wire, and a few MiB.
pub(super) const SIZES: [usize; 16] = [
    0, 1, 55, 56, 255, 256, 1_023, 1_024, 1_025, 16_384, 65_535, 65_536, 262_144, 1_000_000,
    1_048_576, 4_194_304,
];

/// How far one of the three is.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) messages: AtomicU64,
    pub(super) bytes: AtomicU64,
    times: Mutex<(Option<Instant>, Option<Instant>)>,
    failure: Mutex<Option<String>>,
    is_done: AtomicBool,
}

/// All work on one session.
pub(super) struct Work {
    /// How long `echo` goes on, and how long `bench` after it.
    pub(super) span: Duration,
    pub(super) alone: Duration,
    /// Lines of `chat` each way.
    pub(super) lines: u64,
    pub(super) echo: Lane,
    pub(super) bench: Lane,
    pub(super) chat: Lane,
    /// Round trips of `echo`, and those of `bench` beside it and alone.
    pub(super) echo_trips: Mutex<Vec<Duration>>,
    pub(super) shared_trips: Mutex<Vec<Duration>>,
    pub(super) alone_trips: Mutex<Vec<Duration>>,
    /// Messages of `bench` one way with the session to themselves, and their time.
    pub(super) alone_rate: Mutex<(u64, Duration)>,
    /// Lines heard, in order.
    pub(super) heard: Mutex<Vec<String>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Line `number` of the end that is called `who`.
pub(super) fn line(who: &str, number: u64) -> String {
    format!("line {number} of the {who}")
}

impl Lane {
    /// When it began and ended.
    pub(super) fn times(&self) -> Option<(Instant, Instant)> {
        let (began, ended) = *lock(&self.times);
        Some((began?, ended?))
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Acquire)
    }

    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    fn count(&self, messages: u64, bytes: usize) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Work {
    pub(super) fn new(span: Duration) -> Arc<Self> {
        Arc::new(Self {
            span,
            alone: span / 3,
            lines: (span.as_millis() / LINE_INTERVAL.as_millis()) as u64,
            echo: Lane::default(),
            bench: Lane::default(),
            chat: Lane::default(),
            echo_trips: Mutex::default(),
            shared_trips: Mutex::default(),
            alone_trips: Mutex::default(),
            alone_rate: Mutex::default(),
            heard: Mutex::default(),
        })
    }

    /// The three protocols whose run closures do the work, then stay until the session is closed. Whoever dials is a guest.
    pub(super) fn protocols(self: &Arc<Self>, guest: &Arc<Guest>) -> [Protocol; 3] {
        let lane =
            |of: fn(&Work) -> &Lane,
             work: fn(&Work, &mut Subprotocol) -> Result<(), protocol::Failure>| {
                let (all, guest) = (Arc::clone(self), Arc::clone(guest));
                move |subprotocol: &mut Subprotocol| {
                    if subprotocol.peer().is_inbound() {
                        return guest.serve(subprotocol);
                    }
                    let lane = of(&all);
                    lock(&lane.times).0 = Some(Instant::now());
                    let result = work(&all, subprotocol);
                    lock(&lane.times).1 = Some(Instant::now());
                    *lock(&lane.failure) = result.err().map(|error| error.to_string());
                    lane.is_done.store(true, Ordering::Release);
                    discard(subprotocol);
                    Ok(())
                }
            };
        [
            services::protocol(
                echo::NAME,
                echo::LENGTH,
                lane(|work| &work.echo, Self::run_echo),
            ),
            services::protocol(
                bench::NAME,
                bench::LENGTH,
                lane(|work| &work.bench, Self::run_bench),
            ),
            services::protocol(
                chat::NAME,
                chat::LENGTH,
                lane(|work| &work.chat, Self::run_chat),
            ),
        ]
    }

    pub(super) fn is_done(&self) -> bool {
        [&self.echo, &self.bench, &self.chat]
            .iter()
            .all(|lane| lane.is_done())
    }

    /// Several requests under way; each answer must be equal to its request, in order.
    fn run_echo(&self, subprotocol: &mut Subprotocol) -> Result<(), protocol::Failure> {
        let (sender, sent) = sync_channel::<Request>(WINDOW);
        let writer = subprotocol.writer();
        let until = Instant::now() + self.span;
        thread::scope(|scope| {
            let writing = scope.spawn(move || write_requests(&writer, &sender, until));
            let verified = self.verify_answers(subprotocol, sent.into_iter());
            writing
                .join()
                .unwrap_or_else(|_| Err(wrong("the writer panicked".to_owned())))?;
            verified
        })
    }

    fn verify_answers(
        &self,
        subprotocol: &mut Subprotocol,
        requests: impl Iterator<Item = Request>,
    ) -> Result<(), protocol::Failure> {
        for (number, request) in requests.enumerate() {
            let answer = subprotocol.read()?;
            let size = request.payload.len();
            if answer.code != echo::ANSWER || answer.payload != *request.payload {
                return Err(wrong(format!(
                    "payload {number} of {size} bytes came back changed"
                )));
            }
            lock(&self.echo_trips).push(answer.at.saturating_duration_since(request.at));
            self.echo.count(1, size);
        }
        Ok(())
    }

    /// Batches one way and single round trips by turns, while `echo` runs and some time after.
    fn run_bench(&self, subprotocol: &mut Subprotocol) -> Result<(), protocol::Failure> {
        let mut message = vec![0; BENCH_SIZE];
        payload::random(1, &mut message);
        while !self.echo.is_done() {
            self.batch(subprotocol, &message, SHARED_BATCH)?;
            self.round_trip(subprotocol, &message, &self.shared_trips)?;
        }
        let until = Instant::now() + self.alone;
        while Instant::now() < until {
            let took = self.batch(subprotocol, &message, BATCH)?;
            let mut rate = lock(&self.alone_rate);
            rate.0 += u64::from(BATCH);
            rate.1 += took;
            drop(rate);
            for _ in 0..50 {
                self.round_trip(subprotocol, &message, &self.alone_trips)?;
            }
        }
        Ok(())
    }

    fn batch(
        &self,
        subprotocol: &mut Subprotocol,
        message: &[u8],
        count: u32,
    ) -> Result<Duration, protocol::Failure> {
        let began = Instant::now();
        for _ in 0..count {
            subprotocol.write(bench::DROP, message)?;
            self.bench.count(1, message.len());
        }
        subprotocol.write(bench::SYNC, &[])?;
        expect(subprotocol, bench::SYNC, &[])?;
        Ok(began.elapsed())
    }

    fn round_trip(
        &self,
        subprotocol: &mut Subprotocol,
        message: &[u8],
        trips: &Mutex<Vec<Duration>>,
    ) -> Result<(), protocol::Failure> {
        let began = Instant::now();
        subprotocol.write(bench::ECHO, message)?;
        expect(subprotocol, bench::ECHO, message)?;
        lock(trips).push(began.elapsed());
        Ok(())
    }

    /// A line each interval, while those of the other end are gathered.
    fn run_chat(&self, subprotocol: &mut Subprotocol) -> Result<(), protocol::Failure> {
        let began = Instant::now();
        let late = began + self.span * 2 + Duration::from_secs(20);
        let mut said = 0;
        while said < self.lines || (lock(&self.heard).len() as u64) < self.lines {
            let due = began + LINE_INTERVAL * said as u32;
            let now = Instant::now();
            if said < self.lines && due <= now {
                subprotocol.write(chat::LINE, line("dialler", said).as_bytes())?;
                said += 1;
                self.chat.count(1, 0);
                continue;
            }
            if now > late {
                let heard = lock(&self.heard).len();
                return Err(wrong(format!("{heard} of {} lines came", self.lines)));
            }
            let wait = due.saturating_duration_since(now).max(LINE_INTERVAL / 10);
            if let Some(message) = subprotocol.read_timeout(wait.min(LINE_INTERVAL))? {
                let text = String::from_utf8_lossy(&message.payload).into_owned();
                lock(&self.heard).push(text);
            }
        }
        Ok(())
    }
}

/// A request of `echo` whose answer is to come.
struct Request {
    payload: Arc<Vec<u8>>,
    at: Instant,
}

/// Every size at least once, then on until the time is over.
fn write_requests(
    writer: &Writer,
    sender: &SyncSender<Request>,
    until: Instant,
) -> Result<(), protocol::Failure> {
    for (number, size) in (0..).zip(SIZES.iter().cycle()) {
        if number >= SIZES.len() as u64 && Instant::now() >= until {
            break;
        }
        let payload = Arc::new(payload::mixed(number, *size));
        let request = Request {
            payload: Arc::clone(&payload),
            at: Instant::now(),
        };
        if sender.send(request).is_err() {
            break;
        }
        writer.write(echo::REQUEST, &payload)?;
    }
    Ok(())
}

fn expect(
    subprotocol: &mut Subprotocol,
    code: u32,
    payload: &[u8],
) -> Result<(), protocol::Failure> {
    let is_right = subprotocol.read_with(|answer| answer.code == code && answer.payload == payload);
    match is_right {
        Ok(true) => Ok(()),
        Ok(false) => Err(wrong(format!(
            "another answer than code {code} and its payload"
        ))),
        Err(ReadError::Closed(reason)) => Err(reason.into()),
        Err(error) => Err(error.into()),
    }
}

fn wrong(text: String) -> protocol::Failure {
    protocol::Failure::new(DisconnectReason::SUBPROTOCOL_ERROR, text)
}
