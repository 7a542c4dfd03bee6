//! Sizes of types, read from the image of them, and what they add up to for a configuration.

use object::File;

use super::images::{Folders, SIZES, Values, words};

/// What `size_of` is told of: the symbol in the image, the name in the results, and what it is.
const NAMED: [(&str, &str); 13] = [
    ("SIZE_SESSION_4", "size.session"),
    ("SIZE_PEER_4", "size.peer"),
    ("SIZE_ARENA_4", "size.arena"),
    ("SIZE_RECEIVE_HALF", "size.receive_half"),
    ("SIZE_TRANSMIT_HALF", "size.transmit_half"),
    ("SIZE_HANDSHAKE", "size.handshake"),
    ("SIZE_ESTABLISHED", "size.established"),
    ("SIZE_NODE_KEY", "size.node_key"),
    ("SIZE_WRITE", "size.write"),
    ("SIZE_RUNNER_4", "size.embassy.runner"),
    ("SIZE_SUBPROTOCOL_4", "size.embassy.subprotocol"),
    ("SIZE_GUARD_4", "size.embassy.guard"),
    ("RESOURCES_4_8192_1024_512", "size.embassy.resources"),
];

/// Configurations of which the image has the size: protocols, inboxes, ring, table.
const KNOWN: [(&str, Memory); 4] = [
    ("RESOURCES_1_2048_1024_0", Memory::new(1, 2048, 1024, 0)),
    ("RESOURCES_2_4394_1024_256", Memory::new(2, 4394, 1024, 256)),
    ("RESOURCES_4_8192_1024_512", Memory::new(4, 8192, 1024, 512)),
    (
        "RESOURCES_7_10001_2047_1024",
        Memory::new(7, 10_001, 2047, 1024),
    ),
];

/// What one lends a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) protocols: usize,
    /// Bytes.
    pub(crate) inboxes: u64,
    /// Bytes.
    pub(crate) ring: u64,
    /// Entries, of two bytes.
    pub(crate) table: u64,
}

impl Memory {
    const fn new(protocols: usize, inboxes: u64, ring: u64, table: u64) -> Self {
        Self {
            protocols,
            inboxes,
            ring,
            table,
        }
    }
}

/// What the sizes of a peer depend on.
pub(crate) struct Sizes {
    /// By the number of protocols, from 1: the core's session; its peer and arena alone; the Embassy adapter's `Resources`
    /// without what it is lent.
    pub(crate) session: Vec<u32>,
    pub(crate) message: Vec<u32>,
    pub(crate) embassy: Vec<u32>,
    pub(crate) least_inboxes: u64,
    pub(crate) least_ring: u64,
    known: Vec<u64>,
    named: Values,
}

impl Sizes {
    /// Builds the image and reads it.
    pub(crate) fn read(folders: &Folders) -> Result<Self, String> {
        let built = SIZES.build(folders)?;
        let file = File::parse(&*built.bytes).map_err(|error| error.to_string())?;
        let word = |symbol: &str| -> Result<u64, String> {
            match *words(&file, symbol)? {
                [word] => Ok(word.into()),
                _ => Err(format!("{symbol} is not one word")),
            }
        };
        let mut named = Values::new();
        for (symbol, name) in NAMED {
            named.insert(name.to_owned(), word(symbol)?);
        }
        Ok(Self {
            session: words(&file, "TABLE_SESSION")?,
            message: words(&file, "TABLE_MESSAGE")?,
            embassy: words(&file, "TABLE_EMBASSY")?,
            least_inboxes: word("LEAST_INBOXES")?,
            least_ring: word("LEAST_RING")?,
            known: KNOWN
                .iter()
                .map(|(symbol, _)| word(symbol))
                .collect::<Result<_, _>>()?,
            named,
        })
    }

    /// Bytes of the Embassy adapter's `Resources`, as its constructor takes them.
    pub(crate) fn resources(&self, memory: Memory) -> Option<u64> {
        let own = u64::from(*self.embassy.get(memory.protocols.checked_sub(1)?)?);
        let lent = memory.inboxes + memory.ring + 2 * memory.table;
        Some((own + lent).next_multiple_of(8))
    }

    /// That what is calculated is what the compiler says.
    pub(crate) fn check(&self) -> Result<(), String> {
        for ((symbol, memory), known) in KNOWN.iter().zip(&self.known) {
            let calculated = self.resources(*memory);
            if calculated != Some(*known) {
                return Err(format!("{symbol}: {known} bytes, not {calculated:?}"));
            }
        }
        Ok(())
    }

    /// Everything that has a name, and what a session keeps in RAM besides what it is lent.
    pub(crate) fn values(&self) -> Values {
        let mut values = self.named.clone();
        let four = |table: &[u32]| table.get(3).map_or(0, |size| u64::from(*size));
        values.insert("ram.session".into(), four(&self.session));
        values.insert("ram.embassy".into(), four(&self.embassy));
        values
    }
}
