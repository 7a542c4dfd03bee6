//! Handles on several executors: the session found taken.

use std::pin::pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_tests::embassy_node::{Node, Spec, Two};
use devp2p_tests::embassy_pipe::{Shape, pipe};
use devp2p_tests::embassy_sim::Sim;
use devp2p_tests::random::Random;
use devp2p_tests::wake::Counter;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;

use crate::basics::LARGEST;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// An executor of one task on this thread, which is polled only when it was woken.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Runs it on a thread of its own; a hang fails.
struct Threads(
    mpsc::Sender<&'static str>,
    mpsc::Receiver<&'static str>,
    u32,
);

impl Threads {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self(sender, receiver, 0)
    }

    fn spawn(&mut self, name: &'static str, f: impl FnOnce() + Send + 'static) {
        let done = self.0.clone();
        self.2 += 1;
        thread::spawn(move || {
            f();
            let _ = done.send(name);
        });
    }

    fn join(self) {
        let Self(sender, receiver, mut left) = self;
        drop(sender);
        let mut done = Vec::new();
        while left > 0 {
            match receiver.recv_timeout(Duration::from_secs(120)) {
                Ok(name) => done.push(name),
                Err(error) => panic!("{error}; done so far: {done:?}"),
            }
            left -= 1;
        }
    }
}

#[test]
fn runner_and_handles_each_on_an_executor_of_their_own() {
    const MESSAGES: usize = 300;
    let _clock = Sim::clock();
    let (mut near, mut far, _) = pipe(Shape {
        capacity: 700,
        chunk: 300,
    });
    let mut threads = Threads::new();
    let a: Node<CriticalSectionRawMutex> = Spec::new(1).build();
    let b: Node<CriticalSectionRawMutex> = Spec::new(2).build();
    let (remote, peer_a, peer_b) = (b.id, a.peer, b.peer);
    let requested = CloseReason::Local(DisconnectReason::REQUESTED);
    let (mut runner_a, mut rng_a) = (a.runner, a.rng);
    threads.spawn("a runs", move || {
        let run = runner_a.dial(remote, &mut rng_a, &mut near.reader, &mut near.writer);
        fn is_send<T: Send>(value: T) -> T {
            value
        }
        assert_eq!(block_on(is_send(run)).reason, requested);
    });
    let (mut runner_b, mut rng_b) = (b.runner, b.rng);
    threads.spawn("b runs", move || {
        let (reader, writer) = (&mut far.reader, &mut far.writer);
        let run = runner_b.accept(&mut rng_b, reader, writer, |_| Ok(()));
        let reason = block_on(run).reason;
        assert!(reason.is_remote_requested(), "{reason:?}");
    });
    for (name, mut handle) in [("b echo", b.echo), ("b sense", b.sense)] {
        threads.spawn(name, move || {
            block_on(async {
                let mut side = handle.session().await.expect("shared");
                let mut buffer = [0; LARGEST];
                while let Ok(message) = side.read(&mut buffer).await {
                    if side.write(1, &buffer[..message.length]).await.is_err() {
                        break;
                    }
                }
            });
        });
    }
    // The last one to finish ends the session.
    let left = Arc::new(Mutex::new(2));
    for (seed, name, mut handle) in [(1, "a echo", a.echo), (2, "a sense", a.sense)] {
        let left = Arc::clone(&left);
        threads.spawn(name, move || {
            block_on(async {
                let mut side = handle.session().await.expect("shared");
                let mut random = Random::new(seed);
                for _ in 0..MESSAGES {
                    let size = random.index(600);
                    let payload = random.bytes(size);
                    side.write(0, &payload).await.expect("written");
                    let echoed = side
                        .read_with(|message| message.payload == Some(&payload[..]))
                        .await;
                    assert_eq!(echoed, Ok(true));
                    side.flush().await.expect("flushed");
                }
                let mut left = left.lock().expect("no panic");
                *left -= 1;
                if *left == 0 {
                    peer_a.disconnect(DisconnectReason::REQUESTED);
                }
                drop(left);
                let end = side.read_with(|_| ()).await;
                assert_eq!(end, Err(devp2p_embassy::ReadError::Closed(requested)));
            });
        });
    }
    // Tasks that only look and wait.
    for name in ["a looks", "a looks too"] {
        threads.spawn(name, move || {
            block_on(async {
                let mut events = peer_a.events().expect("a place");
                while peer_a.info().await.sessions == 0 {
                    let _ = events.next().await;
                }
                for _ in 0..MESSAGES {
                    let _ = peer_a.counters(0).await;
                    let _ = peer_a.try_info();
                }
                assert_eq!(peer_a.closed().await, requested);
            });
        });
    }
    threads.join();
    for peer in [peer_a, peer_b] {
        for subprotocol in 0..2 {
            let counters = peer.try_counters(subprotocol).expect("free");
            assert_eq!(counters.received.messages as usize, MESSAGES);
            assert_eq!(counters.sent_messages as usize, MESSAGES);
        }
    }
}

