//! Standard error, which a thread of its own writes: who logs or reports never waits for whoever reads it.

use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::queue::Queue;

/// Lines that may wait; what comes while they do is dropped and counted.
const LINES: usize = 1024;
/// How long the last lines may take without getting on.
const PATIENCE: Duration = Duration::from_secs(1);

static QUEUE: Queue<String> = Queue::new(LINES);

/// The thread that writes; it ends when it is dropped, with what was said before.
pub(crate) struct Stderr {
    written: Receiver<()>,
}

/// Starts to write what is said.
pub(crate) fn start() -> Stderr {
    let (sender, written) = channel();
    let thread = thread::Builder::new().name("devp2p-stderr".to_owned());
    let spawned = thread.spawn(move || {
        while let Some(next) = QUEUE.next() {
            write(next.lost, &next.value);
        }
        write(QUEUE.lost(), "");
        drop(sender);
    });
    // Without that thread nothing is said: then no session has one either, and the exit status tells of it.
    drop(spawned);
    Stderr { written }
}

fn write(lost: u64, text: &str) {
    let mut out = io::stderr().lock();
    // Where nobody takes it there is nowhere else to say so.
    if lost > 0 {
        let _ = writeln!(
            out,
            "warning: {lost} lines are missing here: nobody read them"
        );
    }
    if !text.is_empty() {
        let _ = writeln!(out, "{text}");
    }
}

/// Something on the way, a line or some: dropped and counted where too many wait.
pub(crate) fn say(text: impl fmt::Display) {
    QUEUE.push(text.to_string());
}

/// How the command ended.
pub(crate) fn say_surely(text: impl fmt::Display) {
    QUEUE.push_surely(text.to_string());
}

impl Drop for Stderr {
    fn drop(&mut self) {
        QUEUE.close();
        // If nobody reads it, so be it.
        let _ = QUEUE.wait_for(&self.written, PATIENCE);
    }
}
