//! The board: its program in QEMU, or the host form of it, from its start to its exit status.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use devp2p_std::enode::Enode;

use super::firmware::{self, Built, Firmware, HOST_FORM};
use super::guest::Guest;
use super::work::lock;
use crate::failure::Failure;
use crate::signals;

/// How long it may take, beyond holding its session.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// The boards that can dial, and their application on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Cortex-M4 with a LAN9118, in QEMU
    #[value(name = "mps2-an386")]
    Mps2An386,
    /// Cortex-M3 with 64 KB of RAM, in QEMU
    #[value(name = "lm3s6965evb")]
    Lm3s6965evb,
    /// Their application on this machine, without QEMU
    Host,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mps2An386 => "mps2-an386",
            Self::Lm3s6965evb => "lm3s6965evb",
            Self::Host => HOST_FORM,
        }
    }
}

/// A board that is ready to boot.
pub(super) struct Ready {
    /// Its name, or [`HOST_FORM`].
    pub(super) name: &'static str,
    /// Why it is the host form if a board was wanted: what is missing, and what installs it.
    pub(super) why: Option<String>,
    firmware: Firmware,
    hold: u64,
}

/// Builds what there can be: the board, else its host form, else nothing and why.
pub(super) fn prepare(
    kind: Kind,
    named: Option<&PathBuf>,
    enode: &Enode,
    hold: u64,
) -> Result<Result<Ready, String>, Failure> {
    let Some(folder) = firmware::folder(named.map(PathBuf::as_path))? else {
        return Ok(Err(
            "the boards are built from the source tree, which is not here: run the demo in it"
                .to_owned(),
        ));
    };
    let enode = enode.to_string();
    let mut why = None;
    for name in [kind.name(), HOST_FORM] {
        match firmware::build(&folder, name, &enode, hold)? {
            Built::Ready(firmware) => {
                return Ok(Ok(Ready {
                    name,
                    why,
                    firmware,
                    hold,
                }));
            }
            Built::Missing(what) => why = Some(what),
        }
    }
    Ok(Err(why.unwrap_or_default()))
}

impl Ready {
    /// What it is, for people.
    pub(super) fn form(&self) -> &'static str {
        match self.name {
            HOST_FORM => "the board's application on this machine (host form)",
            _ => "a board in QEMU",
        }
    }

    /// Boots it.
    pub(super) fn boot(self) -> Result<Board, Failure> {
        let failed = |error| Failure::system("the board cannot be started", error);
        let mut program = command(&self.firmware.program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (out, err) = (program.stdout.take(), program.stderr.take());
        let mut board = Board {
            name: self.name,
            why: self.why,
            began: Instant::now(),
            bound: RUN_TIMEOUT + Duration::from_secs(self.hold),
            program: Arc::new(Mutex::new(program)),
            decoder: None,
            log: Arc::default(),
            readers: Vec::new(),
            ended: None,
        };
        board.end_with_signals()?;
        if let Some(err) = err {
            board.read(err);
        }
        let Some(out) = out else { return Ok(board) };
        if self.firmware.decoder.is_empty() {
            board.read(out);
            return Ok(board);
        }
        let mut decoder = command(&self.firmware.decoder)
            .stdin(out)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let out = decoder.stdout.take();
        board.decoder = Some(decoder);
        if let Some(out) = out {
            board.read(out);
        }
        Ok(board)
    }
}

/// A board that runs, or has run. Dropping it ends it.
pub(super) struct Board {
    pub(super) name: &'static str,
    pub(super) why: Option<String>,
    began: Instant,
    bound: Duration,
    program: Arc<Mutex<Child>>,
    decoder: Option<Child>,
    log: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    ended: Option<End>,
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Status(ExitStatus),
    /// It was stopped after this time.
    Stopped(Duration),
}

impl Board {
    /// Whether it is still to be waited for; one that takes too long is stopped.
    pub(super) fn is_running(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let status = lock(&self.program).try_wait();
        self.ended = match status {
            Ok(Some(status)) => Some(End::Status(status)),
            Ok(None) if self.began.elapsed() < self.bound => None,
            // Whatever is wrong with waiting for it: it is not to stay.
            _ => Some(End::Stopped(self.bound)),
        };
        if self.ended.is_some() {
            self.kill();
            for reader in self.readers.drain(..) {
                // It has ended with the pipe.
                let _ = reader.join();
            }
        }
        self.ended.is_none()
    }

    /// Whether it is the application on this machine, and no board.
    pub(super) fn is_host_form(&self) -> bool {
        self.name == HOST_FORM
    }

    pub(super) fn end(&self) -> Option<End> {
        self.ended
    }

    /// What it has logged, by line.
    pub(super) fn log(&self) -> Vec<String> {
        lock(&self.log).clone()
    }

    /// What it does, in a word.
    pub(super) fn state(&self, guest: &Guest) -> String {
        match (self.ended, guest.peer()) {
            (Some(End::Status(status)), _) => match status.code() {
                Some(code) => format!("exited: {code}"),
                None => "killed".to_owned(),
            },
            (Some(End::Stopped(_)), _) => "stopped".to_owned(),
            (None, None) => "booting".to_owned(),
            (None, Some(peer)) if peer.close_reason().is_none() => "active".to_owned(),
            (None, Some(_)) => "ending".to_owned(),
        }
    }

    fn read(&mut self, from: impl Read + Send + 'static) {
        let log = Arc::clone(&self.log);
        self.readers.push(thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                log::debug!(target: "board", "{line}");
                lock(&log).push(line);
            }
        }));
    }

    /// A signal that ends this program ends the board too.
    fn end_with_signals(&self) -> Result<(), Failure> {
        let mut signals = signals::ending()?;
        let program = Arc::clone(&self.program);
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                let _ = lock(&program).kill();
                // As a shell tells of a program that a signal ended.
                std::process::exit(128 + signal);
            }
        });
        Ok(())
    }

    fn kill(&mut self) {
        // It has ended already unless something failed.
        let mut program = lock(&self.program);
        let _ = program.kill();
        let _ = program.wait();
        if let Some(decoder) = &mut self.decoder {
            // Its input has ended, so it reads the rest and ends.
            let _ = decoder.wait();
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(words: &[String]) -> Command {
    let mut words = words.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command.args(words);
    command
}
