//! `devp2p bench`: how fast messages go to a node that serves `bench/1`.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use clap::Args;
use devp2p_core::MAX_MESSAGE_LENGTH;
use devp2p_core::config::Config;
use devp2p_core::error::WriteError;
use devp2p_std::enode::Enode;
use devp2p_std::handle::{ReadError, Subprotocol};
use devp2p_std::host::Host;
use devp2p_std::session::Session;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::addr::parse_enode;
use crate::dial;
use crate::failure::Failure;
use crate::payload;
use crate::services::{self, bench};
use crate::show::{self, Output, duration, number, percentile, short_id};
use crate::text::plain;

/// Round trips measured, one at a time.
const ROUND_TRIPS: u32 = 1000;
/// Round trips of large messages stop after so long.
const ROUND_TRIP_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The enode URL of the node, as `devp2p listen` or go-ethereum prints it
    #[arg(value_parser = parse_enode)]
    enode: Enode,
    /// Payload of each message, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_MESSAGE_LENGTH)))]
    size: u32,
    /// Messages to send one way
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Send zeros, which Snappy compresses, instead of random bytes
    #[arg(long)]
    zero: bool,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
struct Measured {
    enode: String,
    size: u32,
    count: u32,
    zero: bool,
    seconds: f64,
    messages_per_second: f64,
    bytes_per_second: f64,
    wire_bytes: u64,
    rtt_count: usize,
    rtt_p50_us: u64,
    rtt_p99_us: u64,
}

/// What the run closure found.
struct Times {
    one_way: Duration,
    wire_bytes: u64,
    round_trips: Vec<Duration>,
}

/// The work of the run closure, and where it reports.
struct Job {
    size: u32,
    count: u32,
    zero: bool,
    bar: ProgressBar,
    done: Mutex<mpsc::Sender<Result<Times, Failure>>>,
}

pub(crate) fn run(args: &Bench, output: Output) -> Result<(), Failure> {
    let (sender, done) = mpsc::channel();
    let job = Arc::new(Job {
        size: args.size,
        count: args.count,
        zero: args.zero,
        bar: bar(args, output),
        done: Mutex::new(sender),
    });
    let mut config = Config::new();
    // Without bench/1 the session should live until it was said what the remote offers instead.
    config.require_shared = false;
    let host = Host::builder(crate::key::load(None)?)
        .config(config)
        .protocol({
            let job = Arc::clone(&job);
            services::protocol(bench::NAME, bench::LENGTH, move |subprotocol| {
                job.run(subprotocol);
                Ok(())
            })
        })
        .build()
        .map_err(|error| Failure::system("no host", error))?;
    let connected = dial::connect(&args.enode)?;
    let session = Session::dial(&host, connected.stream, args.enode.id)
        .map_err(|error| Failure::system("no session over this connection", error))?;
    let active = dial::open(session, &connected.seen)?;
    let peer = active.peer.clone();
    if peer.shared().is_empty() {
        active.close();
        return Err(Failure::new(
            "the remote does not serve bench/1",
            format!(
                "bench/1 among what it offers: {}",
                plain(&peer.capabilities().join(", "))
            ),
            "dial a node that serves it, such as `devp2p listen`",
        ));
    }
    let result = done.recv();
    job.bar.finish_and_clear();
    let ended = active.close();
    let Times {
        one_way,
        wire_bytes,
        mut round_trips,
    } = match result {
        Ok(result) => result?,
        Err(_) => return Err(Failure::session(ended)),
    };
    round_trips.sort_unstable();
    let seconds = one_way.as_secs_f64();
    let measured = Measured {
        enode: args.enode.to_string(),
        size: args.size,
        count: args.count,
        zero: args.zero,
        seconds,
        messages_per_second: f64::from(args.count) / seconds,
        bytes_per_second: f64::from(args.count) * f64::from(args.size) / seconds,
        wire_bytes,
        rtt_count: round_trips.len(),
        rtt_p50_us: percentile(&round_trips, 50).as_micros() as u64,
        rtt_p99_us: percentile(&round_trips, 99).as_micros() as u64,
    };
    if output.json {
        return output.object(&measured);
    }
    show(output, args, &measured)
}

