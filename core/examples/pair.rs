//! Two sessions over two byte queues and one clock, with every call that a driver must make.
use devp2p_core::capability::Protocol;
use devp2p_core::code::LocalCode;
use devp2p_core::config::{Config, Local};
use devp2p_core::error::{CloseReason, TransportError::EndOfStream};
use devp2p_core::rlpx::{Entropy, NodeKey};
use devp2p_core::session::{Event, Session, Storage};
use devp2p_core::time::{Instant, PollAt};

/// One side over its memory, without a session yet.
fn side(key: &'static NodeKey) -> Session<'static> {
    let protocol = Protocol::new("echo", 1, 2, 2048).expect("a name");
    let local = Local {
        id: *key.id(),
        client_name: "pair",
        version: 5,
        listen_port: 0,
        protocols: vec![protocol].leak(),
    };
    let (inboxes, ring, table) = (
        vec![0; 4096].leak(),
        vec![0; 1024].leak(),
        vec![0; 512].leak(),
    );
    let storage = Storage {
        inboxes,
        ring,
        table,
    };
    Session::idle(key, local, Config::new(), storage).expect("memory enough")
}

/// Lets it proceed: `from` is what its transport has for it, `to` what its transport took.
fn drive(it: &mut Session, now: Instant, from: &mut Vec<u8>, to: &mut Vec<u8>) -> Option<Event> {
    if it.wants_input() {
        let n = it.handle_input(now, from);
        from.drain(..n);
    }
    let event = it.poll(now);
    if let Some(Event::Authenticated(_remote)) = event {
        it.admit();
    }
    to.extend(it.output());
    it.consume_output(now, it.output().len());
    std::iter::from_fn(|| it.next_wake()).for_each(|task| task.wake());
    event
}

fn main() {
    let key = |byte| &*Box::leak(Box::new(NodeKey::new(&[byte; 32]).expect("a secret")));
    let (ours, theirs) = (key(1), key(2));
    let (mut a, mut b, mut to_a, mut to_b) = (side(ours), side(theirs), vec![], vec![]);
    // In earnest, from a cryptographic generator.
    let entropy = |seed| Entropy::new(&std::array::from_fn(|at| seed ^ at as u8));
    let mut now = Instant::ZERO;
    a.start_dial(*theirs.id(), entropy(1), now);
    b.start_accept(entropy(2), now);
    loop {
        let first = drive(&mut a, now, &mut to_a, &mut to_b);
        let events = (first, drive(&mut b, now, &mut to_b, &mut to_a));
        if let Some(message) = b.peek(0) {
            assert_eq!(message.payload, Some(&b"hi"[..]));
            b.pop(0);
            a.close(now, CloseReason::ProtocolReturned { subprotocol: 0 });
        }
        match events {
            (Some(Event::Active), _) => a.try_write(now, 0, LocalCode(0), &[b"hi"]).expect("room"),
            // The transport's two directions end one after the other.
            (Some(Event::HalfClose), _) => b.handle_end(now, EndOfStream),
            (_, Some(Event::Closed(_))) => a.handle_end(now, EndOfStream),
            (Some(Event::Closed(reason)), _) => return println!("{reason}"),
            // Where nothing moves, the clock goes on to the next deadline.
            (None, None) if to_a.is_empty() && to_b.is_empty() && !a.peer().is_closing() => {
                if let PollAt::At(next) = a.poll_at().min(b.poll_at()) {
                    now = next;
                }
            }
            _ => {}
        }
    }
}
