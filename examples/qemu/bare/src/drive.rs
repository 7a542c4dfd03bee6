//! The poll loop of a bare board.

use devp2p_core::time::{Instant, PollAt};

use crate::node::{News, Node, Status};

/// What a bare board has.
pub trait Board {
    /// The time, from a timer.
    fn now(&mut self) -> Instant;
    /// Takes bytes from the serial port, without waiting; returns how many.
    fn receive(&mut self, to: &mut [u8]) -> usize;
    /// Gives bytes to the serial port, without waiting; returns how many it took.
    fn send(&mut self, bytes: &[u8]) -> usize;
    /// Sleeps until a byte came, the port can take one where `sends`, or the time has come. May return early.
    fn sleep(&mut self, until: PollAt, sends: bool);
    /// Tells what happened.
    fn tell(&mut self, news: News);
}

/// Runs until the node's work is done.
pub fn run(node: &mut Node<'_>, board: &mut impl Board) -> Status {
    let mut buffer = [0; 32];
    let mut waiting = 0..0;
    loop {
        let mut now = board.now();
        let mut moved = false;
        if waiting.is_empty() {
            waiting = 0..board.receive(&mut buffer);
        }
        let bytes = buffer.get_mut(waiting.clone()).unwrap_or_default();
        let taken = node.line().handle_input(now, bytes);
        waiting.start += taken;
        moved |= taken > 0;
        loop {
            match node.poll(now) {
                Some(Some(news)) => board.tell(news),
                Some(None) => break,
                None => return node.status(),
            }
            moved = true;
            now = board.now();
        }
        let sent = board.send(node.line().output());
        node.line().consume_output(now, sent);
        moved |= sent > 0;
        if !moved {
            let sends = !node.line().output().is_empty();
            board.sleep(node.poll_at(), sends);
        }
    }
}
