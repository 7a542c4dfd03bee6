//! Every future dropped at every await point: polled n times and then dropped, at once or when it is woken again, for every n
//! until it gets through. After it the session is in step, or closed with the documented cause.

use std::cell::Cell;
use std::rc::Rc;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_embassy::{PeerEvent, ReadError};
use devp2p_tests::embassy_node::{Spec, Two};
use devp2p_tests::embassy_pipe::Shape;
use devp2p_tests::embassy_sim::{Drops, Sim, millis, poll_and_drop, poll_times};
use devp2p_tests::random::Random;

use crate::again::Handle;
use crate::basics::{LARGEST, ask, serve};

/// A wire so narrow that everything waits often.
const NARROW: Shape = Shape {
    capacity: 48,
    chunk: 16,
};

const BOTH: [Drops; 2] = [Drops::Now, Drops::Woken];

fn two() -> Two {
    Two::new(&Spec::new(1), &Spec::new(2), NARROW)
}

fn spawn_server(sim: &mut Sim, mut handle: Handle) {
    sim.spawn("serves", async move {
        let mut side = handle.session().await.expect("shared");
        serve(&mut side).await
    });
}

/// Sends numbered messages, some together and some with pauses.
fn spawn_source(sim: &mut Sim, mut handle: Handle, messages: u32) {
    sim.spawn("source", async move {
        let mut side = handle.session().await.expect("shared");
        let mut random = Random::new(7);
        for i in 0..messages {
            let mut payload = random.bytes(4 + random.clone().index(300));
            payload[..4].copy_from_slice(&i.to_be_bytes());
            side.write(0, &payload).await.expect("written");
            if random.one_in(3) {
                millis(1 + random.below(3)).await;
            }
        }
        side.flush().await.expect("flushed");
        side.read(&mut []).await
    });
}

#[test]
fn session() {
    for drops in BOTH {
        for n in 0..4 {
            let Two {
                mut sim, mut a, b, ..
            } = two();
            spawn_server(&mut sim, b.echo);
            sim.block_on(async move {
                // Dropped again and again while the session comes to be.
                for _ in 0..20 {
                    match poll_and_drop(n, drops, a.echo.session()).await {
                        Some(side) => {
                            ask(&mut side.expect("shared"), b"in step").await;
                            return;
                        }
                        None => millis(1).await,
                    }
                }
                let mut side = a.echo.session().await.expect("shared");
                ask(&mut side, b"in step").await;
            });
            assert_eq!(
                sim.join(a.run).reason,
                CloseReason::ProtocolReturned { subprotocol: 0 }
            );
        }
    }
}

#[test]
fn read() {
    const MESSAGES: u32 = 60;
    for drops in BOTH {
        for n in 0..5 {
            let Two {
                mut sim, mut a, b, ..
            } = two();
            spawn_source(&mut sim, b.echo, MESSAGES);
            sim.block_on(async move {
                let mut side = a.echo.session().await.expect("shared");
                let mut buffer = [0; LARGEST];
                for i in 0..MESSAGES {
                    let mut message = None;
                    while message.is_none() {
                        buffer[..4].fill(0xff);
                        message = poll_and_drop(n, drops, side.read(&mut buffer)).await;
                        if n == 0 {
                            message = side.try_read(&mut buffer).transpose();
                        }
                        millis(1).await;
                    }
                    message.expect("some").expect("a message");
                    assert_eq!(buffer[..4], i.to_be_bytes(), "{n} {drops:?}");
                }
            });
        }
    }
}

#[test]
fn read_with() {
    const MESSAGES: u32 = 60;
    for drops in BOTH {
        for n in 1..5 {
            let Two {
                mut sim, mut a, b, ..
            } = two();
            spawn_source(&mut sim, b.echo, MESSAGES);
            sim.block_on(async move {
                let mut side = a.echo.session().await.expect("shared");
                let called = Cell::new(0);
                for i in 0..MESSAGES {
                    let mut number = None;
                    while number.is_none() {
                        let read = side.read_with(|message| {
                            called.set(called.get() + 1);
                            let number = message.payload.and_then(|p| p.first_chunk());
                            u32::from_be_bytes(*number.expect("four bytes"))
                        });
                        number = poll_and_drop(n, drops, read).await;
                        millis(1).await;
                    }
                    assert_eq!(number, Some(Ok(i)), "{n} {drops:?}");
                    assert_eq!(called.get(), i + 1);
                }
            });
        }
    }
}

