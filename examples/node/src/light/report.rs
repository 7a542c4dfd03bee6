//! What is printed, for people or as JSON.

use alloy_primitives::U256;
use devp2p_light::client::{AnyAccount, AnyHead, AnySlot, Graded};
use devp2p_light::evidence::{Evidence, Head};
use devp2p_light::primitives::Hash;
use devp2p_light::state::Account;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::heads::{Counted, Heads};
use super::peer::Left;
use super::work::{Plan, Report, What, head_of};
use crate::failure::Failure;
use crate::show::{self, Output, number, paint};

/// What is asked for and what came so far.
pub(super) struct Reporter {
    output: Output,
    bar: ProgressBar,
    heads: Heads,
    peers: usize,
    wants_trusted: bool,
    wants_account: bool,
    verified: u64,
    trusted: Option<(u64, Hash)>,
    account: Option<Value>,
    slot: Option<Value>,
    is_served: bool,
    /// What was last heard of each peer that is gone.
    left: Vec<String>,
    told_head: Option<Hash>,
}

impl Reporter {
    pub(super) fn new(output: Output, plan: &Plan<'_>, peers: usize) -> Self {
        let bar = match output.is_live() {
            true => ProgressBar::no_length(),
            false => ProgressBar::hidden(),
        };
        bar.set_style(show::bar("{pos} headers verified"));
        Self {
            output,
            bar,
            heads: Heads::new(peers),
            peers,
            wants_trusted: plan.trusted.is_some(),
            wants_account: plan.account.is_some(),
            verified: 0,
            trusted: None,
            account: None,
            slot: None,
            is_served: false,
            left: Vec::new(),
            told_head: None,
        }
    }

    pub(super) fn tell(&mut self, report: Report) -> Result<(), Failure> {
        let peer = report.peer + 1;
        match report.what {
            What::Status(status) => {
                let (earliest, latest) = status.numbers.unwrap_or_default();
                self.bar.set_length(self.bar.length().unwrap_or(0).max(latest));
                self.say(
                    json!({
                        "event": "status", "peer": peer, "eth": status.version, "network": status.network_id,
                        "genesis": status.genesis.to_string(), "head": status.head.to_string(),
                        "earliest": earliest, "latest": latest,
                    }),
                    &[format!(
                        "peer {peer} of {}: eth/{}, network {}, says it has blocks {} to {}",
                        self.peers,
                        status.version,
                        status.network_id,
                        number(earliest),
                        number(latest)
                    )],
                )
            }
            What::Verified(count) => {
                self.verified += count;
                self.bar.set_position(self.verified);
                Ok(())
            }
            What::Trusted(head) => {
                self.is_served = true;
                let found = Some((head.number(), head.hash()));
                if self.trusted.replace((head.number(), head.hash())) == found {
                    return Ok(());
                }
                self.say(
                    head_json("trusted", &head),
                    &[format!("{}  {}", paint().green("trusted"), block(&head))],
                )
            }
            What::Claimed {
                head,
                dropped,
                known,
            } => {
                self.is_served = true;
                self.heads.set(report.peer, head, known);
                let counted = self.heads.count(head);
                self.claimed(counted, dropped)
            }
            What::Account(account) => self.on_account(&account),
            What::Slot(slot) => self.on_slot(&slot),
            What::Code(account, length) => self.say(
                json!({"event": "code", "length": length, "against": against_json(&head_of(&account))}),
                &[format!(
                    "code     {}, with the hash that the account states",
                    show::bytes(length as u64)
                )],
            ),
            What::Unavailable(head) => self.say(
                json!({"event": "unavailable", "peer": peer, "against": against_json(&head)}),
                &[format!(
                    "peer {peer} does not serve the state after {}: nodes keep that of the last 128 blocks or so",
                    against(&head)
                )],
            ),
            What::NoSnap => self.say(
                json!({"event": "no_snap", "peer": peer}),
                &[format!("peer {peer} does not serve state: it does not offer snap")],
            ),
            What::Left(left) => self.on_left(report.peer, left),
        }
    }

    /// Says how it went, once every peer is gone.
    pub(super) fn finish(self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let has_account = !self.wants_account || self.account.is_some();
        let has_trusted = !self.wants_trusted || self.trusted.is_some();
        if !self.is_served || !has_account || !has_trusted {
            let what = match (self.is_served, has_trusted) {
                (false, _) => "no peer served the chain",
                (_, false) => "no peer has the trusted block",
                _ => "the account was not proved",
            };
            let why = match self.left.as_slice() {
                [] => String::new(),
                left => format!(" ({})", left.join("; ")),
            };
            return Err(Failure::new(
                format_args!("{what}{why}"),
                "a node of this network that offers eth and snap and has the block and its state",
                "check --network or --genesis, take a newer --checkpoint, or name more nodes",
            ));
        }
        let claimed = self.heads.best();
        if self.output.json {
            return self.output.object(&json!({
                "event": "result", "verified": self.verified,
                "trusted": self.trusted.map(|(number, hash)| json!({"number": number, "hash": hash.to_string()})),
                "claimed": claimed.map(|counted| claimed_json(counted, 0)),
                "account": self.account, "slot": self.slot,
            }));
        }
        let line = format!("{} headers verified", number(self.verified));
        self.output.line(&line)
    }

