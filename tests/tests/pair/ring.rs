//! What only a ring of a fixed size does.
use devp2p_core::code::LocalCode;
use devp2p_core::error::WriteError;
use devp2p_tests::fixture::protocol;
use devp2p_tests::kind::{Kind, Private, Rlpx};
use devp2p_tests::node::{Machine, Spec};
use devp2p_tests::random::Random;

#[test]
fn a_frame_that_the_ring_can_never_hold_is_too_large_for_try_write() {
    too_large_for_try_write::<Rlpx>();
    too_large_for_try_write::<Private>();
}

fn too_large_for_try_write<K: Kind>() {
    let protocols = [protocol("a", 4, 16 * 1024)];
    let mut pair = K::dial(&Spec::new(1, &protocols), &Spec::new(2, &protocols));
    pair.activate();
    let (now, session) = (pair.now, &mut pair.a.session);
    let payload = Random::new(1).bytes(1020);
    // With the framing that is more than 1024 bytes.
    assert_eq!(
        session.try_write(now, 0, LocalCode(0), &[&payload]),
        Err(WriteError::TooLarge),
    );
    assert_eq!(
        session.try_write(now, 0, LocalCode(0), &[&payload[..900]]),
        Ok(())
    );
    let writer = pair.a.write(0, 0, &payload);
    pair.settle();
    assert_eq!(pair.a.results(writer), [Ok(())], "but a write waits");
    assert_eq!(pair.b.payloads(0), [&payload[..900], &payload[..]]);
}
