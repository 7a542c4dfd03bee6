//! A chain from its `genesis.json`, as go-ethereum reads it: the forks, and the hash of the genesis block.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use alloy_trie::{HashBuilder, Nibbles};
use devp2p_core::rlp::{Writer, list_length, string_length};
use devp2p_light::fork_id::Network;
use devp2p_light::primitives::Hash;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// Gas limit and difficulty of a genesis block that states none.
const GAS_LIMIT: u64 = 4_712_388;
const DIFFICULTY: u64 = 131_072;
/// The base fee of a genesis block that has one and states none (EIP-1559).
const BASE_FEE: u64 = 1_000_000_000;
/// SHA-256 of nothing: the hash of no requests (EIP-7685).
const NO_REQUESTS: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a [`Network`] borrows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnNetwork {
    id: u64,
    genesis: Hash,
    fork_blocks: Vec<u64>,
    fork_times: Vec<u64>,
}

impl OwnNetwork {
    pub(super) fn get(&self) -> Network<'_> {
        Network {
            id: self.id,
            genesis: self.genesis,
            fork_blocks: &self.fork_blocks,
            fork_times: &self.fork_times,
        }
    }
}

/// Reads a file.
pub(super) fn read(file: &Path) -> Result<OwnNetwork, Failure> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string());
    text.and_then(|text| parse(&text)).map_err(|why| {
        Failure::new(
            format_args!("{}: {why}", file.display()),
            "a genesis.json as go-ethereum's `geth init` takes it",
            "name the file with which the node was initialised",
        )
    })
}

fn parse(text: &str) -> Result<OwnNetwork, String> {
    let genesis: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let config = genesis["config"].as_object().ok_or("it has no config")?;
    let timestamp = uint(&genesis["timestamp"]).unwrap_or(0);
    let forks = |suffix: &str, after: u64| {
        let named = config.iter().filter(|(name, _)| name.ends_with(suffix));
        let mut forks: Vec<_> = named.filter_map(|(_, value)| uint(value)).collect();
        forks.retain(|fork| *fork > after);
        forks.sort_unstable();
        forks.dedup();
        forks
    };
    Ok(OwnNetwork {
        id: config
            .get("chainId")
            .and_then(uint)
            .ok_or("its config has no chainId")?,
        genesis: Hash::of(&header(&genesis, config, timestamp)?),
        fork_blocks: forks("Block", 0),
        fork_times: forks("Time", timestamp),
    })
}

/// The genesis block's header.
fn header(genesis: &Value, config: &Map<String, Value>, timestamp: u64) -> Result<Vec<u8>, String> {
    let has_at = |fork: &str, at: u64| {
        let fork = config.get(fork).and_then(uint);
        fork.is_some_and(|fork| fork <= at)
    };
    let field = |name: &str, length| match &genesis[name] {
        Value::Null => Ok(vec![0; length]),
        value => bytes(value)
            .filter(|bytes| bytes.len() == length)
            .ok_or(format!("{name} is not {length} bytes in hexadecimal")),
    };
    let number = |name: &str, default: u64| match &genesis[name] {
        Value::Null => Ok(default.to_be_bytes().to_vec()),
        value => quantity(value).ok_or(format!("{name} is no number")),
    };
    let ommers = Hash::of(&[0xc0]).0.to_vec();
    let empty = Hash::EMPTY_TRIE.0.to_vec();
    let difficulty = if config.contains_key("ethash") {
        DIFFICULTY
    } else {
        0
    };
    let nonce = number("nonce", 0)?;
    let mut list = List::default();
    list.string(&field("parentHash", 32)?);
    list.string(&ommers);
    list.string(&field("coinbase", 20)?);
    list.string(&state_root(&genesis["alloc"])?.0);
    list.string(&empty);
    list.string(&empty);
    list.string(&[0; 256]);
    list.uint(&number("difficulty", difficulty)?);
    list.uint(&number("number", 0)?);
    list.uint(&number("gasLimit", GAS_LIMIT)?);
    list.uint(&number("gasUsed", 0)?);
    list.uint(&timestamp.to_be_bytes());
    list.string(&bytes_or_none(&genesis["extraData"])?);
    list.string(&field("mixHash", 32)?);
    let mut eight = [0; 8];
    let digits = nonce.len().min(8);
    eight[8 - digits..].copy_from_slice(&nonce[nonce.len() - digits..]);
    list.string(&eight);
    if has_at("londonBlock", 0) {
        list.uint(&number("baseFeePerGas", BASE_FEE)?);
    }
    if has_at("shanghaiTime", timestamp) {
        list.string(&empty);
    }
    if has_at("cancunTime", timestamp) {
        list.uint(&number("blobGasUsed", 0)?);
        list.uint(&number("excessBlobGas", 0)?);
        list.string(&[0; 32]);
    }
    if has_at("pragueTime", timestamp) {
        list.string(&hex(NO_REQUESTS).unwrap_or_default());
    }
    if has_at("amsterdamTime", timestamp) {
        list.string(&ommers);
        list.uint(&number("slotNumber", 0)?);
    }
    Ok(list.finish())
}

