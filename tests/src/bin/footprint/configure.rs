//! RAM and flash of a configuration of one's own.

use super::images::{self, EVERYTHING, Folders, MESSAGE, RLPX};
use super::report::grouped;
use super::sizes::{Lent, Sizes};

/// The most protocols.
const MOST: usize = devp2p_core::MAX_PROTOCOLS;

pub(crate) const USAGE: &str = "\
--configure works out a configuration of your own:
  --protocols N     protocols that are registered (4)
  --inbox BYTES     all inboxes together; a message that waits takes 21 bytes more than its payload (8192)
  --ring BYTES      transmit ring (1024)
  --table ENTRIES   for compression, two bytes each: 0 or a power of two (512)
  --no-snappy       without the feature `snappy`
  --no-rlpx         without `rlpx` and `snappy`: the peer alone, at message level, over a framing of your own";

/// A configuration, with the features of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) lent: Lent,
    pub(crate) rlpx: bool,
    pub(crate) snappy: bool,
}

impl Configuration {
    /// From the arguments; an error says which makes no sense.
    pub(crate) fn parse(mut from: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut asked = Self {
            lent: Lent::new(4, 8192, 1024, 512),
            rlpx: true,
            snappy: true,
        };
        while let Some(argument) = from.next() {
            match argument.as_str() {
                "--no-snappy" => asked.snappy = false,
                "--no-rlpx" => (asked.rlpx, asked.snappy) = (false, false),
                "--protocols" | "--inbox" | "--ring" | "--table" => {
                    let value = from.next().and_then(|value| value.parse::<u32>().ok());
                    let value = value.ok_or(format!("{argument} takes a number"))?;
                    match argument.as_str() {
                        "--protocols" => asked.lent.protocols = value as usize,
                        "--inbox" => asked.lent.inboxes = value.into(),
                        "--ring" => asked.lent.ring = value.into(),
                        _ => asked.lent.table = value.into(),
                    }
                }
                _ => return Err(format!("there is no option {argument}")),
            }
        }
        if !(1..=MOST).contains(&asked.lent.protocols) {
            return Err(format!("--protocols takes 1 to {MOST}"));
        }
        let table = asked.lent.table;
        if table != 0 && !table.is_power_of_two() {
            return Err(format!("--table takes 0 or a power of two, not {table}"));
        }
        if !asked.rlpx {
            asked.lent.ring = 0;
        }
        if !asked.snappy {
            asked.lent.table = 0;
        }
        Ok(asked)
    }

    /// That it is not less than a session can do with.
    fn check(&self, sizes: &Sizes) -> Result<(), String> {
        for (what, value, least) in [
            ("--inbox", self.lent.inboxes, sizes.least_inboxes),
            ("--ring", self.lent.ring, sizes.least_ring),
        ] {
            if self.rlpx && value < least {
                return Err(format!("{what} {value}: with RLPx at least {least}"));
            }
        }
        Ok(())
    }
}

/// Prints what a configuration takes.
pub(crate) fn print(folders: &Folders, asked: Configuration) -> Result<(), String> {
    let sizes = Sizes::read(folders)?;
    asked.check(&sizes)?;
    let flash = images::flash(folders)?;
    let measured = images::run(folders)?;
    let value = |name: &str| {
        let value = flash.get(name).or_else(|| measured.get(name));
        value.copied().ok_or(format!("{name} was not measured"))
    };
    let Lent {
        protocols,
        inboxes,
        ring,
        table,
    } = asked.lent;
    let (build, own, what) = match (asked.rlpx, asked.snappy) {
        (false, _) => (MESSAGE, &sizes.message, "Peer and Arena"),
        (true, false) => (RLPX, &sizes.rlpx, "Session"),
        (true, true) => (EVERYTHING, &sizes.session, "Session"),
    };
    let own = own.of(protocols).ok_or("too many protocols")?;
    let row = |what: &str, bytes: u64| println!("  {what:58} {:>8}", grouped(bytes));

    println!("in bytes, on a Cortex-M4; {protocols} protocols");
    println!("RAM that a peer is lent");
    row("inboxes", inboxes);
    if asked.rlpx {
        row("transmit ring", ring);
    }
    if asked.snappy {
        row("table for compression, two bytes an entry", 2 * table);
    }
    println!("RAM of the core");
    row(&format!("{what}, for {protocols} protocols"), own);
    row("with what it is lent", own + asked.lent.bytes());
    if asked.snappy {
        println!("RAM of the Embassy adapter, which has all features");
        let resources = sizes.resources(asked.lent).ok_or("too many protocols")?;
        row(
            "Resources: the session, what it is lent, buffers, handles",
            resources,
        );
        row(
            "of it, besides what is lent",
            resources - asked.lent.bytes(),
        );
    }
    if asked.rlpx {
        println!("RAM of a node, however many sessions");
        row(
            "NodeKey",
            *sizes.values().get("size.node_key").unwrap_or(&0),
        );
    }
    println!("stack at most, below the caller's frame");
    if asked.rlpx {
        row("steady state", value("steady.stack")?);
        row("handshake as initiator", value("initiator.stack")?);
        row("handshake as recipient", value("recipient.stack")?);
    } else {
        row("any call", value("message.stack")?);
    }
    println!("flash, over an image without a peer; measured with 2 protocols");
    row("the core", value(&format!("flash.{}", build.name))?);
    println!("heap");
    row("none: no image has a symbol of an allocator", 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Configuration, String> {
        Configuration::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let asked = parse(&["--protocols", "2", "--inbox", "4266"]).unwrap();
        assert_eq!(asked.lent, Lent::new(2, 4266, 1024, 512));
        assert!(asked.rlpx && asked.snappy);
    }

    #[test]
    fn without_a_feature_its_memory_is_not_needed() {
        assert_eq!(parse(&["--no-snappy"]).unwrap().lent.table, 0);
        let message = parse(&["--no-rlpx"]).unwrap();
        assert!(!message.snappy);
        assert_eq!((message.lent.ring, message.lent.table), (0, 0));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for words in [
            &["--protocols", "0"][..],
            &["--protocols", "33"],
            &["--inbox"],
            &["--inbox", "many"],
            &["--table", "500"],
            &["--heap", "1"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