#[test]
fn write() {
    let (mut clean, mut abandoned) = (0, 0);
    for drops in BOTH {
        for n in 0.. {
            let Two {
                mut sim,
                mut a,
                b,
                wires,
            } = two();
            spawn_server(&mut sim, b.echo);
            spawn_server(&mut sim, b.sense);
            let mut random = Random::new(n as u64);
            let large = random.bytes(LARGEST);
            let (echo, sense) = sim.block_on(async move {
                let echo = a.echo.session().await.expect("shared");
                let sense = a.sense.session().await.expect("shared");
                (echo, sense)
            });
            // Another one has the token and needs many polls, so that we wait for it first.
            let sent = large.clone();
            let other = sim.spawn("other", async move {
                let mut sense = sense;
                let written = sense.write(0, &sent).await;
                (written, sense)
            });
            wires[0].stall(true);
            sim.settle();
            wires[0].stall(false);
            let sent = random.bytes(1500);
            let dropping = sim.spawn("dropping", async move {
                let mut echo = echo;
                let written = poll_and_drop(n, drops, echo.write(0, &sent)).await;
                (written, echo)
            });
            let (written, mut echo) = sim.join(dropping);
            if let Some(written) = written {
                written.expect("written");
                drop(echo);
                assert!(clean > 0 && abandoned > 3, "{clean} {abandoned}");
                break;
            }
            sim.settle();
            let reason = a.peer.try_info().expect("free").close_reason;
            let (other_written, mut sense) = sim.join(other);
            if reason.is_none() {
                clean += 1;
                // The message was not sent, and nothing else is lost.
                other_written.expect("written");
                sim.block_on(async move {
                    let mut buffer = [0; LARGEST];
                    let message = sense.read(&mut buffer).await.expect("an answer");
                    assert_eq!(buffer[..message.length], large);
                    ask(&mut echo, b"in step").await;
                    ask(&mut sense, b"in step").await;
                });
                let counters = b.peer.try_counters(0).expect("free");
                assert_eq!(counters.received.messages, 1, "{n} {drops:?}");
            } else {
                abandoned += 1;
                assert_eq!(reason, Some(CloseReason::WriteAbandoned), "{n} {drops:?}");
                drop((echo, sense));
                assert_eq!(sim.join(a.run).reason, CloseReason::WriteAbandoned);
                let theirs = sim.join(b.run).reason;
                let cut = CloseReason::Transport(TransportError::EndOfStream);
                assert_eq!(theirs, cut);
                let counters = b.peer.try_counters(0).expect("free");
                assert_eq!(counters.received.messages, 0);
            }
        }
    }
}

#[test]
fn flush() {
    for drops in BOTH {
        for n in 0.. {
            let Two {
                mut sim, mut a, b, ..
            } = two();
            spawn_server(&mut sim, b.echo);
            let through = sim.block_on(async move {
                let mut side = a.echo.session().await.expect("shared");
                let payload = Random::new(1).bytes(900);
                side.write(0, &payload).await.expect("written");
                let flushed = poll_and_drop(n, drops, side.flush()).await;
                side.flush().await.expect("flushed");
                let mut buffer = [0; LARGEST];
                let message = side.read(&mut buffer).await.expect("an answer");
                assert_eq!(buffer[..message.length], payload);
                ask(&mut side, b"in step").await;
                flushed.is_some()
            });
            if through {
                assert!(n > 1, "it had to wait");
                break;
            }
        }
    }
}

