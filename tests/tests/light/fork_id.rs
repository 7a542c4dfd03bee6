//! Fork identifiers (EIP-2124, EIP-6122): the published ones of known chains, and the rules by which they go together.
use devp2p_light::fork_id::{ForkId, ForkIdError, HOODI, MAINNET, Network, SEPOLIA};
use devp2p_light::primitives::Hash;

fn id(hash: u32, next: u64) -> ForkId {
    ForkId {
        hash: hash.to_be_bytes(),
        next,
    }
}

/// The forks of a chain as published: each hash, and the number or time at which it ends, in order.
fn assert_forks(network: &Network<'_>, published: &[(u32, u64)]) {
    let blocks = network.fork_blocks.len();
    assert_eq!(published.len(), blocks + network.fork_times.len() + 1);
    let mut begin = 0;
    for (i, &(hash, next)) in published.iter().enumerate() {
        let heads = match i {
            i if i < blocks => [(begin, 0), (next - 1, 0)],
            i if i == blocks => [
                (u64::MAX, 0),
                (begin.min(100_000_000), next.saturating_sub(1)),
            ],
            _ => [
                (u64::MAX, begin),
                (100_000_000, next.saturating_sub(1).max(begin)),
            ],
        };
        for (number, time) in heads {
            let found = network.fork_id(number, time);
            assert_eq!(found, id(hash, next), "fork {i} at {number}, {time}");
        }
        begin = next;
    }
}

#[test]
fn mainnet_has_its_published_fork_hashes() {
    assert_forks(
        &MAINNET,
        &[
            (0xfc64_ec04, 1_150_000),
            (0x97c2_c34c, 1_920_000),
            (0x91d1_f948, 2_463_000),
            (0x7a64_da13, 2_675_000),
            (0x3edd_5b10, 4_370_000),
            (0xa00b_c324, 7_280_000),
            (0x668d_b0af, 9_069_000),
            (0x879d_6e30, 9_200_000),
            (0xe029_e991, 12_244_000),
            (0x0eb4_40f6, 12_965_000),
            (0xb715_077d, 13_773_000),
            (0x20c3_27fc, 15_050_000),
            (0xf0af_d0e3, 1_681_338_455),
            (0xdce9_6c2d, 1_710_338_135),
            (0x9f3d_2254, 1_746_612_311),
            (0xc376_cf8b, 1_764_798_551),
            (0x5167_e2a6, 1_765_290_071),
            (0xcba2_a1c0, 1_767_747_671),
            (0x07c9_462e, 0),
        ],
    );
}

#[test]
fn sepolia_and_hoodi_have_their_published_fork_hashes() {
    assert_forks(
        &SEPOLIA,
        &[
            (0xfe33_66e7, 1_735_371),
            (0xb96c_bd13, 1_677_557_088),
            (0xf7f9_bc08, 1_706_655_072),
            (0x88cf_81d9, 1_741_159_776),
            (0xed88_b5fd, 1_760_427_360),
            (0xe2ae_4999, 1_761_017_184),
            (0x5607_8a1e, 1_761_607_008),
            (0x2689_56b6, 1_791_294_816),
            (0x6c1d_9423, 0),
        ],
    );
    assert_forks(
        &HOODI,
        &[
            (0xbef7_1d30, 1_742_999_832),
            (0x0929_e24e, 1_761_677_592),
            (0xe7e0_e7ff, 1_762_365_720),
            (0x3893_353e, 1_762_955_544),
            (0x23aa_1351, 0),
        ],
    );
}

/// Mainnet before forks at a time were thought of.
const BLOCKS_ONLY: Network<'static> = Network {
    fork_times: &[],
    ..MAINNET
};

/// Which remote is accepted from which head: number, time, hash, next, verdict.
type Case = (u64, u64, u32, u64, Result<(), ForkIdError>);

const STALE: Result<(), ForkIdError> = Err(ForkIdError::RemoteStale);
const INCOMPATIBLE: Result<(), ForkIdError> = Err(ForkIdError::IncompatibleOrStale);

fn assert_cases(network: &Network<'_>, cases: &[Case]) {
    for (i, &(number, time, hash, next, verdict)) in cases.iter().enumerate() {
        assert_eq!(
            network.check(id(hash, next), number, time),
            verdict,
            "case {i}"
        );
    }
}

