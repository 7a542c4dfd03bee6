//! What the subprotocols of an end do: the twin of `bench_jobs.go`, line for line.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_std::handle::{Message, ReadError, Subprotocol};
use devp2p_std::protocol::Failure;
use devp2p_tests::geth::random;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::console::Answer;

/// Taken and counted.
pub(crate) const DROP: u32 = 0;
/// Sent back.
pub(crate) const ECHO: u32 = 1;
/// Answered by messages and bytes dropped since the last one.
pub(crate) const SYNC: u32 = 2;
/// Size, count, pattern: the receiver sends as many messages itself.
const DUPLEX: u32 = 3;

/// The largest payload that is made here.
const MAX_SIZE: usize = 1 << 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Do {
    Send,
    Duplex,
    Echo,
    /// Sends until the other jobs are done.
    Bulk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pattern {
    Random,
    Zero,
    /// Random bytes and zeros in turns of 32.
    Half,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Job {
    #[serde(default)]
    pub(crate) lane: usize,
    #[serde(rename = "do")]
    pub(crate) work: Do,
    size: usize,
    #[serde(default)]
    count: usize,
    /// After which an echo job ends early.
    seconds: Option<f64>,
    pattern: Pattern,
}

pub(crate) fn payload(size: usize, pattern: Pattern) -> Vec<u8> {
    let mut payload = match pattern {
        Pattern::Zero => vec![0; size],
        Pattern::Random | Pattern::Half => random(1, size),
    };
    if pattern == Pattern::Half {
        payload
            .chunks_mut(32)
            .skip(1)
            .step_by(2)
            .for_each(|chunk| chunk.fill(0));
    }
    payload
}

impl Job {
    pub(crate) fn run(&self, subprotocol: &mut Subprotocol, stop: &AtomicBool) -> Answer {
        let payload = payload(self.size.min(MAX_SIZE), self.pattern);
        match self.work {
            Do::Send => self.send(subprotocol, &payload, |sent| sent < self.count),
            Do::Bulk => self.send(subprotocol, &payload, |sent| {
                sent == 0 || !stop.load(Ordering::Relaxed)
            }),
            Do::Duplex => self.duplex(subprotocol, &payload),
            Do::Echo => self.echo(subprotocol, &payload),
        }
    }

    /// Sends while `more` says so, until the other end has taken everything.
    fn send(
        &self,
        subprotocol: &mut Subprotocol,
        payload: &[u8],
        more: impl Fn(usize) -> bool,
    ) -> Answer {
        let started = Instant::now();
        let mut sent = 0;
        while more(sent) {
            subprotocol.write(DROP, payload).map_err(text)?;
            sent += 1;
        }
        subprotocol.write(SYNC, &[]).map_err(text)?;
        let answer = subprotocol.read().map_err(text)?;
        let seconds = started.elapsed().as_secs_f64();
        self.check_taken(&answer, sent)?;
        Ok(json!({"seconds": seconds, "messages": sent}))
    }

    /// Checks that the other end took what was sent.
    fn check_taken(&self, answer: &Message, sent: usize) -> Result<(), String> {
        let (messages, bytes) = match answer.payload.as_chunks() {
            ([messages, bytes], []) if answer.code == SYNC => {
                (u64::from_be_bytes(*messages), u64::from_be_bytes(*bytes))
            }
            _ => return Err(format!("code {} in place of the answer", answer.code)),
        };
        if messages != sent as u64 || bytes != (sent * self.size) as u64 {
            return Err(format!(
                "{messages} messages of {bytes} bytes in all were taken, {sent} of {} each were sent",
                self.size
            ));
        }
        Ok(())
    }

    /// Sends and receives as many messages at once.
    fn duplex(&self, subprotocol: &mut Subprotocol, payload: &[u8]) -> Answer {
        let started = Instant::now();
        let mut order = (self.size as u64).to_be_bytes().to_vec();
        order.extend((self.count as u64).to_be_bytes());
        order.push(self.pattern as u8);
        subprotocol.write(DUPLEX, &order).map_err(text)?;
        let writer = subprotocol.writer();
        thread::scope(|scope| {
            let writing = scope.spawn(move || {
                (0..self.count).try_for_each(|_| writer.write(DROP, payload))?;
                writer.write(SYNC, &[])
            });
            let (mut received, mut synced) = (0, false);
            while received < self.count || !synced {
                let message = subprotocol.read().map_err(text)?;
                if message.code == SYNC {
                    self.check_taken(&message, self.count)?;
                    synced = true;
                } else {
                    received += 1;
                }
            }
            let seconds = started.elapsed().as_secs_f64();
            writing
                .join()
                .map_err(|_| "the writer panicked")?
                .map_err(text)?;
            Ok(json!({"seconds": seconds, "messages": 2 * self.count}))
        })
    }

    /// Measures round trips, one at a time.
    fn echo(&self, subprotocol: &mut Subprotocol, payload: &[u8]) -> Answer {
        let limit = self.seconds.map(Duration::from_secs_f64);
        let mut times = Vec::with_capacity(self.count);
        let began = Instant::now();
        for _ in 0..self.count {
            let started = Instant::now();
            if limit.is_some_and(|limit| started - began > limit) {
                break;
            }
            subprotocol.write(ECHO, payload).map_err(text)?;
            let (code, length) = subprotocol
                .read_with(|message| (message.code, message.payload.len()))
                .map_err(text)?;
            if code != ECHO || length != self.size {
                return Err("another message in place of the echo".to_owned());
            }
            times.push(started.elapsed());
        }
        percentiles(times)
    }
}

/// Median and 99th percentile, in microseconds.
pub(crate) fn percentiles(mut times: Vec<Duration>) -> Answer {
    let Some(last) = times.len().checked_sub(1) else {
        return Err("not one echo was asked for".to_owned());
    };
    times.sort_unstable();
    let at = |part: f64| times[(part * last as f64) as usize].as_nanos() as f64 / 1000.0;
    Ok(json!({"echoes": times.len(), "p50_us": at(0.50), "p99_us": at(0.99)}))
}

/// The end that others send to.
pub(crate) fn serve(subprotocol: &mut Subprotocol) -> Result<(), Failure> {
    let (mut messages, mut bytes) = (0u64, 0u64);
    loop {
        let message = match subprotocol.read() {
            Ok(message) => message,
            Err(ReadError::Closed(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match message.code {
            DROP => {
                messages += 1;
                bytes += message.payload.len() as u64;
            }
            ECHO => subprotocol.write(ECHO, &message.payload)?,
            SYNC => {
                let answer = [messages.to_be_bytes(), bytes.to_be_bytes()];
                (messages, bytes) = (0, 0);
                subprotocol.write(SYNC, answer.as_flattened())?;
            }
            DUPLEX => answer_duplex(subprotocol, &message.payload)?,
            code => return Err(breach(format!("bench/1 has no code {code}"))),
        }
    }
}

fn answer_duplex(subprotocol: &Subprotocol, order: &[u8]) -> Result<(), Failure> {
    let senseless = || breach("an order to send that makes no sense");
    let ([size, count], [pattern]) = order.as_chunks() else {
        return Err(senseless());
    };
    let size = u64::from_be_bytes(*size) as usize;
    let pattern = [Pattern::Random, Pattern::Zero, Pattern::Half]
        .into_iter()
        .find(|known| *known as u8 == *pattern);
    let (Some(pattern), true) = (pattern, size <= MAX_SIZE) else {
        return Err(senseless());
    };
    let count = u64::from_be_bytes(*count);
    let payload = payload(size, pattern);
    let writer = subprotocol.writer();
    thread::spawn(move || {
        // It fails if the session ends, and then nobody waits for it.
        let _ = (0..count).try_for_each(|_| writer.write(DROP, &payload));
    });
    Ok(())
}

fn breach(text: impl Into<String>) -> Failure {
    Failure::new(DisconnectReason::PROTOCOL_ERROR, text)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
