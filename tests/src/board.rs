//! An emulated board with a network card as a child process: QEMU runs it, its log comes line by line.
//!
//! Images and the log's decoder are built beforehand, which `tests/run qemu` does. Lines are kept until a test asks for them, in
//! order. When a test fails, everything that came is printed.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use devp2p_core::hello::NodeId;
use devp2p_std::enode::Enode;

use crate::geth::BOUND;
use crate::relay::Cable;

/// What QEMU's monitor says when it waits for a command.
const PROMPT: &str = "(qemu) ";

/// A board that QEMU emulates.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name: of its image, its machine in QEMU, and its folder.
    pub name: &'static str,
    target: &'static str,
    card: &'static str,
}

/// Cortex-M4 with a LAN9118.
pub const MPS2_AN386: Kind = Kind {
    name: "mps2-an386",
    target: "thumbv7em-none-eabihf",
    card: "lan9118",
};

/// Cortex-M3, 64 KB of RAM.
pub const LM3S6965EVB: Kind = Kind {
    name: "lm3s6965evb",
    target: "thumbv7m-none-eabi",
    card: "stellaris",
};

/// A booted board. Killed on drop.
pub struct Board {
    qemu: Child,
    decoder: Child,
    monitor: Mutex<TcpStream>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Lines that nobody asked for yet.
    waiting: VecDeque<String>,
    /// All lines, with QEMU's own.
    all: Vec<String>,
    ended: bool,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes lines until the stream ends.
    fn read(&self, stream: impl Read, is_log: bool) {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut state = self.lock();
            if is_log {
                state.all.push(line.clone());
                state.waiting.push_back(line);
            } else {
                state.all.push(format!("QEMU: {line}"));
            }
            drop(state);
            self.changed.notify_all();
        }
        if is_log {
            self.lock().ended = true;
            self.changed.notify_all();
        }
    }
}

impl Board {
    /// Boots a board in a network of its own, in which 10.0.2.2 is this host. The parameters are words as the README of
    /// `examples/qemu` has them.
    pub fn boot(kind: Kind, parameters: &str) -> Self {
        let mut network = format!("user,id=net,model={}", kind.card);
        let listen = parameters
            .split(' ')
            .find_map(|word| word.strip_prefix("listen="));
        if let Some(port) = listen {
            network += &format!(",hostfwd=tcp:127.0.0.1:0-10.0.2.15:{port}");
        }
        Self::start(kind, &network, parameters)
    }

    /// Boots a board that is plugged in to a cable. `number` is the last part of its hardware address.
    pub fn on_cable(kind: Kind, cable: &Cable, number: u8, parameters: &str) -> Self {
        let network = format!(
            "socket,id=net,model={},mac=52:54:00:12:34:{number:02x},connect={}",
            kind.card,
            cable.address()
        );
        Self::start(kind, &network, parameters)
    }

    fn start(kind: Kind, network: &str, parameters: &str) -> Self {
        let target = target_folder();
        let image = target.join(kind.target).join("release").join(kind.name);
        let decoder = target.join("debug/board-log");
        for needed in [&image, &decoder] {
            assert!(
                needed.exists(),
                "{} is not built. Build it: tests/run qemu",
                needed.display()
            );
        }
        let monitor = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = monitor.local_addr().expect("its address");
        let mut semihosting = format!("enable=on,target=native,arg={}", kind.name);
        for word in parameters.split(' ') {
            semihosting += &format!(",arg={word}");
        }
        let qemu = Command::new("qemu-system-arm")
            .args(["-M", kind.name, "-display", "none", "-serial", "null"])
            .args(["-nic", network, "-semihosting-config", &semihosting])
            .args(["-monitor", &format!("tcp:{address}")])
            .arg("-kernel")
            .arg(&image)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut qemu = qemu.unwrap_or_else(|error| {
            panic!(
                "qemu-system-arm does not run: {error}. Install it: apt-get install qemu-system-arm"
            )
        });
        let frames = qemu.stdout.take().expect("its output is piped");
        let messages = qemu.stderr.take().expect("its messages are piped");
        let decoder = Command::new(decoder)
            .arg(image)
            .stdin(Stdio::from(frames))
            .stdout(Stdio::piped())
            .spawn();
        let mut decoder = decoder.expect("the log's decoder runs");
        let lines = decoder.stdout.take().expect("its output is piped");
        let seen = Arc::new(Seen::default());
        for (stream, is_log) in [
            (Box::new(lines) as Box<dyn Read + Send>, true),
            (Box::new(messages), false),
        ] {
            let seen = Arc::clone(&seen);
            thread::spawn(move || seen.read(stream, is_log));
        }
        // QEMU connects before the board runs.
        let (sender, connected) = channel();
        thread::spawn(move || sender.send(monitor.accept()));
        let monitor = connected.recv_timeout(BOUND).map(Result::ok);
        let monitor = monitor.ok().flatten();
        let (monitor, _) = monitor.unwrap_or_else(|| {
            let _ = qemu.kill();
            panic!("QEMU does not start: {:?}", seen.lock().all)
        });
        let board = Self {
            qemu,
            decoder,
            monitor: Mutex::new(monitor),
            seen,
        };
        let mut monitor = board.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        monitor
            .set_read_timeout(Some(BOUND))
            .expect("a time that is not zero");
        said(&mut monitor, PROMPT);
        drop(monitor);
        board
    }