/// The examples of EIP-2124's section "Validation rules", and those around them.
#[test]
fn forks_at_blocks_go_together_by_the_rules() {
    assert_cases(
        &BLOCKS_ONLY,
        &[
            // The same forks passed, none or an uncertain one announced.
            (15_050_000, 0, 0xf0af_d0e3, 0, Ok(())),
            (15_050_000, 0, 0xf0af_d0e3, u64::MAX, Ok(())),
            (7_279_999, 0, 0xa00b_c324, 0, Ok(())),
            (7_279_999, 0, 0xa00b_c324, 7_280_000, Ok(())),
            (7_279_999, 0, 0xa00b_c324, u64::MAX, Ok(())),
            // The remote is behind, and knows what comes next.
            (7_280_000, 0, 0xa00b_c324, 7_280_000, Ok(())),
            (7_987_396, 0, 0xa00b_c324, 7_280_000, Ok(())),
            (7_987_396, 0, 0x3edd_5b10, 4_370_000, Ok(())),
            // The remote is ahead.
            (7_279_999, 0, 0x668d_b0af, 0, Ok(())),
            (4_369_999, 0, 0xa00b_c324, 0, Ok(())),
            // The remote is behind, and does not know what came next.
            (7_987_396, 0, 0xa00b_c324, 0, STALE),
            // Forks that are not known here, and another chain.
            (7_987_396, 0, 0x5cdd_c0e1, 0, INCOMPATIBLE),
            (7_279_999, 0, 0x5cdd_c0e1, 0, INCOMPATIBLE),
            (7_987_396, 0, 0xafec_6b27, 0, INCOMPATIBLE),
            // The remote expects a fork that has passed here without being one.
            (88_888_888, 0, 0xf0af_d0e3, 88_888_888, INCOMPATIBLE),
            (7_279_999, 0, 0xa00b_c324, 7_279_999, INCOMPATIBLE),
        ],
    );
}

#[test]
fn forks_at_times_go_together_by_the_rules() {
    assert_cases(
        &MAINNET,
        &[
            // From forks at blocks to forks at times.
            (15_050_000, 0, 0xf0af_d0e3, 0, Ok(())),
            (15_050_000, 0, 0xf0af_d0e3, 1_681_338_455, Ok(())),
            (15_050_000, 0, 0xf0af_d0e3, u64::MAX, Ok(())),
            (
                20_000_000,
                1_681_338_455,
                0xf0af_d0e3,
                1_681_338_455,
                Ok(()),
            ),
            (20_000_000, 1_681_338_455, 0x20c3_27fc, 15_050_000, Ok(())),
            (15_050_000, 0, 0xdce9_6c2d, 0, Ok(())),
            (20_000_000, 1_681_338_455, 0xf0af_d0e3, 0, STALE),
            (
                888_888_888,
                1_660_000_000,
                0xf0af_d0e3,
                1_660_000_000,
                INCOMPATIBLE,
            ),
            (
                19_999_999,
                1_667_999_999,
                0xf0af_d0e3,
                1_667_999_999,
                INCOMPATIBLE,
            ),
            // Between forks at times.
            (20_000_000, 1_681_338_455, 0xdce9_6c2d, 0, Ok(())),
            (20_000_000, 1_681_338_455, 0xdce9_6c2d, u64::MAX, Ok(())),
            (
                21_000_000,
                1_710_338_135,
                0xdce9_6c2d,
                1_710_338_135,
                Ok(()),
            ),
            (0, 0, 0x9f3d_2254, 1_746_612_311, Ok(())),
            (21_000_000, 1_700_000_000, 0x9f3d_2254, 0, Ok(())),
            (21_000_000, 1_710_338_135, 0xdce9_6c2d, 0, STALE),
            (20_000_000, 1_681_338_455, 0x1234_5678, 0, INCOMPATIBLE),
            (
                88_888_888,
                8_888_888_888,
                0x07c9_462e,
                8_888_888_888,
                INCOMPATIBLE,
            ),
            (
                20_999_999,
                1_699_999_999,
                0x7114_7644,
                1_700_000_000,
                INCOMPATIBLE,
            ),
        ],
    );
}

/// A light client knows no head before the first answer: it says that it stands at the genesis block.
#[test]
fn a_node_at_the_genesis_block_goes_with_every_node_of_its_chain() {
    for network in [MAINNET, SEPOLIA, HOODI] {
        let ours = network.fork_id(0, 0);
        for (number, time) in [(0, 0), (2_000_000, 0), (30_000_000, 1_800_000_000)] {
            let theirs = network.fork_id(number, time);
            assert_eq!(
                network.check(ours, number, time),
                Ok(()),
                "as the remote sees it"
            );
            assert_eq!(network.check(theirs, 0, 0), Ok(()), "as it is seen here");
        }
        let other = Network {
            genesis: Hash([1; 32]),
            ..network
        };
        assert_eq!(network.check(other.fork_id(0, 0), 0, 0), INCOMPATIBLE);
    }
}
