//! The fork identifier: which forks a node has passed, and which it expects (EIP-2124; EIP-6122 for forks at a time).

use core::fmt;

use crate::primitives::Hash;

/// Forks at a number below this are at a block, at or above it at a time: the time of mainnet's genesis block (EIP-6122).
const FIRST_TIMESTAMP: u64 = 1_438_269_973;

/// What a node says of its forks: four bytes that depend on every fork it has passed, and the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ForkId {
    /// CRC-32 of the genesis hash and the numbers or times of the forks passed.
    pub hash: [u8; 4],
    /// The number or time of the next fork that the node knows of; zero if it knows of none.
    pub next: u64,
}

/// A chain: what tells it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network<'a> {
    /// The number that Status states.
    pub id: u64,
    /// The hash of the genesis block.
    pub genesis: Hash,
    /// Numbers of the blocks with which rules change: ascending, each once, without zero.
    pub fork_blocks: &'a [u64],
    /// Times, in seconds since the Unix epoch, from which on rules change: ascending, each once, all later than the genesis
    /// block's.
    pub fork_times: &'a [u64],
}

/// Ethereum's main network, with the forks that were scheduled in November 2026.
pub const MAINNET: Network<'static> = Network {
    id: 1,
    genesis: Hash([
        0xd4, 0xe5, 0x67, 0x40, 0xf8, 0x76, 0xae, 0xf8, 0xc0, 0x10, 0xb8, 0x6a, 0x40, 0xd5, 0xf5,
        0x67, 0x45, 0xa1, 0x18, 0xd0, 0x90, 0x6a, 0x34, 0xe6, 0x9a, 0xec, 0x8c, 0x0d, 0xb1, 0xcb,
        0x8f, 0xa3,
    ]),
    fork_blocks: &[
        1_150_000, 1_920_000, 2_463_000, 2_675_000, 4_370_000, 7_280_000, 9_069_000, 9_200_000,
        12_244_000, 12_965_000, 13_773_000, 15_050_000,
    ],
    fork_times: &[
        1_681_338_455,
        1_710_338_135,
        1_746_612_311,
        1_764_798_551,
        1_765_290_071,
        1_767_747_671,
    ],
};

/// The test network Sepolia, with the forks that were scheduled in November 2026.
pub const SEPOLIA: Network<'static> = Network {
    id: 11_155_111,
    genesis: Hash([
        0x25, 0xa5, 0xcc, 0x10, 0x6e, 0xea, 0x71, 0x38, 0xac, 0xab, 0x33, 0x23, 0x1d, 0x71, 0x60,
        0xd6, 0x9c, 0xb7, 0x77, 0xee, 0x0c, 0x2c, 0x55, 0x3f, 0xcd, 0xdf, 0x51, 0x38, 0x99, 0x3e,
        0x6d, 0xd9,
    ]),
    fork_blocks: &[1_735_371],
    fork_times: &[
        1_677_557_088,
        1_706_655_072,
        1_741_159_776,
        1_760_427_360,
        1_761_017_184,
        1_761_607_008,
        1_791_294_816,
    ],
};

/// The test network Hoodi, with the forks that were scheduled in November 2026.
pub const HOODI: Network<'static> = Network {
    id: 560_048,
    genesis: Hash([
        0xbb, 0xe3, 0x12, 0x86, 0x8b, 0x37, 0x6a, 0x30, 0x01, 0x69, 0x2a, 0x64, 0x6d, 0xd2, 0xd7,
        0xd1, 0xe4, 0x40, 0x63, 0x80, 0xdf, 0xd8, 0x6b, 0x98, 0xaa, 0x8a, 0x34, 0xd1, 0x55, 0x7c,
        0x97, 0x1b,
    ]),
    fork_blocks: &[],
    fork_times: &[1_742_999_832, 1_761_677_592, 1_762_365_720, 1_762_955_544],
};

