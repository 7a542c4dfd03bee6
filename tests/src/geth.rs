//! The go-ethereum peer of `tests/interop/geth` as a child process: it is told what to do and tells what it saw.
//!
//! Its commands and events are described in that folder's README. Events are kept until a test asks for them, in the order in
//! which they came; what was asked for is taken out. When a test fails, everything that came is printed.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use devp2p_core::hello::NodeId;
use devp2p_std::enode::Enode;
use serde_json::{Value, json};

/// How long a test waits for what must happen, however busy the machine is.
pub const BOUND: Duration = Duration::from_secs(120);

/// Lines that are kept for a failure's report.
const KEPT_LINES: usize = 300;
/// Characters of such a line.
const KEPT_LENGTH: usize = 500;

/// A running go-ethereum peer. Killed on drop.
pub struct Geth {
    child: Child,
    input: Mutex<Option<ChildStdin>>,
    seen: Arc<Seen>,
    next_tag: AtomicU64,
    ready: Value,
}

/// What came from the process.
#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Events that nobody asked for yet.
    waiting: VecDeque<Value>,
    /// The latest lines in either direction, shortened.
    lines: VecDeque<String>,
    left_out: usize,
    ended: bool,
}

impl State {
    fn note(&mut self, direction: &str, line: &str) {
        if self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
            self.left_out += 1;
        }
        let short: String = line.chars().take(KEPT_LENGTH).collect();
        let cut = if short.len() < line.len() { "..." } else { "" };
        self.lines.push_back(format!("{direction} {short}{cut}"));
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes lines until the stream ends.
    fn read(&self, stream: impl Read, are_events: bool) {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut state = self.lock();
            state.note(if are_events { "<" } else { "!" }, &line);
            if are_events {
                state
                    .waiting
                    .push_back(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
            drop(state);
            self.changed.notify_all();
        }
        if are_events {
            self.lock().ended = true;
            self.changed.notify_all();
        }
    }

    fn print(&self) {
        let state = self.lock();
        eprintln!("--- what was said to the go-ethereum peer (>), its events (<) and its log (!):");
        if state.left_out > 0 {
            eprintln!("({} earlier lines)", state.left_out);
        }
        for line in &state.lines {
            eprintln!("{line}");
        }
        if state.ended {
            eprintln!("(it ended)");
        }
    }
}

impl Geth {
    /// A polite go-ethereum node with this configuration.
    pub fn peer(config: &Value) -> Self {
        Self::start("peer", config)
    }

    /// A peer that sends what a polite node never would.
    pub fn raw(config: &Value) -> Self {
        Self::start("raw", config)
    }

