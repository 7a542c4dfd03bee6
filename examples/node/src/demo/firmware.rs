//! Builds the board's program by `examples/qemu/run`, which knows how each board is booted and what it needs.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// The script's status where something is not installed.
const NOT_INSTALLED: i32 = 69;
/// How long a build may take, another one before it included.
const BUILD_TIMEOUT: Duration = Duration::from_secs(900);
/// How long the script has to end its build, once it is told to.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is asked whether it has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// What is run where a board cannot be: its application, on this machine.
pub(super) const HOST_FORM: &str = "host";

/// A program that is ready to run: its words, and those of the program that reads its log.
#[derive(Debug, Clone)]
pub(super) struct Firmware {
    pub(super) program: Vec<String>,
    pub(super) decoder: Vec<String>,
}

/// What came of a build.
pub(super) enum Built {
    Ready(Firmware),
    /// Something is not installed: what, and what installs it.
    Missing(String),
}

/// Where the boards are: as it was named, or above the working folder, or where this program was built.
pub(super) fn folder(named: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let has_boards = |folder: &Path| folder.join("run").is_file();
    if let Some(named) = named {
        return match has_boards(named) {
            true => Ok(Some(named.to_owned())),
            false => Err(Failure::new(
                format_args!("the boards are not in {}", named.display()),
                "the folder with their script, `run`",
                "name examples/qemu of the repository with --board-dir, or leave the board out with --no-board",
            )),
        };
    }
    let here = std::env::current_dir().unwrap_or_default();
    let above = here
        .ancestors()
        .map(|folder| folder.join("examples").join("qemu"));
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("qemu");
    Ok(above.chain([built]).find(|folder| has_boards(folder)))
}

/// Builds `board` so that it will dial `enode` and hold its session for so many seconds.
pub(super) fn build(folder: &Path, board: &str, enode: &str, hold: u64) -> Result<Built, Failure> {
    let mut command = Command::new(folder.join("run"));
    command
        .args([board, "--print", "--enode", enode])
        .arg(format!("hold={hold}"))
        // The log is read here.
        .env("DEFMT_LOG", "info");
    let (status, out, err) = match bounded(&mut command) {
        Ok(ended) => ended,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Built::Missing(
                "bash is missing; this installs it: sudo apt-get install -y bash".to_owned(),
            ));
        }
        Err(error) => return Err(not_built(board, &error.to_string())),
    };
    let last = err.lines().last().unwrap_or_default();
    match status.code() {
        Some(0) => {}
        Some(NOT_INSTALLED) => {
            let what = last.strip_prefix("run: ").unwrap_or(last);
            return Ok(Built::Missing(what.to_owned()));
        }
        _ => return Err(not_built(board, err.trim())),
    }
    let (program, decoder) = out.split_once("\n\n").unwrap_or((&out, ""));
    let words = |text: &str| text.lines().map(str::to_owned).collect();
    Ok(Built::Ready(Firmware {
        program: words(program),
        decoder: words(decoder),
    }))
}

fn not_built(board: &str, why: &str) -> Failure {
    Failure::new(
        format_args!("the program of {board} does not build: {why}"),
        "`cargo build` to succeed",
        "the first build fetches crates: check the network, then try again, or leave the board out with --no-board",
    )
}

/// Runs to the end, or to the end of patience: status, standard output, standard error.
fn bounded(command: &mut Command) -> io::Result<(ExitStatus, String, String)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (out, err) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let until = Instant::now() + BUILD_TIMEOUT;
    if !ends_before(&mut child, until)? {
        end(&mut child)?;
        return Err(io::Error::other(format!(
            "not within {} s",
            BUILD_TIMEOUT.as_secs()
        )));
    }
    let text = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
    Ok((child.wait()?, text(out), text(err)))
}

fn ends_before(child: &mut Child, until: Instant) -> io::Result<bool> {
    while child.try_wait()?.is_none() {
        if Instant::now() >= until {
            return Ok(false);
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(true)
}

/// Politely at first: on this signal, and only on one that it can catch, the script ends its build, all processes of it.
fn end(child: &mut Child) -> io::Result<()> {
    let told = Command::new("kill").arg(child.id().to_string()).status();
    if told.is_err() || !ends_before(child, Instant::now() + END_TIMEOUT)? {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

fn gather(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // What came before an error is what there is.
            let _ = from.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
