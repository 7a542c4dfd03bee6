//! The LAN9118 Ethernet controller (Microchip's data sheet DS00002266), as an embassy-net driver: its FIFOs, by programmed I/O.
//!
//! `unsafe`: registers are memory at fixed addresses, read and written here only; the interrupt handler touches one that the
//! driver writes whole.
#![allow(unsafe_code)]

use core::ptr;
use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;

const BASE: usize = 0x4020_0000;
const RECEIVE_DATA: usize = 0x00;
const TRANSMIT_DATA: usize = 0x20;
const RECEIVE_STATUS: usize = 0x40;
const INTERRUPT_CONFIG: usize = 0x54;
const INTERRUPT_STATUS: usize = 0x58;
const INTERRUPT_ENABLE: usize = 0x5c;
const FIFO_LEVEL: usize = 0x68;
const TRANSMIT_CONFIG: usize = 0x70;
const HARDWARE_CONFIG: usize = 0x74;
const RECEIVE_INFO: usize = 0x7c;
const TRANSMIT_INFO: usize = 0x80;
const POWER: usize = 0x84;
const MAC_COMMAND: usize = 0xa4;
const MAC_DATA: usize = 0xa8;

// Registers of the MAC, behind `MAC_COMMAND`.
const MAC_CONTROL: u32 = 1;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;

/// More than so many frames wait (the level is set to none).
const RECEIVED: u32 = 1 << 3;
const MAC_BUSY: u32 = 1 << 31;
const MAC_READ: u32 = 1 << 30;
/// Of a received frame's status.
const ERROR: u32 = 1 << 15;

/// The largest Ethernet frame without its check, which the card appends.
const MTU: usize = 1514;
const CHECK: usize = 4;

static WAKER: AtomicWaker = AtomicWaker::new();

fn read(register: usize) -> u32 {
    // SAFETY: an aligned register of the card.
    unsafe { ptr::read_volatile((BASE + register) as *const u32) }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { ptr::write_volatile((BASE + register) as *mut u32, value) }
}

fn read_mac(register: u32) -> u32 {
    write(MAC_COMMAND, MAC_BUSY | MAC_READ | register);
    while read(MAC_COMMAND) & MAC_BUSY != 0 {}
    read(MAC_DATA)
}

fn write_mac(register: u32, value: u32) {
    write(MAC_DATA, value);
    write(MAC_COMMAND, MAC_BUSY | register);
    while read(MAC_COMMAND) & MAC_BUSY != 0 {}
}

/// The card, with room for one frame in each direction: an answer is composed while the frame that it answers is still read.
pub(crate) struct Lan9118 {
    address: [u8; 6],
    received: [u8; MTU + CHECK],
    transmitted: [u8; MTU],
}

impl Lan9118 {
    pub(crate) const fn new() -> Self {
        Self {
            address: [0; 6],
            received: [0; MTU + CHECK],
            transmitted: [0; MTU],
        }
    }

    /// Resets and starts the card. To be called once, before its interrupt can come.
    pub(crate) fn start(&mut self) {
        while read(POWER) & 1 == 0 {}
        write(HARDWARE_CONFIG, 1);
        while read(HARDWARE_CONFIG) & 1 != 0 {}
        // 5 KiB of the FIFO memory for sending.
        write(HARDWARE_CONFIG, 1 << 20 | 5 << 16);
        // Enabled, active high, push-pull: at reset it is active low, which the processor would take for one that never ends.
        write(INTERRUPT_CONFIG, 0x111);
        write(INTERRUPT_ENABLE, 0);
        write(INTERRUPT_STATUS, u32::MAX);
        write(FIFO_LEVEL, 0);
        // On, and whether a frame was sent is nobody's business: TCP finds out.
        write(TRANSMIT_CONFIG, 1 << 2 | 1 << 1);
        write_mac(MAC_CONTROL, 1 << 3 | 1 << 2);
        let [a, b, c, d] = read_mac(MAC_ADDRESS_LOW).to_le_bytes();
        let [e, f, ..] = read_mac(MAC_ADDRESS_HIGH).to_le_bytes();
        self.address = [a, b, c, d, e, f];
    }

    /// Moves the next good frame out of the FIFO; returns its length.
    fn take(&mut self) -> Option<usize> {
        while read(RECEIVE_INFO) >> 16 & 0xff != 0 {
            let status = read(RECEIVE_STATUS);
            let length = (status >> 16 & 0x3fff) as usize;
            let mut to = self.received.chunks_mut(4);
            for _ in 0..length.div_ceil(4) {
                let word = read(RECEIVE_DATA).to_le_bytes();
                if let Some(to) = to.next() {
                    to.iter_mut().zip(word).for_each(|(to, from)| *to = from);
                }
            }
            if status & ERROR == 0 && (CHECK..=self.received.len()).contains(&length) {
                return Some(length - CHECK);
            }
        }
        None
    }

    /// Whether the FIFO takes a frame of any size now.
    fn can_transmit() -> bool {
        read(TRANSMIT_INFO) as u16 as usize >= MTU + 16
    }
}

/// To be called by the card's interrupt: it stays off until the driver has found nothing more to receive.
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
        let length = length.min(MTU);
        let frame = self.0.get_mut(..length).unwrap_or_default();
        let result = f(frame);
        // Two commands: the first and last piece, so long; the whole frame, so long.
        write(TRANSMIT_DATA, 1 << 13 | 1 << 12 | length as u32);
        write(TRANSMIT_DATA, length as u32);
        for chunk in frame.chunks(4) {
            let mut word = [0; 4];
            word.iter_mut()
                .zip(chunk)
                .for_each(|(to, from)| *to = *from);
            write(TRANSMIT_DATA, u32::from_le_bytes(word));
        }
        result
    }
}

impl Driver for Lan9118 {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Received<'_>, Transmit<'_>)> {
        if !Self::can_transmit() {
            cx.waker().wake_by_ref();
            return None;
        }
        WAKER.register(cx.waker());
        let Some(length) = self.take() else {
            // The interrupt is one of level: a frame that came meanwhile raises it at once.
            write(INTERRUPT_STATUS, RECEIVED);
            write(INTERRUPT_ENABLE, RECEIVED);
            return None;
        };
        let frame = self.received.get_mut(..length).unwrap_or_default();
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