#[test]
fn closed() {
    for drops in BOTH {
        for n in 0..4 {
            let Two {
                mut sim, mut a, b, ..
            } = two();
            spawn_server(&mut sim, b.echo);
            let peer = a.peer;
            let reason = sim.block_on(async move {
                let mut side = a.echo.session().await.expect("shared");
                let dropped = async {
                    poll_and_drop(n, drops, peer.closed()).await;
                };
                embassy_futures::join::join(dropped, async {
                    ask(&mut side, b"in step").await;
                    peer.disconnect(DisconnectReason::REQUESTED);
                })
                .await;
                peer.closed().await
            });
            assert_eq!(reason, CloseReason::Local(DisconnectReason::REQUESTED));
            assert_eq!(sim.join(a.run).reason, reason);
        }
    }
}

#[test]
fn event() {
    for drops in BOTH {
        for n in 0..4 {
            let Two {
                mut sim, mut a, b, ..
            } = two();
            spawn_server(&mut sim, b.echo);
            let mut events = a.peer.events().expect("a place");
            let taken = sim.spawn("events", async move {
                let mut all = Vec::new();
                while all.len() < 2 {
                    all.extend(poll_and_drop(n, drops, events.next()).await);
                    if n == 0 {
                        all.extend(events.try_next().transpose());
                    }
                    millis(1).await;
                }
                all
            });
            sim.block_on(async move {
                let mut side = a.echo.session().await.expect("shared");
                ask(&mut side, b"in step").await;
            });
            let [Ok(PeerEvent::Added(_)), Ok(PeerEvent::Dropped(reason))] = sim.join(taken)[..]
            else {
                panic!("other events");
            };
            assert_eq!(reason, sim.join(a.run).reason);
        }
    }
}

#[test]
fn info_and_counters() {
    let Two {
        mut sim, mut a, b, ..
    } = two();
    spawn_server(&mut sim, b.echo);
    let peer = a.peer;
    sim.block_on(async move {
        let mut side = a.echo.session().await.expect("shared");
        for n in 0..2 {
            assert_eq!(poll_times(n, peer.info()).await.is_some(), n > 0);
            assert_eq!(poll_times(n, peer.counters(0)).await.is_some(), n > 0);
            ask(&mut side, b"in step").await;
        }
    });
}

#[test]
fn dial() {
    // The nodes stay, so that each session is with handles that saw all those before.
    let mut sim = Sim::new();
    let mut nodes = crate::again::Nodes::new(NARROW);
    let mut echo = crate::again::echoing(&mut sim, &mut nodes);
    let active = Rc::new(Cell::new(0));
    let count = Rc::clone(&active);
    sim.spawn("client", async move {
        loop {
            let mut side = echo.session().await.expect("shared");
            count.set(count.get() + 1);
            let mut buffer = [0; LARGEST];
            let payload = Random::new(1).bytes(700);
            let error = loop {
                if side.write(0, &payload).await.is_err() {
                    break side.read(&mut buffer).await;
                }
                match side.read(&mut buffer).await {
                    Ok(message) => assert_eq!(buffer[..message.length], payload),
                    error => break error,
                }
            };
            assert_eq!(
                error,
                Err(ReadError::Closed(CloseReason::Transport(
                    TransportError::Io
                )))
            );
        }
    });
    let peer = nodes.b.peer;
    sim.block_on(async move {
        for n in 1..200 {
            // `a` goes away alone: `b` finds the end of the stream, or had not begun.
            let (near, far, _) = devp2p_tests::embassy_pipe::pipe(NARROW);
            let remote = nodes.b.id;
            let (a, b) = (&mut nodes.a, &mut nodes.b);
            let dial = async {
                let (mut reader, mut writer) = (near.reader, near.writer);
                let run = a.runner.dial(remote, &mut a.rng, &mut reader, &mut writer);
                assert!(poll_times(n, run).await.is_none());
            };
            let accept = async {
                let (mut reader, mut writer) = (far.reader, far.writer);
                b.runner
                    .accept(&mut b.rng, &mut reader, &mut writer, |_| Ok(()))
                    .await
            };
            let ((), ended) = embassy_futures::join::join(dial, accept).await;
            let cut = CloseReason::Transport(TransportError::EndOfStream);
            assert_eq!(ended.reason, cut, "{n}");
            assert_eq!(peer.closed().await, cut);
        }
    });
    assert!(active.get() > 20, "{}", active.get());
}
