//! Bytes for these tests: from hex, and RLP by the package `rlp`.
use devp2p_light::primitives::Hash;
use rlp::RlpStream;

/// The bytes of these hex digits.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits = digits.trim_start_matches("0x").as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit") as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// The hash of these hex digits.
pub(crate) fn hash(digits: &str) -> Hash {
    Hash(hex(digits).try_into().expect("32 bytes"))
}

/// A header of a made-up chain, as a proof-of-stake node of today encodes it.
#[derive(Debug, Clone)]
pub(crate) struct MadeHeader {
    pub(crate) parent: Hash,
    pub(crate) state_root: Hash,
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) extra: Vec<u8>,
}

impl MadeHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut stream = RlpStream::new_list(21);
        stream.append(&self.parent.0.as_slice());
        stream.append(&[1_u8; 32].as_slice());
        stream.append(&[2_u8; 20].as_slice());
        stream.append(&self.state_root.0.as_slice());
        stream.append(&[3_u8; 32].as_slice());
        stream.append(&[4_u8; 32].as_slice());
        stream.append(&[0_u8; 256].as_slice());
        stream.append(&0_u8);
        stream.append(&self.number);
        stream.append(&30_000_000_u64);
        stream.append(&0_u64);
        stream.append(&self.timestamp);
        stream.append(&self.extra.as_slice());
        stream.append(&[5_u8; 32].as_slice());
        stream.append(&[0_u8; 8].as_slice());
        stream.append(&7_u64);
        stream.append(&[6_u8; 32].as_slice());
        stream.append(&0_u64);
        stream.append(&0_u64);
        stream.append(&[7_u8; 32].as_slice());
        stream.append(&[8_u8; 32].as_slice());
        stream.out().to_vec()
    }

    pub(crate) fn hash(&self) -> Hash {
        Hash::of(&self.encode())
    }
}

/// The genesis block's header of Ethereum's main network.
pub(crate) fn mainnet_genesis() -> Vec<u8> {
    let mut stream = RlpStream::new_list(15);
    stream.append(&[0_u8; 32].as_slice());
    stream.append(&hex(
        "1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    ));
    stream.append(&[0_u8; 20].as_slice());
    stream.append(&hex(
        "d7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    ));
    for _ in 0..2 {
        stream.append(&Hash::EMPTY_TRIE.0.as_slice());
    }
    stream.append(&[0_u8; 256].as_slice());
    stream.append(&0x4_0000_0000_u64);
    stream.append(&0_u64);
    stream.append(&5000_u64);
    stream.append(&0_u64);
    stream.append(&0_u64);
    stream.append(&hex(
        "11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    ));
    stream.append(&[0_u8; 32].as_slice());
    stream.append(&hex("0000000000000042"));
    stream.out().to_vec()
}
