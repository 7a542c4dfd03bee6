//! Sizes of types, read from the image of them, and what they add up to for a configuration.

use object::File;

use super::images::{Build, Folders, SIZES, SIZES_MESSAGE, SIZES_RLPX, Values, words};

/// What `size_of` is told of: the symbol in the image and the name in the results.
const NAMED: [(&str, &str); 11] = [
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
];

/// Configurations of which the image has the size; the second is that of the emulated boards.
const KNOWN: [(&str, Lent); 4] = [
    ("RESOURCES_1_2048_1024_0", Lent::new(1, 2048, 1024, 0)),
    ("RESOURCES_2_4266_1024_256", Lent::new(2, 4266, 1024, 256)),
    ("RESOURCES_4_8192_1024_512", Lent::new(4, 8192, 1024, 512)),
    (
        "RESOURCES_7_10001_2047_1024",
        Lent::new(7, 10_001, 2047, 1024),
    ),
];
/// The number of protocols for which sizes are told: the default.
const PROTOCOLS: usize = 4;

/// What a peer is made for and lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lent {
    pub(crate) protocols: usize,
    /// Bytes.
    pub(crate) inboxes: u64,
    /// Bytes.
    pub(crate) ring: u64,
    /// Entries, of two bytes.
    pub(crate) table: u64,
}

impl Lent {
    pub(crate) const fn new(protocols: usize, inboxes: u64, ring: u64, table: u64) -> Self {
        Self {
            protocols,
            inboxes,
            ring,
            table,
        }
    }

    /// Bytes that are lent.
    pub(crate) const fn bytes(self) -> u64 {
        self.inboxes + self.ring + 2 * self.table
    }
}

/// A table by the number of protocols.
pub(crate) struct Table(Vec<u32>);

impl Table {
    pub(crate) fn of(&self, protocols: usize) -> Option<u64> {
        let size = self.0.get(protocols.checked_sub(1)?)?;
        Some(u64::from(*size))
    }
}

/// What the sizes of a peer depend on.
pub(crate) struct Sizes {
    /// The peer and the arena, for one's own framing.
    pub(crate) message: Table,
    /// The core's session, without and with Snappy.
    pub(crate) rlpx: Table,
    pub(crate) session: Table,
    /// The Embassy adapter's `Resources`, without what it is lent.
    pub(crate) embassy: Table,
    pub(crate) least_inboxes: u64,
    pub(crate) least_ring: u64,
    values: Values,
}

/// One of the images, built.
struct Words(Vec<u8>);

impl Words {
    fn build(build: Build, folders: &Folders) -> Result<Self, String> {
        Ok(Self(build.build(folders)?.bytes))
    }

    fn all(&self, symbol: &str) -> Result<Vec<u32>, String> {
        let file = File::parse(&*self.0).map_err(|error| error.to_string())?;
        words(&file, symbol)
    }

    fn table(&self, symbol: &str) -> Result<Table, String> {
        self.all(symbol).map(Table)
    }

    fn one(&self, symbol: &str) -> Result<u64, String> {
        match *self.all(symbol)? {
            [word] => Ok(word.into()),
            _ => Err(format!("{symbol} is not one word")),
        }
    }
}

impl Sizes {
    /// Builds the images and reads them, and sees that what is calculated is what the compiler says.
    pub(crate) fn read(folders: &Folders) -> Result<Self, String> {
        let message = Words::build(SIZES_MESSAGE, folders)?;
        let rlpx = Words::build(SIZES_RLPX, folders)?;
        let all = Words::build(SIZES, folders)?;
        let mut values = Values::new();
        for (symbol, name) in NAMED {
            values.insert(name.to_owned(), all.one(symbol)?);
        }
        let mut sizes = Self {
            message: message.table("TABLE_MESSAGE")?,
            rlpx: rlpx.table("TABLE_SESSION")?,
            session: all.table("TABLE_SESSION")?,
            embassy: all.table("TABLE_EMBASSY")?,
            least_inboxes: all.one("LEAST_INBOXES")?,
            least_ring: all.one("LEAST_RING")?,
            values,
        };
        for (symbol, lent) in KNOWN {
            let (known, calculated) = (all.one(symbol)?, sizes.resources(lent));
            if calculated != Some(known) {
                return Err(format!("{symbol}: {known} bytes, not {calculated:?}"));
            }
        }
        for (name, table) in [
            ("ram.message", &sizes.message),
            ("ram.session", &sizes.session),
            ("ram.session.rlpx", &sizes.rlpx),
            ("ram.embassy", &sizes.embassy),
        ] {
            let size = table.of(PROTOCOLS).ok_or("a table is too short")?;
            sizes.values.insert(name.to_owned(), size);
        }
        Ok(sizes)
    }

    /// Bytes of the Embassy adapter's `Resources` for this configuration.
    pub(crate) fn resources(&self, lent: Lent) -> Option<u64> {
        let own = self.embassy.of(lent.protocols)?;
        Some((own + lent.bytes()).next_multiple_of(8))
    }

    /// Everything that has a name, and what a peer keeps in RAM besides what it is lent.
    pub(crate) fn values(&self) -> &Values {
        &self.values
    }
}
