//! Hello, the first message of each side (RLPx specification, "Hello (0x00)").
//!
//! Ours is what the strictest peer accepts; theirs may be as sloppy as any that is out there.

pub use crate::node_id::NodeId;

use core::fmt;

use crate::capability::highest_below;
use crate::config::Local;
use crate::rlp::{self, BackWriter, Item, NoRoom, Reader, list_length, string_length, uint_length};

/// The largest Hello payload accepted, in bytes, without its code (go-ethereum's limit; the receiver applies it).
pub const MAX_HELLO_LENGTH: usize = 2048;

/// The largest Hello payload sent, in bytes: some peers count the code as part of the 2048.
pub const MAX_SENT_LENGTH: usize = MAX_HELLO_LENGTH - 1;

/// A Hello is not what the specification says, in a field that cannot be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HelloError;

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed Hello")
    }
}

impl core::error::Error for HelloError {}

impl From<rlp::Error> for HelloError {
    fn from(_: rlp::Error) -> Self {
        Self
    }
}

/// The identity in a Hello is not 64 bytes long, or is all zero. Answered by Disconnect 0x07.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the node identity is null or has the wrong size")
    }
}

impl core::error::Error for InvalidId {}

/// Our Hello is larger than 2047 bytes, or than the output: the client name or the list of protocols is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HelloTooLong;

impl fmt::Display for HelloTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hello is larger than {MAX_SENT_LENGTH} bytes")
    }
}

impl core::error::Error for HelloTooLong {}

impl From<NoRoom> for HelloTooLong {
    fn from(_: NoRoom) -> Self {
        Self
    }
}

/// A capability that the remote states. Nobody enforces the specification's limits on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteCapability<'a> {
    /// The name: any bytes, any length.
    pub name: &'a [u8],
    /// The version; [`u64::MAX`] stands for larger ones too.
    pub version: u64,
}

/// The capabilities of a Hello, in the order in which the remote states them, repetitions included.
#[derive(Debug, Clone)]
pub struct Capabilities<'a> {
    tuples: Reader<'a>,
}

impl<'a> Iterator for Capabilities<'a> {
    type Item = RemoteCapability<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // Decoding the Hello has read the whole list once: only its end is an error here.
        read_capability(&mut self.tuples).ok()
    }
}

impl core::iter::FusedIterator for Capabilities<'_> {}

/// A remote's Hello, borrowed from its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Base protocol version; [`u64::MAX`] stands for larger ones too.
    pub version: u64,
    /// Client name: any bytes, by the specification UTF-8.
    pub client_name: &'a [u8],
    capabilities: Reader<'a>,
    /// The TCP port that the remote says it listens on: whatever it wrote, 0 if that is no number. The specification has it
    /// ignored.
    pub listen_port: u64,
    /// The identity that the remote claims. That it is the one the transport proved is for the caller to compare.
    pub id: Result<NodeId, InvalidId>,
}

impl<'a> Hello<'a> {
    /// Decodes a payload, the bytes after the code; a Hello is never compressed.
    ///
    /// Elements after the fifth, elements of a capability after the second, and bytes after the list are ignored (EIP-8).
    ///
    /// # Errors
    /// [`HelloError`] if the payload is no list, if one of the five elements is missing, is not RLP or of the wrong kind, or
    /// if an integer other than the port begins with a zero byte.
    pub fn decode(payload: &'a [u8]) -> Result<Self, HelloError> {
        let fields = Fields::read(payload)?;
        Ok(Self {
            version: fields.version,
            client_name: fields.client_name,
            capabilities: fields.capabilities.tuples,
            listen_port: fields.listen_port,
            id: fields.id.copied().map(NodeId).ok_or(InvalidId),
        })
    }

    /// The capabilities that the remote states.
    pub fn capabilities(&self) -> Capabilities<'a> {
        Capabilities {
            tuples: self.capabilities,
        }
    }
}

