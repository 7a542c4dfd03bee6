//! A remote that breaks the rules, and what it and we see of the end.
use std::sync::Arc;

use devp2p_core::config::Config;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::time::Duration;
use devp2p_std::host::Host;
use devp2p_std::session::Report;
use devp2p_tests::geth::{Geth, fnv, random};
use serde_json::{Value, json};

use crate::local::{Dialler, Listening, Running, dial, echo, host};

/// A deadline that a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// Deadlines that no test lives to see: what ends with these ended for another reason.
pub(crate) fn patient() -> Config {
    let never = Duration::from_secs(3600);
    let mut config = Config::new();
    config.handshake_timeout = never;
    config.ping_interval = never;
    config.pong_timeout = never;
    config.message_timeout = never;
    config.write_timeout = never;
    config.hold_back_limit = never;
    config.closing_timeout = never;
    config
}

/// A hostile remote, and our host, which shares `echo` with it as wire codes 0x10 and 0x11.
pub(crate) struct Hostile {
    pub(crate) geth: Geth,
    pub(crate) host: Arc<Host>,
    listening: Listening,
    dialler: Dialler,
}

impl Hostile {
    /// With deadlines that never pass.
    pub(crate) fn new(dialler: Dialler) -> Self {
        Self::with(dialler, patient())
    }

    /// With these deadlines.
    pub(crate) fn with(dialler: Dialler, config: Config) -> Self {
        Self {
            geth: Geth::raw(&json!({})),
            host: host()
                .config(config)
                .protocol(echo())
                .build()
                .expect("a host"),
            listening: Listening::new(),
            dialler,
        }
    }

    /// A TCP connection on which the remote has not said anything yet.
    pub(crate) fn connect(&self) -> Running {
        self.connect_on("")
    }

    /// Likewise, on the remote's link of this name.
    pub(crate) fn connect_on(&self, link: &str) -> Running {
        let (tag, session) = match self.dialler {
            Dialler::Us => {
                let tag = self.geth.begin(json!({"cmd": "accept", "link": link}));
                (tag, dial(&self.host, &self.geth))
            }
            Dialler::Them => {
                let enode = self.listening.enode(&self.host);
                let connect = json!({"cmd": "connect", "link": link, "enode": enode});
                (self.geth.begin(connect), self.listening.accept(&self.host))
            }
        };
        assert_eq!(self.geth.done(tag)["ok"], true);
        session
    }

    /// The encrypted handshake is done and our Hello read; the remote's is to come.
    pub(crate) fn shake(&self) -> Running {
        self.shake_on("")
    }

    /// Likewise, on the remote's link of this name.
    pub(crate) fn shake_on(&self, link: &str) -> Running {
        let session = self.connect_on(link);
        self.geth.ok(json!({"cmd": "handshake", "link": link}));
        let hello = self.geth.ok(json!({"cmd": "read", "link": link}));
        assert_eq!(hello["hello"]["version"], 5, "{hello}");
        // What we say after it is compressed.
        self.geth
            .ok(json!({"cmd": "snappy", "on": true, "link": link}));
        session
    }

    /// An active session.
    pub(crate) fn session(&self) -> Running {
        self.session_on("")
    }

    /// Likewise, on the remote's link of this name.
    pub(crate) fn session_on(&self, link: &str) -> Running {
        let session = self.shake_on(link);
        self.geth.ok(json!({"cmd": "hello", "link": link}));
        session.peer();
        session
    }

    /// The session ends for this cause, of which we tell by this Disconnect or not at all, and our host is well after that.
    /// Not a message of the session that ends is delivered.
    pub(crate) fn ends(
        &self,
        session: Running,
        cause: CloseReason,
        disconnect: Option<DisconnectReason>,
    ) -> Report {
        let before = self.host.traffic(0).messages_in;
        let report = self.ends_on("", session, cause, disconnect);
        assert_eq!(self.host.traffic(0).messages_in, before);
        self.assert_well();
        report
    }

    /// The session on this link ends so. Others may go on.
    pub(crate) fn ends_on(
        &self,
        link: &str,
        session: Running,
        cause: CloseReason,
        disconnect: Option<DisconnectReason>,
    ) -> Report {
        let seen = self
            .geth
            .ok(json!({"cmd": "read_until_close", "quiet": true, "link": link}));
        self.geth.ok(json!({"cmd": "close", "link": link}));
        let report = session.report();
        assert_eq!(report.reason, cause, "the remote saw {seen}");
        assert!(report.stuck.is_empty());
        // Only a frame whose MAC holds proves who the remote is.
        let is_claim = !report.was_active
            && matches!(
                cause,
                CloseReason::Transport(_) | CloseReason::HandshakeTimeout
            );
        assert_eq!(report.id, (!is_claim).then(|| self.geth.id()));
        match disconnect {
            Some(reason) => {
                // It is not lost to a reset, and nothing follows it.
                assert_eq!(seen["codes"]["1"], 1, "{seen}");
                assert_eq!(seen["reason"], reason.0, "{seen}");
                assert_eq!(seen["ending"], "eof", "{seen}");
            }
            None => {
                assert_eq!(seen["codes"]["1"], Value::Null, "{seen}");
                assert_ended(&seen);
            }
        }
        report
    }

    /// The connection ends in the handshake for this cause, and not a byte of ours follows what was read of it before.
    pub(crate) fn ends_unauthenticated(&self, session: Running, cause: CloseReason) {
        let seen = self.geth.ok(json!({"cmd": "tcp_read"}));
        self.geth.ok(json!({"cmd": "close"}));
        let report = session.report();
        assert_eq!(report.reason, cause);
        assert!(!report.was_active && report.id.is_none());
        assert_eq!(seen["size"], 0, "{seen}");
        assert_ended(&seen);
        self.assert_well();
    }

    /// This session still answers.
    pub(crate) fn assert_answers(&self) {
        self.assert_answers_on("");
    }

    fn assert_answers_on(&self, link: &str) {
        let payload = json!({"cmd": "send", "code": 0x10, "size": 100, "pattern": "random", "seed": 3, "link": link});
        self.geth.ok(payload);
        let answer = self.geth.ok(json!({"cmd": "read", "link": link}));
        assert_eq!(answer["code"], 0x11, "{answer}");
        assert_eq!(answer["fnv"], fnv(&random(3, 100)));
    }

    /// The next session works, and nothing is left of the one before.
    pub(crate) fn assert_well(&self) {
        let session = self.session_on("next");
        self.assert_answers_on("next");
        assert_eq!(self.host.memory().used(), 0);
        self.geth.ok(json!({"cmd": "close", "link": "next"}));
        session.report();
    }
}

/// The connection ended; whether in an orderly way is chance when bytes were unread.
fn assert_ended(seen: &Value) {
    assert!(
        ["eof", "reset"].contains(&seen["ending"].as_str().unwrap_or_default()),
        "{seen}"
    );
}