/// The root of the state that the genesis block begins with.
fn state_root(alloc: &Value) -> Result<Hash, String> {
    let mut state = BTreeMap::new();
    for (address, account) in alloc.as_object().into_iter().flatten() {
        let of = |what: &str| format!("{what} of {address} in alloc cannot be read");
        let key = hex(address).filter(|key| key.len() == 20);
        let key = key.ok_or_else(|| of("the address"))?;
        let mut storage = BTreeMap::new();
        for (slot, value) in account["storage"].as_object().into_iter().flatten() {
            let slot = hex(slot).and_then(|slot| padded(&slot));
            let value = bytes(value).and_then(|value| padded(&value));
            let (Some(slot), Some(value)) = (slot, value) else {
                return Err(of("the storage"));
            };
            if value != [0; 32] {
                let mut encoded = List::default();
                encoded.uint(&value);
                storage.insert(Hash::of(&slot), encoded.0);
            }
        }
        let code = bytes_or_none(&account["code"]).map_err(|_| of("the code"))?;
        let mut list = List::default();
        let nonce = quantity(&account["nonce"]).unwrap_or_default();
        list.uint(&nonce);
        list.uint(&quantity(&account["balance"]).ok_or_else(|| of("the balance"))?);
        list.string(&root(&storage).0);
        list.string(&Hash::of(&code).0);
        state.insert(Hash::of(&key), list.finish());
    }
    Ok(root(&state))
}

fn root(entries: &BTreeMap<Hash, Vec<u8>>) -> Hash {
    let mut builder = HashBuilder::default();
    for (key, value) in entries {
        builder.add_leaf(Nibbles::unpack(key.0), value);
    }
    Hash(builder.root().0)
}

/// RLP items one after the other.
#[derive(Default)]
struct List(Vec<u8>);

impl List {
    fn string(&mut self, bytes: &[u8]) {
        let mut out = vec![0; string_length(bytes)];
        let written = Writer::new(&mut out).string(bytes);
        debug_assert!(written.is_ok(), "the room is that of the string");
        self.0.extend(out);
    }

    /// An integer, big-endian.
    fn uint(&mut self, digits: &[u8]) {
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        self.string(&digits[zeros..]);
    }

    fn finish(self) -> Vec<u8> {
        let mut out = vec![0; list_length(self.0.len())];
        let mut writer = Writer::new(&mut out);
        let written = writer.list(self.0.len()).and_then(|()| writer.raw(&self.0));
        debug_assert!(written.is_ok(), "the room is that of the list");
        out
    }
}

/// 32 bytes, the given ones at the end; `None` if there are more that are not zero.
fn padded(bytes: &[u8]) -> Option<[u8; 32]> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = &bytes[zeros..];
    let mut padded = [0; 32];
    let from = padded.len().checked_sub(digits.len())?;
    padded[from..].copy_from_slice(digits);
    Some(padded)
}

fn uint(value: &Value) -> Option<u64> {
    let bytes = quantity(value)?;
    let wide = padded(&bytes)?;
    let (high, low) = wide.split_at(24);
    let low = low.try_into().ok()?;
    high.iter()
        .all(|byte| *byte == 0)
        .then(|| u64::from_be_bytes(low))
}

/// A number, or the hexadecimal or decimal digits of one, as big-endian bytes.
fn quantity(value: &Value) -> Option<Vec<u8>> {
    let text = match value {
        Value::Number(number) => return Some(number.as_u64()?.to_be_bytes().to_vec()),
        Value::String(text) => text,
        _ => return None,
    };
    match text.strip_prefix("0x") {
        Some(digits) if digits.len() % 2 == 1 => hex(&format!("0{digits}")),
        Some(digits) => hex(digits),
        None => Some(text.parse::<u128>().ok()?.to_be_bytes().to_vec()),
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    hex(value.as_str()?)
}

fn bytes_or_none(value: &Value) -> Result<Vec<u8>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        value => bytes(value).ok_or_else(|| format!("{value} is not hexadecimal")),
    }
}

/// The bytes of hexadecimal digits, with `0x` before them or not.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let digit = |byte: u8| Some(char::from(byte).to_digit(16)? as u8);
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain that states nothing has go-ethereum's defaults, and an empty state.
    #[test]
    fn forks_are_sorted_each_once_and_without_those_of_the_genesis_block() {
        let network = parse(
            r#"{"config": {"chainId": 7, "ethash": {}, "homesteadBlock": 0, "berlinBlock": 9, "londonBlock": 5, "eip150Block": 5,
                "shanghaiTime": 10, "cancunTime": 30, "pragueTime": 20}, "timestamp": "0xa", "alloc": {}}"#,
        );
        let network = network.expect("a genesis");
        assert_eq!(network.fork_blocks, [5, 9]);
        assert_eq!(network.fork_times, [20, 30]);
        assert_eq!(network.id, 7);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, why) in [
            ("", "EOF"),
            ("{}", "no config"),
            (r#"{"config": {}}"#, "no chainId"),
            (
                r#"{"config": {"chainId": 1}, "mixHash": "0x12"}"#,
                "mixHash",
            ),
            (
                r#"{"config": {"chainId": 1}, "alloc": {"12": {}}}"#,
                "address",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{error}");
        }
    }
}
