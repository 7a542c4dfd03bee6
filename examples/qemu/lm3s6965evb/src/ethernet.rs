//! The Ethernet controller of the LM3S6965 (data sheet, chapter 15), as an embassy-net driver: its FIFOs, by programmed I/O.
//!
//! `unsafe`: registers are memory at fixed addresses, read and written here only; the interrupt handler touches one that the
//! driver writes whole.
#![allow(unsafe_code)]

use core::ptr;
use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;

const CLOCK_GATES: usize = 0x400f_e108;

const BASE: usize = 0x4004_8000;
/// Read: which interrupts wait. Write: which of them are done.
const INTERRUPT_STATUS: usize = BASE;
const INTERRUPT_ENABLE: usize = BASE + 0x04;
const RECEIVE_CONTROL: usize = BASE + 0x08;
const TRANSMIT_CONTROL: usize = BASE + 0x0c;
const DATA: usize = BASE + 0x10;
const ADDRESS_LOW: usize = BASE + 0x14;
const ADDRESS_HIGH: usize = BASE + 0x18;
const FRAMES: usize = BASE + 0x34;
const TRANSMIT_REQUEST: usize = BASE + 0x38;

const RECEIVED: u32 = 1 << 0;

/// The largest Ethernet frame, without its check. Not smaller: QEMU's user network sends segments of this size whatever the
/// guest asks for.
const MTU: usize = 14 + 1500;
const HEADER: usize = 14;
/// In the FIFO, a frame's length stands before it and its check after it; the length counts both.
const LENGTH: usize = 2;
const CHECK: usize = 4;

static WAKER: AtomicWaker = AtomicWaker::new();

fn read(register: usize) -> u32 {
    // SAFETY: an aligned register of this chip.
    unsafe { ptr::read_volatile(register as *const u32) }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { ptr::write_volatile(register as *mut u32, value) }
}

/// The controller, with room for one frame in each direction: an answer is composed while the frame that it answers is still
/// read.
pub(crate) struct Ethernet {
    address: [u8; 6],
    received: [u8; MTU],
    transmitted: [u8; MTU],
}

impl Ethernet {
    pub(crate) const fn new() -> Self {
        Self {
            address: [0; 6],
            received: [0; MTU],
            transmitted: [0; MTU],
        }
    }

    /// Starts the controller. To be called once, before its interrupt can come.
    pub(crate) fn start(&mut self) {
        write(CLOCK_GATES, read(CLOCK_GATES) | 1 << 30 | 1 << 28);
        write(INTERRUPT_ENABLE, 0);
        write(INTERRUPT_STATUS, u32::MAX);
        let [a, b, c, d] = read(ADDRESS_LOW).to_le_bytes();
        let [e, f, ..] = read(ADDRESS_HIGH).to_le_bytes();
        self.address = [a, b, c, d, e, f];
        // Empties the FIFO; then on, without frames whose check is bad.
        write(RECEIVE_CONTROL, 1 << 4);
        write(RECEIVE_CONTROL, 1 << 3 | 1 << 0);
        // On, full duplex, padded, with the check appended.
        write(TRANSMIT_CONTROL, 1 << 4 | 1 << 2 | 1 << 1 | 1 << 0);
    }

    /// Moves the next frame that is not too large out of the FIFO; returns its length.
    fn take(&mut self) -> Option<usize> {
        while read(FRAMES) & 0x3f != 0 {
            // The length, and the frame's first two bytes.
            let [low, high, first, second] = read(DATA).to_le_bytes();
            let whole = usize::from(u16::from_le_bytes([low, high]));
            let length = whole.saturating_sub(LENGTH + CHECK);
            let mut to = self.received.iter_mut();
            let mut put = |bytes: &[u8]| {
                // In this order: the other one would take a place too many.
                bytes
                    .iter()
                    .zip(to.by_ref())
                    .for_each(|(from, to)| *to = *from);
            };
            put(&[first, second]);
            for _ in 1..whole.div_ceil(4) {
                put(&read(DATA).to_le_bytes());
            }
            if (HEADER..=MTU).contains(&length) {
                return Some(length);
            }
        }
        None
    }

    /// Whether the last frame has left the FIFO.
    fn can_transmit() -> bool {
        read(TRANSMIT_REQUEST) & 1 == 0
    }
}

/// To be called by the controller's interrupt: it stays off until the driver has found nothing more to receive.
pub(crate) fn on_interrupt() {
    write(INTERRUPT_ENABLE, 0);
    WAKER.wake();
}

pub(crate) struct Received<'a>(&'a mut [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(crate) struct Transmit<'a>(&'a mut [u8; MTU]);

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let length = length.clamp(HEADER, MTU);
        let frame = self.0.get_mut(..length).unwrap_or_default();
        let result = f(frame);
        // The length that is stated does not count the frame's header.
        let stated = ((length - HEADER) as u16).to_le_bytes();
        let mut bytes = stated.into_iter().chain(frame.iter().copied());
        while let Some(first) = bytes.next() {
            let mut word = [first, 0, 0, 0];
            let rest = word.iter_mut().skip(1);
            rest.zip(bytes.by_ref().take(3))
                .for_each(|(to, from)| *to = from);
            write(DATA, u32::from_le_bytes(word));
        }
        write(TRANSMIT_REQUEST, 1);
        result
    }
}

impl Driver for Ethernet {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Received<'_>, Transmit<'_>)> {
        if !Self::can_transmit() {
            cx.waker().wake_by_ref();
            return None;
        }
        WAKER.register(cx.waker());
        let mut length = self.take();
        if length.is_none() {
            // The interrupt tells of frames that come after this: look once more.
            write(INTERRUPT_STATUS, RECEIVED);
            write(INTERRUPT_ENABLE, RECEIVED);
            length = self.take();
        }
        let frame = self.received.get_mut(..length?).unwrap_or_default();
        Some((Received(frame), Transmit(&mut self.transmitted)))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Transmit<'_>> {
        if !Self::can_transmit() {
            cx.waker().wake_by_ref();
            return None;
        }
        Some(Transmit(&mut self.transmitted))
    }

    fn link_state(&mut self, _cx: &mut Context<'_>) -> LinkState {
        // QEMU's cable is always in; a real board asks the PHY.
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = MTU;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}