    /// The next line with `text` in it; those before it are passed over.
    pub fn line(&self, text: &str) -> String {
        self.line_within(text, BOUND)
    }

    /// As [`line`](Self::line), with a bound of its own.
    ///
    /// # Panics
    /// After `bound`, or when the board stops.
    pub fn line_within(&self, text: &str, bound: Duration) -> String {
        let find = |state: &mut State| {
            while let Some(line) = state.waiting.pop_front() {
                if line.contains(text) {
                    return Some(line);
                }
            }
            None
        };
        let mut found = None;
        let (state, _) = self
            .seen
            .changed
            .wait_timeout_while(self.seen.lock(), bound, |state| {
                found = find(state);
                found.is_none() && !state.ended
            })
            .unwrap_or_else(PoisonError::into_inner);
        let ended = state.ended;
        drop(state);
        found.unwrap_or_else(|| {
            let what = if ended { "it ended" } else { "nothing came" };
            panic!("the board: {what} where a line was waited for with {text:?} in it")
        })
    }

    /// How many lines so far have `text` in them, also those that were asked for.
    pub fn count(&self, text: &str) -> usize {
        let state = self.seen.lock();
        state.all.iter().filter(|line| line.contains(text)).count()
    }

    /// Who it is, and where it can be reached from this host.
    pub fn enode(&self) -> Enode {
        Enode::new(self.id(), SocketAddr::from(([127, 0, 0, 1], self.port())))
    }

    /// Who it says it is, in its next line about that.
    pub fn id(&self) -> NodeId {
        let line = self.line("this node is ");
        let digits = line.rsplit(' ').next().unwrap_or_default();
        let mut id = NodeId([0; 64]);
        assert_eq!(digits.len(), 2 * id.0.len(), "{line}");
        for (index, byte) in id.0.iter_mut().enumerate() {
            let pair = &digits[2 * index..2 * index + 2];
            *byte = u8::from_str_radix(pair, 16).expect("a hexadecimal identity");
        }
        id
    }

    /// The port of this host that leads to the board.
    fn port(&self) -> u16 {
        let shown = self.ask("info usernet");
        let forward = shown.lines().find(|line| line.contains("HOST_FORWARD"));
        // Protocol and state, a file descriptor, address and port here, address and port there, two queues.
        let port = forward.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
        port.unwrap_or_else(|| panic!("no port leads to the board: {shown}"))
    }

    /// Pulls the plug of its network cable.
    pub fn unplug(&self) {
        self.ask("set_link net off");
    }

    /// Plugs it in again.
    pub fn plug(&self) {
        self.ask("set_link net on");
    }

    /// Has QEMU's monitor do something, and returns what it says.
    fn ask(&self, command: &str) -> String {
        let mut monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(monitor, "{command}").expect("QEMU's monitor listens");
        // It echoes the command, answers, and prompts for the next one.
        said(&mut monitor, "\n");
        said(&mut monitor, PROMPT)
    }

    /// Waits until it has ended, and returns its exit status.
    pub fn exit(&mut self) -> Option<i32> {
        self.exit_within(BOUND)
    }

    /// As [`exit`](Self::exit), with a bound of its own.
    ///
    /// # Panics
    /// After `bound`: it hangs.
    pub fn exit_within(&mut self, bound: Duration) -> Option<i32> {
        let (state, _) = self
            .seen
            .changed
            .wait_timeout_while(self.seen.lock(), bound, |state| !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        let ended = state.ended;
        drop(state);
        assert!(ended, "the board has not ended after {} s", bound.as_secs());
        // Its output is closed, so this is near.
        self.qemu.wait().expect("its status").code()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the board's log:");
            for line in &self.seen.lock().all {
                eprintln!("{line}");
            }
        }
        for child in [&mut self.qemu, &mut self.decoder] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What QEMU's monitor says up to this end.
fn said(monitor: &mut TcpStream, end: &str) -> String {
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        let mut byte = [0];
        let read = monitor.read(&mut byte);
        assert_eq!(read.ok(), Some(1), "QEMU's monitor says no more");
        said.extend(byte);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// The words that have a board dial a node on this host.
pub fn dial(id: &NodeId, at: SocketAddr) -> String {
    format!("enode=enode://{id}@10.0.2.2:{}", at.port())
}

/// The folder in which everything is built: a test is TARGET/PROFILE/deps/NAME.
pub fn target_folder() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    let folder = test.ancestors().nth(3).map(Path::to_path_buf);
    folder.expect("the target folder")
}
