//! What `listen` prints: lines for people, or events.

use devp2p_core::hello::NodeId;
use devp2p_std::events::PeerEvent;
use serde_json::json;

use super::Notice;
use crate::failure::Failure;
use crate::show::{self, Output, duration, paint, short_id};
use crate::signals;
use crate::text::plain;

/// Prints what happens.
pub(super) struct Log(pub(super) Output);

impl Log {
    /// The first line.
    pub(super) fn listening(&self, enode: &str) -> Result<(), Failure> {
        match self.0.json {
            true => self.event(&json!({"event": "listening", "enode": enode})),
            false => self.0.line(enode),
        }
    }

    pub(super) fn notice(&self, notice: Notice) -> Result<(), Failure> {
        match notice {
            Notice::Session(event) => self.session(event),
            Notice::Line(from, line) => self.chat(&from, &line),
            Notice::Ending(signal) => self.ending(signal),
        }
    }

    /// How much was not printed, since the output was not read in time.
    pub(super) fn lost(&self, count: u64) -> Result<(), Failure> {
        match self.0.json {
            _ if count == 0 => Ok(()),
            true => self.event(&json!({"event": "lost", "count": count})),
            false => self.0.line(&format!(
                "{count} lines are missing here: nobody read them in time"
            )),
        }
    }

    /// The last line.
    pub(super) fn ended(&self, sessions: u64) -> Result<(), Failure> {
        match self.0.json {
            true => self.event(&json!({"event": "ended", "sessions": sessions})),
            false => self.0.line(&format!("ended; sessions served: {sessions}")),
        }
    }

    fn event(&self, event: &serde_json::Value) -> Result<(), Failure> {
        self.0.object(event)
    }

    fn session(&self, event: PeerEvent) -> Result<(), Failure> {
        match event {
            PeerEvent::Added {
                peer,
                client_name,
                capabilities,
                remote,
                inbound,
            } => {
                let remote = remote.map(|addr| addr.to_string()).unwrap_or_default();
                if self.0.json {
                    return self.event(&json!({
                        "event": "session", "peer": peer.to_string(), "client": client_name, "remote": remote,
                        "inbound": inbound, "capabilities": capabilities,
                    }));
                }
                self.0.line(&format!(
                    "{} {}  {remote:<21}  {}  {}",
                    paint().green("+"),
                    short_id(&peer),
                    plain(&client_name),
                    paint().dim(&plain(&capabilities.join(" "))),
                ))
            }
            PeerEvent::Dropped {
                peer,
                reason,
                lasted,
                traffic,
            } => {
                if self.0.json {
                    return self.event(&json!({
                        "event": "session_ended", "peer": peer.to_string(), "reason": reason.to_string(),
                        "remote_requested": reason.is_remote_requested(), "seconds": lasted.as_secs_f64(),
                        "bytes_in": traffic.bytes_in, "bytes_out": traffic.bytes_out,
                    }));
                }
                let facts = format!(
                    "after {}, {} in, {} out",
                    duration(lasted),
                    show::bytes(traffic.bytes_in),
                    show::bytes(traffic.bytes_out)
                );
                self.0.line(&format!(
                    "{} {}  {reason}  {}",
                    paint().red("-"),
                    short_id(&peer),
                    paint().dim(&facts),
                ))
            }
            _ => Ok(()),
        }
    }

    fn chat(&self, from: &NodeId, line: &str) -> Result<(), Failure> {
        match self.0.json {
            true => self.event(&json!({"event": "chat", "peer": from.to_string(), "line": line})),
            false => self
                .0
                .line(&format!("  {}  {}", short_id(from), plain(line))),
        }
    }

    fn ending(&self, signal: i32) -> Result<(), Failure> {
        let name = signals::name(signal);
        match self.0.json {
            true => self.event(&json!({"event": "ending", "signal": name})),
            false => self.0.line(&format!("{name}: ending")),
        }
    }
}