#[test]
fn who_finds_the_session_taken_is_woken_when_it_is_released() {
    let Two {
        mut sim,
        mut a,
        mut b,
        ..
    } = Two::plain();
    let peer = a.peer;
    // The closure of a read holds the session: what others do meanwhile finds it taken.
    let reason = sim.block_on(async move {
        let mut echo = a.echo.session().await.expect("shared");
        let mut sense = a.sense.session().await.expect("shared");
        let mut remote = b.echo.session().await.expect("shared");
        remote.write(0, b"hold").await.expect("written");
        remote.flush().await.expect("flushed");
        let counters: [Arc<Counter>; 5] = std::array::from_fn(|_| Counter::new());
        let wakers = counters.each_ref().map(Counter::waker);
        let mut contexts = wakers.each_ref().map(Context::from_waker);
        let (mut buffer, mut other) = ([0; 10], [0; 10]);
        {
            let (reader, writer) = echo.split();
            let (mut info, mut closed) = (pin!(peer.info()), pin!(peer.closed()));
            let held = reader.read_with(|message| {
                assert_eq!(message.payload, Some(&b"hold"[..]));
                let [write, read, info_, closed_, session] = &mut contexts;
                assert!(writer.poll_write(write, 1, b"answer").is_pending());
                assert!(sense.reader().poll_read(read, &mut other).is_pending());
                assert!(info.as_mut().poll(info_).is_pending());
                assert!(closed.as_mut().poll(closed_).is_pending());
                assert!(a.echo.poll_session(session).is_pending());
                assert!(peer.try_info().is_none() && peer.try_counters(0).is_none());
                let would_block = WriteError::WouldBlock { free: 0 };
                assert_eq!(sense.try_write(0, b""), Err(would_block));
                assert_eq!(sense.try_read(&mut buffer), Ok(None));
                assert_eq!(counters.each_ref().map(|c| c.total()), [0; 5]);
            });
            held.await.expect("a message");
            assert_eq!(counters.each_ref().map(|c| c.total()), [1; 5]);
            let [write, read, info_, closed_, session] = &mut contexts;
            assert!(writer.poll_write(write, 1, b"answer").is_ready());
            assert!(sense.reader().poll_read(read, &mut other).is_pending());
            assert!(info.as_mut().poll(info_).is_ready());
            assert!(closed.as_mut().poll(closed_).is_pending());
            assert!(a.echo.poll_session(session).is_pending());
        }
        let answer = remote.read(&mut buffer).await.expect("the answer");
        assert_eq!(&buffer[..answer.length], b"answer");
        // What is asked for meanwhile is done when it is released: here a guard's end, before the other cause.
        remote.write(0, b"hold").await.expect("written");
        let mut sense = Some(sense);
        let held = echo.read_with(|_| {
            drop(sense.take());
            peer.disconnect(DisconnectReason::REQUESTED);
        });
        held.await.expect("a message");
        let reason = peer.try_info().expect("free").close_reason;
        assert_eq!(counters[3].total(), 1, "not closed yet");
        peer.closed().await;
        assert_eq!(counters[3].total(), 2);
        reason
    });
    let returned = CloseReason::ProtocolReturned { subprotocol: 1 };
    assert_eq!(reason, Some(returned));
    assert_eq!(sim.join(a.run).reason, returned);
}
