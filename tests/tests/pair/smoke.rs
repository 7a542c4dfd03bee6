//! Two sessions over a perfect link.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_tests::fixture::protocol;
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::Kind;
use devp2p_tests::node::{Machine, Spec};

for_each_kind! {
    two_sessions_agree_exchange_messages_and_part,
}

fn two_sessions_agree_exchange_messages_and_part<K: Kind>() {
    let protocols = [protocol("echo", 2, 4096)];
    let mut pair = K::dial(&Spec::new(1, &protocols), &Spec::new(2, &protocols));
    pair.activate();
    let payload: Vec<u8> = (0..3000u32).map(|i| ((i * i) >> 7) as u8).collect();
    let there = pair.a.write(0, 1, &payload);
    let back = pair.b.write(0, 0, b"");
    pair.settle();
    assert_eq!(pair.a.results(there), [Ok(())]);
    assert_eq!(pair.b.results(back), [Ok(())]);
    assert_eq!(pair.b.payloads(0), [&payload[..]]);
    assert_eq!(pair.b.got(0)[0].code, 1);
    assert_eq!(pair.a.payloads(0), [b""]);

    let reason = DisconnectReason::TOO_MANY_PEERS;
    pair.a.session.close(pair.now, CloseReason::Local(reason));
    pair.close();
    assert_eq!(pair.a.close_reason(), Some(CloseReason::Local(reason)));
    assert_eq!(
        pair.b.close_reason(),
        Some(CloseReason::RemoteRequested(Some(reason)))
    );
}
