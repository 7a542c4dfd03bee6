//! From the boot parameters to the board's status: what the bare boards do, whichever they are.

use devp2p_core::config::Local;
use devp2p_core::hello::NodeId;

use crate::drive::{Board, run};
use crate::line::line;
use crate::node::{Node, Status};
use crate::protocols::{SENSOR_INBOX, protocols};

/// Bytes of inbox for `echo/1`.
pub const ECHO_INBOX: usize = 2048;
/// Bytes of sealed frames that can wait for the serial port.
const OUTPUT: usize = 320;

/// Runs sessions over `board`'s serial port: as many as the parameter `sessions=N` says, by default one. Its node identity is
/// `id`, 64 times: over a private line an identity proves nothing.
pub fn boot(board: &mut impl Board, parameters: &str, id: u8) -> Status {
    let sessions = parameters
        .split(' ')
        .find_map(|word| word.strip_prefix("sessions=")?.parse().ok())
        .unwrap_or(1);
    let protocols = protocols(ECHO_INBOX);
    let local = Local {
        id: NodeId([id; 64]),
        client_name: "devp2p bare",
        // The last version without Snappy.
        version: 4,
        listen_port: 0,
        protocols: &protocols,
    };
    let mut inboxes = [0; ECHO_INBOX + SENSOR_INBOX];
    let mut output = [0; OUTPUT];
    let now = board.now();
    match line(local, &mut inboxes, &mut output, now) {
        Some(line) => run(&mut Node::new(line, sessions, now), board),
        None => Status::Failure,
    }
}
