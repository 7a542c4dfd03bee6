//! The light client beside a peer that sends the input, whatever that is.
use core::hint::black_box;

use devp2p_core::time::Instant;
use devp2p_light::client::{
    AnyHead, Client, Config, Event, Graded, MAX_SENT, Proof, Protocol, Query,
};
use devp2p_light::evidence::TrustedHash;
use devp2p_light::fork_id::MAINNET;
use devp2p_light::primitives::{Address, Hash};

/// Follows headers, and proves an account, a slot of it, and its code.
pub(crate) fn exercise(input: &[u8]) -> u64 {
    let trusted = TrustedHash::new(Hash(*black_box(&[1; 32])));
    let mut client = Client::<32>::new(MAINNET, Some(trusted), Config::new());
    let mut out = [0; MAX_SENT];
    let mut now = Instant::ZERO;
    client.begin(now, black_box(69), true);
    for code in 0..0x16 {
        for protocol in [Protocol::Eth, Protocol::Snap] {
            now = Instant::from_micros(black_box(now.as_micros() + 1_000_000));
            while let Ok(Some(sent)) = client.poll(now, &mut out) {
                black_box((sent, &out));
            }
            if let Ok(event) = client.handle(now, protocol, code, input) {
                if let Some(query) = next_query(&client, &event) {
                    let _ = black_box(client.query(query));
                }
                black_box(event);
            }
            let _ = black_box(client.handle_oversize(protocol, code, black_box(7)));
            black_box(client.poll_at());
        }
    }
    client.trust(TrustedHash::new(Hash(*black_box(&[2; 32]))));
    client.chain().trusted_position().0
}

fn next_query(client: &Client<'_, 32>, event: &Event<'_>) -> Option<Query> {
    match event {
        Event::Proved(Proof::Account(account)) => Some(Query::Slot {
            account: *account,
            key: *black_box(&[3; 32]),
        }),
        Event::Proved(Proof::Slot(Graded::Trusted(slot))) => Some(Query::Code {
            account: Graded::Trusted(*slot.account()),
        }),
        _ => Some(Query::Account {
            head: AnyHead::Trusted(*client.chain().trusted()?),
            address: Address(*black_box(&[4; 20])),
        }),
    }
}
