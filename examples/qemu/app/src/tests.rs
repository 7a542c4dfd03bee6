//! Two nodes over a pipe, in virtual time.

use std::boxed::Box;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::format;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::string::String;
use std::task::{Context, Poll, Waker};

use devp2p_core::rlpx::NodeKey;
use embassy_futures::join::join;
use embassy_time::{Duration, Instant, MockDriver, Timer};
use embedded_io_async::{ErrorType, Read, Write};

use crate::{Memory, Parameters, Status, pipe};

/// One direction. Both ends are polled again in any case.
#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<VecDeque<u8>>>);

impl ErrorType for Pipe {
    type Error = Infallible;
}

impl Read for Pipe {
    async fn read(&mut self, to: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|_| {
            let mut bytes = self.0.borrow_mut();
            let n = to.len().min(bytes.len());
            if n == 0 {
                return Poll::Pending;
            }
            to.iter_mut()
                .zip(bytes.drain(..n))
                .for_each(|(to, byte)| *to = byte);
            Poll::Ready(Ok(n))
        })
        .await
    }
}

impl Write for Pipe {
    async fn write(&mut self, from: &[u8]) -> Result<usize, Infallible> {
        self.0.borrow_mut().extend(from);
        Ok(from.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Random bytes from a seed: a generator with a state, as boards have them.
fn generator(mut state: u64) -> impl FnMut(&mut [u8]) {
    move |bytes| {
        for byte in bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
}

/// Polls a future while the clock moves on.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    while Instant::now() < Instant::from_secs(600) {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        MockDriver::get().advance(Duration::from_millis(1));
    }
    panic!("stuck");
}

fn memory() -> &'static mut Memory {
    Box::leak(Box::new(Memory::new()))
}

fn parse(text: &str) -> Parameters {
    Parameters::parse(text).expect("parameters")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn sessions_follow_each_other_on_one_pipe_and_what_is_left_in_it_does_not_reach_the_next() {
    let listener = NodeKey::new(&[2; 32]).expect("a key");
    let enode = format!("enode=enode://{}@1.2.3.4:5", hex(&listener.id().0));
    let (there, back) = (Pipe::default(), Pipe::default());
    let accepts = async {
        let mut parameters = parse(&format!("listen=1 sessions=3 key={}", hex(&[2; 32])));
        let (reader, writer) = (there.clone(), back.clone());
        let entropy = generator(1);
        pipe::serve(reader, writer, &mut parameters, "b", memory(), entropy).await
    };
    let dials = async {
        // No second chance: a session that what is left in the pipe disturbs is a failure.
        for (seed, sessions) in [(2, 2), (3, 1)] {
            back.0.borrow_mut().extend([0x99; 700]);
            Timer::after_secs(1).await;
            let mut parameters = parse(&format!("{enode} sessions={sessions} retries=0"));
            let (reader, writer) = (back.clone(), there.clone());
            let entropy = generator(seed);
            let work = pipe::serve(reader, writer, &mut parameters, "a", memory(), entropy);
            assert_eq!(work.await, Status::Success);
        }
    };
    let (accepted, ()) = run(join(accepts, dials));
    assert_eq!(accepted, Status::Success);
}