    /// Starts the program and waits until it is ready.
    fn start(mode: &str, config: &Value) -> Self {
        let mut child = Command::new(program())
            .arg(mode)
            .arg(config.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the go-ethereum peer starts");
        let seen = Arc::new(Seen::default());
        let output = child.stdout.take().expect("its output is piped");
        let log = child.stderr.take().expect("its log is piped");
        for (stream, are_events) in [
            (Box::new(output) as Box<dyn Read + Send>, true),
            (Box::new(log), false),
        ] {
            let seen = Arc::clone(&seen);
            thread::spawn(move || seen.read(stream, are_events));
        }
        let mut geth = Self {
            input: Mutex::new(child.stdin.take()),
            child,
            seen,
            next_tag: AtomicU64::new(1),
            ready: Value::Null,
        };
        geth.ready = geth.wait_for(is("ready"), BOUND);
        geth
    }

    /// Its identity.
    pub fn id(&self) -> NodeId {
        self.enode().id
    }

    /// The beginning of the name by which its events call a node: the hash of that node's identity.
    pub fn name_of(id: &NodeId) -> String {
        let hash = devp2p_core::rlpx::keccak256(&[&id.0]);
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Where it listens, and who it is.
    pub fn enode(&self) -> Enode {
        let url = self.ready["enode"].as_str().expect("an enode URL");
        url.parse().expect("an enode URL that parses")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        let listen = self.ready["listen"].as_str().expect("it listens");
        listen.parse().expect("an address")
    }

    /// Gives a command and waits until it is done, well or not.
    pub fn command(&self, command: Value) -> Value {
        let tag = self.begin(command);
        self.done(tag)
    }

    /// Gives a command and waits until it is done; it must succeed.
    pub fn ok(&self, command: Value) -> Value {
        let done = self.command(command.clone());
        if done["ok"] != true {
            self.fail(&format!("{command} failed: {done}"));
        }
        done
    }

    /// Gives a command and waits until it is done; it must fail.
    pub fn fails(&self, command: Value) -> Value {
        let done = self.command(command.clone());
        if done["ok"] != false {
            self.fail(&format!("{command} did not fail: {done}"));
        }
        done
    }

    /// Gives a command that the next ones need not wait for. Returns its tag for [`done`](Self::done).
    pub fn background(&self, mut command: Value) -> u64 {
        command["bg"] = json!(true);
        self.begin(command)
    }

    /// Gives a command and does not wait. Returns its tag for [`done`](Self::done).
    pub fn begin(&self, mut command: Value) -> u64 {
        let tag = self.next_tag.fetch_add(1, Ordering::Relaxed);
        command["tag"] = json!(tag);
        let line = command.to_string();
        self.seen.lock().note(">", &line);
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let written = input
            .as_mut()
            .map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        drop(input);
        if !matches!(written, Some(Ok(()))) {
            self.fail(&format!("it does not take {line}"));
        }
        tag
    }

    /// Waits until the command with this tag is done, well or not.
    pub fn done(&self, tag: u64) -> Value {
        self.wait_for(
            |event| event["event"] == "done" && event["tag"] == tag,
            BOUND,
        )
    }

    /// Waits for the event with this name.
    pub fn event(&self, name: &str) -> Value {
        self.wait_for(is(name), BOUND)
    }

    /// Waits for the first event that is so, and takes it out.
    ///
    /// # Panics
    /// After `bound`, or when the process ends.
    pub fn wait_for(&self, is_so: impl Fn(&Value) -> bool, bound: Duration) -> Value {
        let state = self.seen.lock();
        let (mut state, _) = self
            .seen
            .changed
            .wait_timeout_while(state, bound, |state| {
                !state.ended && !state.waiting.iter().any(&is_so)
            })
            .unwrap_or_else(PoisonError::into_inner);
        let found = state.waiting.iter().position(&is_so);
        let event = found.and_then(|index| state.waiting.remove(index));
        let ended = state.ended;
        drop(state);
        event.unwrap_or_else(|| {
            self.fail(if ended {
                "it ended before what was waited for"
            } else {
                "what was waited for did not come in time"
            })
        })
    }

    /// Takes out every event so far that is so.
    pub fn take(&self, is_so: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut state = self.seen.lock();
        let (taken, left) = state.waiting.drain(..).partition(is_so);
        state.waiting = left;
        Vec::from(taken)
    }

    /// Bytes of resident memory, once the process has read all commands before.
    pub fn resident(&self) -> u64 {
        let stats = self.ok(json!({"cmd": "stats"}));
        stats["rss_bytes"].as_u64().expect("a size")
    }

    /// Closes its input, which ends it in an orderly way, and waits for its last event.
    pub fn quit(&self) {
        drop(
            self.input
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        self.event("exit");
    }

    #[track_caller]
    fn fail(&self, why: &str) -> ! {
        // What it said is printed on drop.
        panic!("the go-ethereum peer: {why}")
    }
}

impl Drop for Geth {
    fn drop(&mut self) {
        if thread::panicking() {
            self.seen.print();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether an event has this name.
pub fn is(name: &str) -> impl Fn(&Value) -> bool + use<'_> {
    move |event| event["event"] == name
}

/// The program, built once for each test program.
///
/// # Panics
/// If it cannot be built.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/geth");
        let built = Command::new("go")
            .args(["build", "-o", "bin/geth-peer", "."])
            .current_dir(&folder)
            .output();
        match built {
            Ok(output) if output.status.success() => folder.join("bin/geth-peer"),
            Ok(output) => panic!(
                "the go-ethereum peer does not build (its go.mod says which Go it needs):\n{}",
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => panic!(
                "Go is needed to build the go-ethereum peer, and it does not run: {error}. Install it: apt-get install golang-go, or https://go.dev/dl"
            ),
        }
    })
}

// ---- Payloads and checksums, as the peer makes them ----

/// The generator of payloads: xorshift64*.
#[derive(Debug, Clone)]
pub struct Generator(u64);

impl Generator {
    /// The generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(if seed == 0 {
            0x9e37_79b9_7f4a_7c15
        } else {
            seed
        })
    }

    /// The next output.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// A payload of the pattern `random`.
pub fn random(seed: u64, size: usize) -> Vec<u8> {
    let mut generator = Generator::new(seed);
    let mut payload = Vec::with_capacity(size + 8);
    while payload.len() < size {
        payload.extend_from_slice(&generator.next_u64().to_le_bytes());
    }
    payload.truncate(size);
    payload
}

/// Message `n` of a stream with the pattern `numbered`.
pub fn numbered(seed: u64, n: u64, size: usize) -> Vec<u8> {
    let mut payload = random(seed.wrapping_add(n), size);
    let number = n.to_be_bytes();
    let length = size.min(number.len());
    payload[..length].copy_from_slice(&number[..length]);
    payload
}

/// The size of message `n` of a stream with sizes from `min` to `max`.
pub fn size_of(seed: u64, n: u64, min: usize, max: usize) -> usize {
    let x = Generator::new(!seed.wrapping_add(n)).next_u64();
    min + (x % (max as u64 - min as u64 + 1)) as usize
}

/// FNV-1a with 64 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fnv(u64);

impl Fnv {
    /// Of nothing yet.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Takes a message into a running digest: its code, its length, its payload.
    pub fn message(&mut self, code: u32, payload: &[u8]) {
        self.update(&u64::from(code).to_le_bytes());
        self.update(&(payload.len() as u64).to_le_bytes());
        self.update(payload);
    }

    /// As the peer writes it.
    pub fn hex(&self) -> String {
        format!("{:016x}", self.0)
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self::new()
    }
}

/// The checksum of one payload.
pub fn fnv(payload: &[u8]) -> String {
    let mut fnv = Fnv::new();
    fnv.update(payload);
    fnv.hex()
}
