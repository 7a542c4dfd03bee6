//! Two sessions over a perfect link.
use devp2p_core::capability::Protocol;
use devp2p_core::code::LocalCode;
use devp2p_core::config::{Config, Local};
use devp2p_core::rlpx::{Entropy, NodeKey};
use devp2p_core::session::{Event, Session, Storage, Write};
use devp2p_core::time::Instant;

fn pump(now: Instant, from: &mut Session<'_>, to: &mut Session<'_>) -> bool {
    let mut moved = false;
    loop {
        let mut bytes = from.output().to_vec();
        if bytes.is_empty() || !to.wants_input() {
            return moved;
        }
        let n = to.handle_input(now, &mut bytes);
        from.consume_output(now, n);
        moved |= n > 0;
    }
}

#[test]
fn two_sessions_agree_and_exchange_messages() {
    let protocols = [Protocol::new("echo", 1, 2, 4096).unwrap()];
    let keys = [
        NodeKey::new(&[1; 32]).unwrap(),
        NodeKey::new(&[2; 32]).unwrap(),
    ];
    let local = |key: &NodeKey| Local {
        id: *key.id(),
        client_name: "test",
        version: 5,
        listen_port: 0,
        protocols: &protocols,
    };
    let (mut a, mut b) = (
        (vec![0; 8192], vec![0; 1024], vec![0; 512]),
        (vec![0; 8192], vec![0; 1024], vec![0; 512]),
    );
    let now = Instant::ZERO;
    let entropy = |seed: u8| Entropy::new(&[seed; Entropy::LENGTH]);
    let mut a = Session::<4>::dial(
        *keys[1].id(),
        &keys[0],
        local(&keys[0]),
        Config::new(),
        Storage {
            inboxes: &mut a.0,
            ring: &mut a.1,
            table: &mut a.2,
        },
        entropy(3),
        now,
    )
    .unwrap();
    let mut b = Session::<4>::accept(
        &keys[1],
        local(&keys[1]),
        Config::new(),
        Storage {
            inboxes: &mut b.0,
            ring: &mut b.1,
            table: &mut b.2,
        },
        entropy(4),
        now,
    )
    .unwrap();
    let mut active = 0;
    for _ in 0..100 {
        for session in [&mut a, &mut b] {
            match session.poll(now) {
                Some(Event::Authenticated(_)) => session.admit(),
                Some(Event::Active) => active += 1,
                Some(event) => panic!("{event:?}"),
                None => {}
            }
        }
        pump(now, &mut a, &mut b);
        pump(now, &mut b, &mut a);
    }
    assert_eq!(active, 2);
    let payload: Vec<u8> = (0..3000u32).map(|i| ((i * i) >> 7) as u8).collect();
    let mut write = Write::new(0, LocalCode(1));
    let mut done = false;
    for _ in 0..100 {
        if !done {
            done = a
                .poll_write(now, &mut write, &[&payload], None)
                .map(Result::unwrap)
                .is_ready();
        }
        pump(now, &mut a, &mut b);
    }
    assert!(done);
    let message = b.peek(0).expect("delivered");
    assert_eq!(message.payload, Some(&payload[..]));
    assert_eq!(message.meta.code, LocalCode(1));
}