/// What a Hello holds, borrowed altogether.
pub(crate) struct Fields<'a> {
    pub(crate) version: u64,
    client_name: &'a [u8],
    pub(crate) capabilities: Capabilities<'a>,
    listen_port: u64,
    /// `None` if it is null or has the wrong size.
    pub(crate) id: Option<&'a [u8; 64]>,
}

impl<'a> Fields<'a> {
    pub(crate) fn read(payload: &'a [u8]) -> Result<Self, rlp::Error> {
        let mut fields = Reader::new(payload).list()?;
        let version = read_version(&mut fields)?;
        let client_name = fields.string()?;
        let capabilities = fields.list()?;
        let mut tuples = capabilities;
        while !tuples.is_empty() {
            read_capability(&mut tuples)?;
        }
        // Some peers write port 0 as a zero byte, some write more than 16 bits.
        let listen_port = match fields.lenient_item()? {
            Item::String(bytes) => rlp::saturating_uint64(bytes),
            Item::List(_) => 0,
        };
        let id = fields.string()?.try_into().ok();
        Ok(Self {
            version,
            client_name,
            capabilities: Capabilities {
                tuples: capabilities,
            },
            listen_port,
            id: id.filter(|id: &&[u8; 64]| id.iter().any(|byte| *byte != 0)),
        })
    }
}

fn read_capability<'a>(tuples: &mut Reader<'a>) -> Result<RemoteCapability<'a>, rlp::Error> {
    let mut tuple = tuples.list()?;
    Ok(RemoteCapability {
        name: tuple.string()?,
        version: read_version(&mut tuple)?,
    })
}

/// A version that has no place in 64 bits is as little known here as any other that is not ours.
fn read_version(from: &mut Reader<'_>) -> Result<u64, rlp::Error> {
    match rlp::uint64(from.string()?) {
        Err(rlp::Error::IntegerTooLarge) => Ok(u64::MAX),
        result => result,
    }
}

impl Local<'_> {
    /// Bytes of our Hello's payload; it can be sent if that is at most [`MAX_SENT_LENGTH`].
    pub fn hello_length(&self) -> usize {
        list_length(self.fields_length())
    }

    fn fields_length(&self) -> usize {
        let (mut tuples, mut last) = (0usize, None);
        while let Some((_, protocol)) = highest_below(self.protocols, last) {
            let one = &protocol.capability;
            let tuple = string_length(one.name.as_bytes())
                .saturating_add(uint_length(u64::from(one.version)));
            tuples = tuples.saturating_add(list_length(tuple));
            last = Some(one);
        }
        let fields = [
            uint_length(u64::from(self.version)),
            string_length(self.client_name.as_bytes()),
            list_length(tuples),
            uint_length(u64::from(self.listen_port)),
            string_length(&self.id.0),
        ];
        fields.into_iter().fold(0, usize::saturating_add)
    }

    /// Writes the payload of our Hello: exactly the five fields, capabilities sorted by name and version, each once. Returns
    /// its length, at most 2047 bytes. The code before it is [`encode_code(0)`](rlp::encode_code).
    ///
    /// # Errors
    /// [`HelloTooLong`]; what `out` holds is then of no use.
    pub fn encode_hello(&self, out: &mut [u8]) -> Result<usize, HelloTooLong> {
        let room = out.len().min(MAX_SENT_LENGTH);
        let out = out.get_mut(..room).unwrap_or_default();
        // From the last field to the first: what a header states is then known when it is written.
        let mut writer = BackWriter::new(out);
        let end = writer.at();
        writer.string(&self.id.0);
        writer.uint(u32::from(self.listen_port));
        let tuples_end = writer.at();
        let mut last = None;
        while let Some((_, protocol)) = highest_below(self.protocols, last) {
            let one = &protocol.capability;
            let tuple_end = writer.at();
            writer.uint(one.version);
            writer.string(one.name.as_bytes());
            writer.list(tuple_end);
            last = Some(one);
        }
        writer.list(tuples_end);
        writer.string(self.client_name.as_bytes());
        writer.uint(u32::from(self.version));
        writer.list(end);
        Ok(writer.finish()?)
    }
}