/// Why a remote's fork identifier does not go with ours (EIP-2124, "Validation rules").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ForkIdError {
    /// The remote has not passed a fork that our head has passed, and does not expect it: its software is too old.
    RemoteStale,
    /// The remote has passed, or expects, a fork that is not known here where it should be: another chain, or our list of forks
    /// is too old.
    IncompatibleOrStale,
}

impl fmt::Display for ForkIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RemoteStale => "the remote does not know of a fork that has passed",
            Self::IncompatibleOrStale => {
                "the remote is on other forks: another chain, or forks that are not known here"
            }
        })
    }
}

impl core::error::Error for ForkIdError {}

impl Network<'_> {
    /// The fork identifier of a node whose latest block has this number and time.
    pub fn fork_id(&self, number: u64, time: u64) -> ForkId {
        let mut crc = Crc::of(&self.genesis.0);
        for (fork, head) in self.forks(number, time) {
            if fork > head {
                return ForkId {
                    hash: crc.bytes(),
                    next: fork,
                };
            }
            crc = crc.with(&fork.to_be_bytes());
        }
        ForkId {
            hash: crc.bytes(),
            next: 0,
        }
    }

    /// Whether a remote with this fork identifier can be on the same chain, seen from a latest block with this number and time.
    ///
    /// # Errors
    /// [`ForkIdError`].
    pub fn check(&self, remote: ForkId, number: u64, time: u64) -> Result<(), ForkIdError> {
        let mut crc = Crc::of(&self.genesis.0);
        let mut is_ahead = false;
        for (fork, head) in self.forks(number, time).chain([(u64::MAX, 0)]) {
            let is_passed = head >= fork;
            let is_same = crc.bytes() == remote.hash;
            if is_ahead {
                // Rule 3: the remote has passed forks that we expect.
                if is_same {
                    return Ok(());
                }
            } else if is_passed {
                // Rule 2: the remote has passed less, and must expect what comes next.
                if is_same {
                    return match remote.next == fork {
                        true => Ok(()),
                        false => Err(ForkIdError::RemoteStale),
                    };
                }
            } else if is_same {
                // Rule 1: both have passed the same. A fork that the remote expects must not have passed here.
                let passed_here = number_or_time(self, remote.next, number, time);
                return match remote.next > 0 && passed_here {
                    true => Err(ForkIdError::IncompatibleOrStale),
                    false => Ok(()),
                };
            } else {
                is_ahead = true;
            }
            crc = crc.with(&fork.to_be_bytes());
        }
        Err(ForkIdError::IncompatibleOrStale)
    }

    /// Every fork, and the number or time of the head that it is compared with.
    fn forks(&self, number: u64, time: u64) -> impl Iterator<Item = (u64, u64)> {
        let at_block = self.fork_blocks.iter().map(move |fork| (*fork, number));
        let at_time = self.fork_times.iter().map(move |fork| (*fork, time));
        at_block.chain(at_time)
    }
}

/// Whether the head has passed a fork of which nobody said whether it is at a block or at a time.
fn number_or_time(network: &Network<'_>, fork: u64, number: u64, time: u64) -> bool {
    // Once every fork at a block has passed, the next is at a time, whatever its size.
    let blocks_are_over =
        !network.fork_times.is_empty() && network.fork_blocks.iter().all(|block| number >= *block);
    let head = if blocks_are_over { time } else { number };
    head >= fork || (fork > FIRST_TIMESTAMP && time >= fork)
}

/// CRC-32 as zlib has it (IEEE 802.3), without a table: it is asked for a few hundred bytes in a session's life.
#[derive(Clone, Copy)]
struct Crc(u32);

impl Crc {
    fn of(bytes: &[u8]) -> Self {
        Self(u32::MAX).with(bytes)
    }

    fn with(self, bytes: &[u8]) -> Self {
        let crc = bytes.iter().fold(self.0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        });
        Self(crc)
    }

    fn bytes(self) -> [u8; 4] {
        (!self.0).to_be_bytes()
    }
}