    fn say(&self, value: Value, lines: &[String]) -> Result<(), Failure> {
        if self.output.json {
            return self.output.object(&value);
        }
        self.bar
            .suspend(|| lines.iter().try_for_each(|line| self.output.line(line)))
    }

    fn claimed(&mut self, counted: Counted, dropped: u64) -> Result<(), Failure> {
        let is_new = self.told_head.replace(counted.head.hash()) != Some(counted.head.hash());
        if !is_new && counted.by == 1 {
            return Ok(());
        }
        let reorganised = match dropped {
            0 => String::new(),
            dropped => format!(", in place of {dropped} blocks claimed before"),
        };
        let line = format!(
            "{}  {}, by {} of {} peers{reorganised}",
            paint().bold("claimed"),
            block(&counted.head),
            counted.by,
            counted.of
        );
        self.say(claimed_json(counted, dropped), &[line])
    }

    fn on_account(&mut self, account: &AnyAccount) -> Result<(), Failure> {
        let (address, value) = match account {
            Graded::Trusted(account) => (account.address(), account.account().copied()),
            Graded::Claimed(account) => (account.address(), account.account().copied()),
        };
        let head = head_of(account);
        let mut event = account_json(value.as_ref());
        event["event"] = json!("account");
        event["address"] = json!(address.to_string());
        event["against"] = against_json(&head);
        let mut lines = vec![format!(
            "account  {address}, proved against {}",
            against(&head)
        )];
        match value {
            None => lines.push("  there is no such account".to_owned()),
            Some(account) => {
                lines.push(format!("  balance       {} wei", uint(account.balance)));
                lines.push(format!("  nonce         {}", account.nonce));
                lines.push(format!("  storage root  {}", account.storage_root));
                lines.push(format!("  code hash     {}", account.code_hash));
            }
        }
        self.account = Some(event.clone());
        self.say(event, &lines)
    }

    fn on_slot(&mut self, slot: &AnySlot) -> Result<(), Failure> {
        let (key, value, head) = match slot {
            Graded::Trusted(slot) => (
                slot.key(),
                slot.value(),
                Graded::Trusted(*slot.account().head()),
            ),
            Graded::Claimed(slot) => (
                slot.key(),
                slot.value(),
                Graded::Claimed(*slot.account().head()),
            ),
        };
        let (key, value) = (Hash(key).to_string(), Hash(value).to_string());
        let event =
            json!({"event": "slot", "key": key, "value": value, "against": against_json(&head)});
        self.slot = Some(event.clone());
        self.say(
            event,
            &[
                format!("slot     {key}, proved against {}", against(&head)),
                format!("  value         {value}"),
            ],
        )
    }

    fn on_left(&mut self, peer: usize, left: Left) -> Result<(), Failure> {
        let (why, is_lie) = match left {
            Left::Done => {
                self.is_served = true;
                return Ok(());
            }
            Left::Fault(fault) => (fault.to_string(), fault.is_lie()),
            Left::Ended(reason) => (reason.to_string(), false),
            Left::Unreachable(failure) => (failure.what().to_owned(), false),
        };
        self.heads.remove(peer);
        let peer = peer + 1;
        self.left.push(format!("peer {peer}: {why}"));
        let verb = if is_lie {
            "lies and is left"
        } else {
            "is left"
        };
        self.say(
            json!({"event": "left", "peer": peer, "reason": why, "lie": is_lie}),
            &[format!("{} {peer} {verb}: {why}", paint().red("peer"))],
        )
    }
}

fn block<E: Evidence>(head: &Head<E>) -> String {
    format!("block {}  {}", number(head.number()), head.hash())
}

fn against(head: &AnyHead) -> String {
    match head {
        Graded::Trusted(head) => format!("the trusted block {}", number(head.number())),
        Graded::Claimed(head) => format!("block {}, which is only claimed", number(head.number())),
    }
}

fn against_json(head: &AnyHead) -> Value {
    match head {
        Graded::Trusted(head) => {
            json!({"evidence": "trusted", "number": head.number(), "hash": head.hash().to_string()})
        }
        Graded::Claimed(head) => {
            json!({"evidence": "claimed", "number": head.number(), "hash": head.hash().to_string()})
        }
    }
}

fn head_json<E: Evidence>(event: &str, head: &Head<E>) -> Value {
    json!({
        "event": event, "number": head.number(), "hash": head.hash().to_string(),
        "state_root": head.state_root().to_string(), "timestamp": head.timestamp(),
    })
}

fn claimed_json(counted: Counted, dropped: u64) -> Value {
    let mut value = head_json("claimed", &counted.head);
    value["by"] = json!(counted.by);
    value["of"] = json!(counted.of);
    value["dropped"] = json!(dropped);
    value
}

fn account_json(account: Option<&Account>) -> Value {
    match account {
        None => json!({"exists": false}),
        Some(account) => json!({
            "exists": true, "nonce": account.nonce, "balance": uint(account.balance),
            "storage_root": account.storage_root.to_string(), "code_hash": account.code_hash.to_string(),
        }),
    }
}

/// A number of 256 bits in decimal digits.
fn uint(value: [u8; 32]) -> String {
    U256::from_be_bytes(value).to_string()
}
