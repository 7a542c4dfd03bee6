//! Boot parameters: `name=value` words parted by spaces.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::str::FromStr;

use devp2p_core::disconnect::DisconnectReason;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that hold any boot parameters.
pub const MAX_LENGTH: usize = 512;

/// Whom to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Its identity, from an enode URL.
    pub id: [u8; 64],
    /// Where it listens.
    pub address: SocketAddrV4,
}

/// A static private key: wiped on drop, and never shown.
#[derive(PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a board is told at boot.
#[derive(Debug, PartialEq, Eq)]
pub struct Parameters {
    /// `enode=enode://ID@ADDRESS:PORT`: whom to dial. This or `listen`.
    pub remote: Option<Remote>,
    /// `listen=PORT`: where to be dialled.
    pub listen: Option<u16>,
    /// `key=HEX`: the node's static private key, 32 bytes, until [`identity`](crate::identity) takes it. Default: a new one.
    pub key: Option<Secret>,
    /// `address=ADDRESS`: our own, in a network of 24 bits. Default: 10.0.2.15, as QEMU's user network expects.
    pub address: Ipv4Addr,
    /// `gateway=ADDRESS`. Default: 10.0.2.2, which is the host.
    pub gateway: Ipv4Addr,
    /// `sessions=N`: in how many the work is to be done. Default: 1.
    pub sessions: u32,
    /// `retries=N`: how many connections or sessions may be lost before that, in all; each time the board tries again.
    /// Default: 4.
    pub retries: u32,
    /// `hold=SECONDS`: how long a session is held, answering questions and Pings, before this side ends it. Default: 0, and for
    /// who was dialled, until the remote ends it.
    pub hold: Option<u32>,
    /// `until=REASON`: a session is held until the remote ends it with this reason, in hexadecimal; if it ends otherwise it was
    /// lost.
    pub until: Option<DisconnectReason>,
    /// `reasons=REASONS`: what this side gives as the reason for the end, two hexadecimal digits for each session, from the
    /// front again after the last. Default: that its work is done.
    pub reasons: Reasons,
    /// `ping=SECONDS`: from one exchange of Ping and Pong to the next, and for how long a Pong is waited for. Default: those of
    /// `devp2p_core::config`.
    pub ping: Option<u32>,
}

/// A short list of Disconnect reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reasons {
    list: [u8; Self::MOST],
    length: usize,
}

impl Reasons {
    /// How many there can be.
    pub const MOST: usize = 16;

    /// The reason of session `index`; `None` if the list is empty.
    pub fn of(&self, index: u32) -> Option<DisconnectReason> {
        let index = (index as usize).checked_rem(self.length)?;
        self.list.get(index).copied().map(DisconnectReason)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut list = [0; Self::MOST];
        let length = text.len() / 2;
        digits(text, list.get_mut(..length)?)?;
        Some(Self { list, length })
    }
}

/// The word that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BadParameter<'a>(pub &'a str);

impl Default for Parameters {
    fn default() -> Self {
        Self {
            remote: None,
            listen: None,
            key: None,
            address: Ipv4Addr::new(10, 0, 2, 15),
            gateway: Ipv4Addr::new(10, 0, 2, 2),
            sessions: 1,
            retries: 4,
            hold: None,
            until: None,
            reasons: Reasons::default(),
            ping: None,
        }
    }
}

impl Parameters {
    /// Reads parameters.
    ///
    /// # Errors
    /// [`BadParameter`]: the first word that is unknown or has no sensible value; the empty one if there is nobody to dial and
    /// no port to listen on, or both; `hold` if there is `until` too.
    pub fn parse(text: &str) -> Result<Self, BadParameter<'_>> {
        let mut parameters = Self::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            // What is wrong with a key is not told: it may be all but right.
            let bad = if is_key(word) { "key" } else { word };
            parameters.set(word).ok_or(BadParameter(bad))?;
        }
        if parameters.remote.is_some() == parameters.listen.is_some() {
            return Err(BadParameter(""));
        }
        if parameters.until.is_some() && parameters.hold.is_some() {
            return Err(BadParameter("hold"));
        }
        Ok(parameters)
    }

    fn set(&mut self, word: &str) -> Option<()> {
        let (name, value) = word.split_once('=')?;
        match name {
            "enode" => {
                let (id, address) = value.strip_prefix("enode://")?.split_once('@')?;
                // What discovery adds is of no use here.
                let address = address
                    .split_once('?')
                    .map_or(address, |(address, _)| address);
                let id = hex(id)?;
                let address = parse(address)?;
                self.remote = Some(Remote { id, address });
            }
            "listen" => self.listen = Some(parse(value)?),
            "key" => self.key = Some(Secret(hex(value)?)),
            "address" => self.address = parse(value)?,
            "gateway" => self.gateway = parse(value)?,
            "sessions" => self.sessions = parse(value)?,
            "retries" => self.retries = parse(value)?,
            "hold" => self.hold = Some(parse(value)?),
            "until" => self.until = Some(DisconnectReason(hex::<1>(value)?[0])),
            "reasons" => self.reasons = Reasons::parse(value)?,
            "ping" => self.ping = Some(parse(value)?),
            _ => return None,
        }
        Some(())
    }
}