fn show(output: Output, args: &Bench, measured: &Measured) -> Result<(), Failure> {
    let kind = if args.zero { "zeros" } else { "random bytes" };
    output.line(&format!(
        "bench of {} at {}:{}, messages of {} of {kind}",
        short_id(&args.enode.id),
        args.enode.host,
        args.enode.tcp,
        show::bytes(args.size.into()),
    ))?;
    output.line(&format!(
        "  one way     {} messages in {}: {} messages/s, {}",
        number(measured.count.into()),
        duration(Duration::from_secs_f64(measured.seconds)),
        number(measured.messages_per_second as u64),
        show::rate(measured.bytes_per_second),
    ))?;
    output.line(&format!(
        "  round trip  {} echoes: median {}, 99th percentile {}",
        number(measured.rtt_count as u64),
        duration(Duration::from_micros(measured.rtt_p50_us)),
        duration(Duration::from_micros(measured.rtt_p99_us)),
    ))
}

fn bar(args: &Bench, output: Output) -> ProgressBar {
    if !output.is_live() {
        return ProgressBar::hidden();
    }
    ProgressBar::new(args.count.into()).with_style(show::bar("{msg}"))
}

impl Job {
    fn run(&self, subprotocol: &mut Subprotocol) {
        let result = self.measure(subprotocol);
        let sender = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // The command waits for it, unless it gave up.
        let _ = sender.send(result);
    }

    fn show(&self, sent: u32, began: Instant) {
        if self.bar.is_hidden() {
            return;
        }
        let rate = f64::from(sent) / began.elapsed().as_secs_f64().max(1e-6);
        let (sent, count) = (u64::from(sent), u64::from(self.count));
        self.bar.set_position(sent);
        let text = [sent, count, rate as u64].map(number);
        self.bar
            .set_message(format!("{} of {}  {}/s", text[0], text[1], text[2]));
    }

    fn measure(&self, subprotocol: &mut Subprotocol) -> Result<Times, Failure> {
        let mut message = vec![0; self.size as usize];
        if !self.zero {
            payload::random(1, &mut message);
        }
        let began = Instant::now();
        for sent in 0..self.count {
            subprotocol.write(bench::DROP, &message).map_err(explain)?;
            if sent % 256 == 0 {
                self.show(sent, began);
            }
        }
        subprotocol.write(bench::SYNC, &[]).map_err(explain)?;
        answer(subprotocol, bench::SYNC, &[])?;
        let one_way = began.elapsed();
        let wire_bytes = subprotocol.writer().traffic().wire_bytes_out;

        let mut round_trips = Vec::new();
        let until = Instant::now() + ROUND_TRIP_TIME;
        while round_trips.len() < ROUND_TRIPS as usize && Instant::now() < until {
            let began = Instant::now();
            subprotocol.write(bench::ECHO, &message).map_err(explain)?;
            answer(subprotocol, bench::ECHO, &message)?;
            round_trips.push(began.elapsed());
        }
        Ok(Times {
            one_way,
            wire_bytes,
            round_trips,
        })
    }
}

pub(crate) fn explain(error: WriteError) -> Failure {
    match error {
        WriteError::Closed(reason) => Failure::session(reason),
        WriteError::TooLarge => Failure::new(
            "messages of this size do not fit a frame: random bytes grow a little by Snappy",
            "at most 16 777 215 bytes once compressed",
            "use a smaller --size, or --zero",
        ),
        error => Failure::new(error, "a write that succeeds", "run again with -v"),
    }
}

/// How long an answer may take: all messages before it have to arrive first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for the answer to the last message, which is this payload.
pub(crate) fn answer(
    subprotocol: &mut Subprotocol,
    code: u32,
    payload: &[u8],
) -> Result<(), Failure> {
    let length = payload.len();
    let expected = format!("an answer of bench/1 with code {code} and the {length} bytes sent");
    let advice = "dial a node that keeps the rules of bench/1, such as `devp2p listen`";
    match subprotocol.read_timeout(PATIENCE) {
        Ok(Some(found)) if (found.code, &found.payload[..]) == (code, payload) => Ok(()),
        Ok(None) => Err(Failure::new(
            format_args!("the remote has not answered for {} s", PATIENCE.as_secs()),
            expected,
            advice,
        )),
        Ok(Some(found)) => Err(Failure::new(
            format_args!(
                "the remote answered with code {} and {} bytes{}",
                found.code,
                found.payload.len(),
                if found.payload.len() == length {
                    ", which are other ones"
                } else {
                    ""
                }
            ),
            expected,
            advice,
        )),
        Err(ReadError::Closed(reason)) => Err(Failure::session(reason)),
        Err(error) => Err(Failure::new(error, expected, advice)),
    }
}
