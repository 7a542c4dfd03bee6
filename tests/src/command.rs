//! Programs that tests run: `devp2p`, built once for the tests that need it, and any other, with a bound.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// How long a program and what it started have to end, once they are told to.
const GRACE: Duration = Duration::from_secs(10);

/// The program, of the same profile as the test that asks, and up to date.
pub fn devp2p() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build)
}

fn build() -> PathBuf {
    // The test itself is TARGET/PROFILE/deps/NAME.
    let test = env::current_exe().expect("the path of this test");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("the folder of the build profile");
    let target = profile.parent().expect("the target folder");
    // With the features of the whole workspace nothing is compiled twice.
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--workspace", "--bin", "devp2p"]);
    cargo.arg("--target-dir").arg(target);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "devp2p does not build");
    profile.join(format!("devp2p{}", env::consts::EXE_SUFFIX))
}

/// Runs it to the end, as [`Command::output`] does, in a process group of its own.
///
/// # Panics
/// If it cannot be started, or has not ended after `bound`: then the whole group is ended, and what it printed is shown.
pub fn output_within(command: &mut Command, bound: Duration) -> Output {
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn();
    let child = child.unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    let group = format!("-{}", child.id());
    let (sender, ended) = channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    if let Ok(output) = ended.recv_timeout(bound) {
        return output.expect("its output can be read");
    }
    let mut printed = None;
    for signal in ["-TERM", "-KILL"] {
        // It may have ended by itself just now.
        let _ = Command::new("kill").args([signal, "--", &group]).status();
        printed = ended.recv_timeout(GRACE).ok();
        if printed.is_some() {
            break;
        }
    }
    panic!(
        "{command:?} has not ended after {} s: {printed:?}",
        bound.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn what_a_program_prints_and_its_status_are_returned() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo out; echo err >&2; exit 3"]);
        let output = output_within(&mut shell, Duration::from_secs(30));
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(
            (&*output.stdout, &*output.stderr),
            (&b"out\n"[..], &b"err\n"[..])
        );
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_all_that_it_started() {
        // The inner one keeps the output open for as long as it lives.
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo begun; sleep 1000 & wait"]);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            output_within(&mut shell, Duration::from_millis(100))
        }));
        let why = ended.expect_err("it has not ended by itself");
        let why = why.downcast_ref::<String>().expect("a text");
        assert!(why.contains("has not ended after"), "{why}");
        assert!(why.contains("Some(Ok("), "{why}");
    }
}