/// Boot parameters as the log may show them, a space before each, the key left out.
#[derive(Clone, Copy)]
pub struct Shown<'a>(pub &'a str);

impl<'a> Shown<'a> {
    fn words(self) -> impl Iterator<Item = &'a str> {
        let words = self.0.split(' ').filter(|word| !word.is_empty());
        words.map(|word| if is_key(word) { "key=..." } else { word })
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words().try_for_each(|word| write!(f, " {word}"))
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Shown<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        for word in self.words() {
            defmt::write!(f, " {=str}", word);
        }
    }
}

fn is_key(word: &str) -> bool {
    word.starts_with("key")
}

fn parse<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    digits(text, &mut bytes)?;
    Some(bytes)
}

/// Fills `bytes` from exactly so many hexadecimal digits.
fn digits(text: &str, bytes: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | char::from(*digit).to_digit(16)? as u8;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;

    use super::*;

    fn enode() -> String {
        format!("enode://{}@1.2.3.4:5", "ab".repeat(64))
    }

    #[test]
    fn a_remote_or_a_port_is_needed_and_not_both() {
        assert_eq!(Parameters::parse(""), Err(BadParameter("")));
        let both = format!("listen=1 enode={}", enode());
        assert_eq!(Parameters::parse(&both), Err(BadParameter("")));
        let parameters = Parameters::parse("listen=30303 sessions=3").unwrap();
        assert_eq!((parameters.listen, parameters.sessions), (Some(30303), 3));
    }

    #[test]
    fn an_enode_names_identity_and_address() {
        let id: String = (0..64).map(|i| format!("{i:02x}")).collect();
        for tail in ["", "?discport=0"] {
            let text = format!("enode=enode://{id}@10.0.2.2:30303{tail}");
            let remote = Parameters::parse(&text).unwrap().remote.unwrap();
            assert_eq!(remote.id, core::array::from_fn(|i| i as u8));
            assert_eq!(remote.address, "10.0.2.2:30303".parse().unwrap());
        }
    }

    #[test]
    fn reasons_are_taken_in_turn() {
        let none = Parameters::parse("listen=1").unwrap();
        assert_eq!((none.reasons.of(0), none.until), (None, None));
        let some = Parameters::parse("listen=1 reasons=000bff until=10").unwrap();
        let given = [0, 1, 2, 3].map(|session| some.reasons.of(session));
        assert_eq!(
            given,
            [0x00, 0x0b, 0xff, 0x00].map(|reason| Some(DisconnectReason(reason)))
        );
        assert_eq!(some.until, Some(DisconnectReason::SUBPROTOCOL_ERROR));
        let most = format!("listen=1 reasons={}", "0a".repeat(Reasons::MOST));
        assert!(Parameters::parse(&most).is_ok());
    }

    #[test]
    fn a_session_is_held_for_a_time_or_until_a_reason() {
        assert_eq!(
            Parameters::parse("listen=1 hold=1 until=08"),
            Err(BadParameter("hold"))
        );
    }

    #[test]
    fn the_key_is_not_shown() {
        let digits = "5a".repeat(32);
        let words = format!("listen=1 key={digits} sessions=3");
        let parameters = Parameters::parse(&words).unwrap();
        assert_eq!(parameters.key, Some(Secret([0x5a; 32])));
        let debug = format!("{parameters:?}");
        assert!(debug.contains("key: Some(Secret(..))"), "{debug}");
        assert!(!debug.contains("90") && !debug.contains("5a"), "{debug}");
        let shown = format!("{}", Shown(&words));
        assert_eq!(shown, " listen=1 key=... sessions=3");
        // Nor one that is nearly right.
        for word in [
            format!("key={digits}0"),
            "key=12".into(),
            format!("key:{digits}"),
        ] {
            let words = format!("{word} listen=1");
            assert_eq!(Parameters::parse(&words), Err(BadParameter("key")));
            assert_eq!(format!("{}", Shown(&words)), " key=... listen=1");
        }
    }

    #[test]
    fn the_key_of_the_parameters_becomes_the_nodes_and_leaves_them() {
        let words = format!("listen=1 key={}", "5a".repeat(32));
        let mut parameters = Parameters::parse(&words).unwrap();
        let mut unused = |_: &mut [u8]| panic!("the key is given");
        let mut place = None;
        let id = *crate::key(&mut place, &mut parameters, &mut unused)
            .unwrap()
            .id();
        let key = devp2p_core::rlpx::NodeKey::new(&[0x5a; 32]).unwrap();
        assert_eq!(id, *key.id());
        assert_eq!(parameters.key, None);
    }

    #[test]
    fn the_bad_word_is_named() {
        let many = format!("reasons={}", "00".repeat(Reasons::MOST + 1));
        for word in [
            "x",
            "x=1",
            "listen=70000",
            &many,
            "reasons=0",
            "until=8",
            "until=0g",
            "ping=-1",
            "enode=enode://00@1.2.3.4:5",
            "remote=1.2.3.4:5",
            "address=",
        ] {
            let text = format!("enode={} {word} sessions=1", enode());
            assert_eq!(Parameters::parse(&text), Err(BadParameter(word)));
        }
    }
}
