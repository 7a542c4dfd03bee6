//! Sessions over embassy-net's TCP, between two stacks on a cable in memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_embassy::Close;
use devp2p_embassy::tcp::Connection;
use devp2p_tests::embassy_node::Spec;
use devp2p_tests::embassy_sim::{Sim, now_millis};
use embassy_net::tcp::TcpSocket;
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_net_driver::{
    Capabilities, Driver, HardwareAddress, LinkState, RxToken as Rx, TxToken as Tx,
};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embedded_io_async::{Read, Write};

use crate::basics::{ask, serve};

/// One direction of the cable.
#[derive(Default)]
struct Frames {
    frames: VecDeque<Vec<u8>>,
    receiver: Option<Waker>,
}

type Wire = Rc<RefCell<Frames>>;

/// A network card at one end.
struct Card {
    incoming: Wire,
    outgoing: Wire,
    address: u8,
}

struct RxToken(Vec<u8>);
struct TxToken(Wire);

impl Rx for RxToken {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(&mut self.0)
    }
}

impl Tx for TxToken {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        let waker = {
            let mut wire = self.0.borrow_mut();
            wire.frames.push_back(frame);
            wire.receiver.take()
        };
        waker.into_iter().for_each(Waker::wake);
        result
    }
}

impl Driver for Card {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(RxToken, TxToken)> {
        let mut wire = self.incoming.borrow_mut();
        let frame = wire.frames.pop_front();
        if frame.is_none() {
            wire.receiver = Some(cx.waker().clone());
        }
        Some((RxToken(frame?), TxToken(Rc::clone(&self.outgoing))))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<TxToken> {
        Some(TxToken(Rc::clone(&self.outgoing)))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = 1514;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet([2, 0, 0, 0, 0, self.address])
    }
}

fn address(last: u8) -> Ipv4Address {
    Ipv4Address::new(10, 0, 0, last)
}

const PORT: u16 = 30303;

/// Two stacks on a cable, whose runners are tasks.
fn stacks(sim: &mut Sim) -> [Stack<'static>; 2] {
    let wires = [Wire::default(), Wire::default()];
    [0, 1].map(|end| {
        let card = Card {
            incoming: Rc::clone(&wires[end]),
            outgoing: Rc::clone(&wires[1 - end]),
            address: end as u8 + 1,
        };
        let config = Config::ipv4_static(StaticConfigV4 {
            address: Ipv4Cidr::new(address(end as u8 + 1), 24),
            gateway: None,
            dns_servers: Default::default(),
        });
        let resources = Box::leak(Box::new(StackResources::<2>::new()));
        let (stack, mut runner) = embassy_net::new(card, config, resources, 7 + end as u64);
        sim.spawn("a stack", async move { runner.run().await });
        stack
    })
}

fn connection(stack: Stack<'static>) -> Connection<'static> {
    let buffer = || Vec::leak(vec![0; 2048]);
    Connection::from(TcpSocket::new(stack, buffer(), buffer()))
}

async fn dial(stack: Stack<'static>) -> Connection<'static> {
    let mut connection = connection(stack);
    let connected = connection.socket().connect((address(2), PORT)).await;
    connected.expect("a connection");
    connection
}

async fn accept(stack: Stack<'static>) -> Connection<'static> {
    let mut connection = connection(stack);
    let accepted = connection.socket().accept(PORT).await;
    accepted.expect("a connection");
    connection
}

#[test]
fn a_session_over_embassy_net_ends_with_its_reason_and_without_the_closing_deadline() {
    let mut sim = Sim::new();
    let [here, there] = stacks(&mut sim);
    let mut a = Spec::new(1).build::<NoopRawMutex>();
    let mut b = Spec::new(2).build::<NoopRawMutex>();
    let remote = b.id;
    let run_b = sim.spawn("b runs", async move {
        let mut connection = accept(there).await;
        let (mut reader, mut writer) = connection.split();
        let run = b
            .runner
            .accept(&mut b.rng, &mut reader, &mut writer, |_| Ok(()));
        let ended = run.await;
        let _ = connection.socket().flush().await;
        ended
    });
    sim.spawn("b echoes", async move {
        serve(&mut b.echo.session().await.expect("shared")).await
    });
    let run_a = sim.spawn("a runs", async move {
        let mut connection = dial(here).await;
        let (mut reader, mut writer) = connection.split();
        let run = a.runner.dial(remote, &mut a.rng, &mut reader, &mut writer);
        run.await
    });
    let side = sim.block_on(async move {
        let mut side = a.echo.session().await.expect("shared");
        for size in [0, 1, 500, 2000] {
            ask(&mut side, &vec![size as u8; size]).await;
        }
        side
    });
    let began = now_millis();
    a.peer.disconnect(DisconnectReason::TOO_MANY_PEERS);
    let reason = sim.join(run_a).reason;
    assert_eq!(reason, CloseReason::Local(DisconnectReason::TOO_MANY_PEERS));
    let told = CloseReason::RemoteRequested(Some(DisconnectReason::TOO_MANY_PEERS));
    assert_eq!(sim.join(run_b).reason, told);
    assert!(now_millis() - began < 2_000, "{}", now_millis() - began);
    drop(side);
}

#[test]
fn the_sending_half_ends_alone() {
    let mut sim = Sim::new();
    let [here, there] = stacks(&mut sim);
    let answers = sim.spawn("answers", async move {
        let mut connection = accept(there).await;
        let (mut reader, mut writer) = connection.split();
        let (mut bytes, mut heard) = ([0; 64], Vec::new());
        loop {
            match reader.read(&mut bytes).await.expect("a connection") {
                0 => break,
                n => heard.extend_from_slice(&bytes[..n]),
            }
        }
        writer
            .write_all(b"answer after the end")
            .await
            .expect("taken");
        writer.close_write().await.expect("closed");
        let _ = connection.socket().flush().await;
        heard
    });
    let heard = sim.block_on(async move {
        let mut connection = dial(here).await;
        let (mut reader, mut writer) = connection.split();
        writer.write_all(b"question").await.expect("taken");
        writer.close_write().await.expect("closed");
        assert!(
            writer.write(b"more").await.is_err(),
            "nothing follows the end"
        );
        let (mut bytes, mut heard) = ([0; 64], Vec::new());
        loop {
            match reader.read(&mut bytes).await.expect("a connection") {
                0 => return heard,
                n => heard.extend_from_slice(&bytes[..n]),
            }
        }
    });
    assert_eq!(heard, b"answer after the end");
    assert_eq!(sim.join(answers), b"question");
}
