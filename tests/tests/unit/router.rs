//! Where a message goes by its code: every code at every edge of every range.

use devp2p_core::capability::Protocol;
use devp2p_core::code::{LocalCode, WireCode};
use devp2p_core::hello::RemoteCapability;
use devp2p_core::router::{Route, route};
use devp2p_core::shared_capabilities::SharedCapabilities;
use proptest::prelude::*;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A session that shares everything registered. Names are in ascending order.
fn table(lengths: &[u32]) -> SharedCapabilities<5> {
    let protocols: Vec<Protocol> = NAMES
        .iter()
        .zip(lengths)
        .map(|(name, length)| Protocol::new(name, 1, *length, 0).unwrap())
        .collect();
    let remote = NAMES.map(|name| RemoteCapability {
        name: name.as_bytes(),
        version: 1,
    });
    SharedCapabilities::new(&protocols, remote).unwrap()
}

fn subprotocol(subprotocol: usize, code: u32) -> Route {
    Route::Subprotocol {
        subprotocol,
        code: LocalCode(code),
    }
}

/// The rule, code by code: 16 of the base protocol, then as many as each subprotocol owns, then nobody's.
fn expected(lengths: &[u32], code: u64) -> Route {
    if code < 4 {
        return Route::Base(WireCode(code as u32));
    }
    if code < 16 {
        return Route::Reserved;
    }
    let mut offset = 16;
    for (index, length) in lengths.iter().enumerate() {
        let end = offset + u64::from(*length);
        if (offset..end).contains(&code) {
            return subprotocol(index, (code - offset) as u32);
        }
        offset = end;
    }
    Route::OutOfRange
}

#[test]
fn the_base_protocol_owns_four_codes_and_reserves_twelve() {
    for lengths in [&[][..], &[1][..], &[0, 7][..]] {
        let shared = table(lengths);
        assert_eq!(route(&shared, 0), Route::Base(WireCode::HELLO));
        assert_eq!(route(&shared, 1), Route::Base(WireCode::DISCONNECT));
        assert_eq!(route(&shared, 2), Route::Base(WireCode::PING));
        assert_eq!(route(&shared, 3), Route::Base(WireCode::PONG));
        for code in 4..16 {
            assert_eq!(route(&shared, code), Route::Reserved, "{code:#x}");
        }
    }
}

#[test]
fn every_code_of_a_session_has_its_owner() {
    let lengths = [5, 0, 1, 17, 33];
    let shared = table(&lengths);
    for code in 0..1 << 16 {
        assert_eq!(
            route(&shared, code),
            expected(&lengths, code),
            "code {code:#x}"
        );
    }
    assert_eq!(route(&shared, 16), subprotocol(0, 0));
    assert_eq!(route(&shared, 20), subprotocol(0, 4));
    assert_eq!(route(&shared, 21), subprotocol(2, 0));
    assert_eq!(route(&shared, 22), subprotocol(3, 0));
    assert_eq!(route(&shared, 71), subprotocol(4, 32));
    assert_eq!(route(&shared, 72), Route::OutOfRange);
}

#[test]
fn a_session_that_shares_nothing_owns_the_base_protocol_only() {
    let shared = SharedCapabilities::<5>::empty();
    assert_eq!(route(&shared, 15), Route::Reserved);
    assert_eq!(route(&shared, 16), Route::OutOfRange);
}

#[test]
fn a_code_above_32_bits_is_not_taken_for_its_low_half() {
    let shared = table(&[5, 7]);
    for high in [1u64 << 32, 1 << 33, 1 << 63, u64::MAX << 32] {
        for low in 0..64 {
            assert_eq!(route(&shared, high | low), Route::OutOfRange, "{low:#x}");
        }
    }
    assert_eq!(route(&shared, u64::MAX), Route::OutOfRange);
    assert_eq!(route(&shared, u64::from(u32::MAX)), Route::OutOfRange);
}

#[test]
fn a_subprotocol_may_own_every_code_that_there_is() {
    let shared = table(&[u32::MAX - 16]);
    let last = u64::from(u32::MAX);
    assert_eq!(route(&shared, last - 1), subprotocol(0, u32::MAX - 17));
    assert_eq!(route(&shared, last), Route::OutOfRange);
    assert_eq!(route(&shared, last + 1), Route::OutOfRange);
}

proptest! {
    #[test]
    fn every_edge_of_every_range(
        lengths in proptest::collection::vec(
            prop_oneof![Just(0), Just(1), 0u32..40, 0u32..0x3000_0000],
            0..=5,
        ),
        anywhere: u64,
    ) {
        let shared = table(&lengths);
        let mut edge = 16;
        let mut codes = vec![anywhere, u64::from(anywhere as u32)];
        for length in &lengths {
            codes.extend([edge - 1, edge, edge + 1]);
            edge += u64::from(*length);
        }
        codes.extend([edge - 1, edge, edge + 1]);
        for code in codes {
            prop_assert_eq!(route(&shared, code), expected(&lengths, code), "code {:#x}", code);
        }
    }
}
