//! What a bare board is asked to do, and how it is to answer.

use std::time::Duration;

use devp2p_core::arena::RECORD_OVERHEAD;
use devp2p_core::disconnect::DisconnectReason as Reason;
use devp2p_core::error::CloseReason;
use qemu_bare::boot::ECHO_INBOX;
use qemu_bare::protocols::{
    ECHO, ECHO_REPLY, ECHO_REQUEST, LEAVE, OVERSIZE, READING, Reading, SENSOR, SET_INTERVAL,
};

use crate::host::{Fallible, Host};

/// The reasons of the specification.
const REASONS: [Reason; 13] = [
    Reason::REQUESTED,
    Reason::TCP_ERROR,
    Reason::PROTOCOL_ERROR,
    Reason::USELESS_PEER,
    Reason::TOO_MANY_PEERS,
    Reason::ALREADY_CONNECTED,
    Reason::INCOMPATIBLE_VERSION,
    Reason::INVALID_IDENTITY,
    Reason::UNEXPECTED_IDENTITY,
    Reason::SELF,
    Reason::READ_TIMEOUT,
    Reason::SUBPROTOCOL_ERROR,
    Reason::CLIENT_QUITTING,
];
/// How many sessions [`run`] takes: one that is cut, one for each reason in each direction.
pub(crate) const SESSIONS: usize = 1 + 2 * REASONS.len();
/// The largest message that fits into the board's inbox.
const LARGEST: usize = ECHO_INBOX - RECORD_OVERHEAD;
/// Messages that are under way at once.
const BURST: usize = 50;

pub(crate) fn run(host: &mut Host, quiet: Duration) -> Fallible {
    host.activate()?;
    println!("host: active");
    readings(host)?;
    sizes(host)?;
    burst(host)?;
    oversize(host)?;
    pings(host, quiet)?;
    host.cut(LARGEST)?;
    host.activate()?;
    println!("host: the link was cut in the middle of a message, and there is a session again");
    echo(host, 7)?;
    for reason in REASONS {
        host.activate()?;
        host.disconnect(reason)?;
        expect(host.close()?, CloseReason::Local(reason))?;
        host.activate()?;
        host.write(SENSOR, LEAVE, &[reason.0])?;
        expect(host.close()?, CloseReason::RemoteRequested(Some(reason)))?;
    }
    println!("host: each reason was sent and received");
    Ok(())
}

fn expect<T: PartialEq + std::fmt::Debug>(got: T, expected: T) -> Fallible {
    if got == expected {
        Ok(())
    } else {
        Err(format!("got {got:?} where {expected:?} was expected").into())
    }
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + length) as u8).collect()
}

fn echo(host: &mut Host, length: usize) -> Fallible {
    host.write(ECHO, ECHO_REQUEST, &payload(length))?;
    if host.read(ECHO, ECHO_REPLY)? == payload(length) {
        Ok(())
    } else {
        Err(format!("an echo of {length} bytes came back altered").into())
    }
}

fn readings(host: &mut Host) -> Fallible {
    for number in 0..3 {
        let payload = host.read(SENSOR, READING)?;
        expect(Reading::decode(&payload), Some(Reading::take(number)))?;
    }
    host.write(SENSOR, SET_INTERVAL, &0_u32.to_le_bytes())?;
    println!("host: three readings");
    Ok(())
}

fn sizes(host: &mut Host) -> Fallible {
    let small = 0..=40;
    let large = (41..LARGEST).step_by(199);
    for length in small.chain(large).chain([LARGEST - 1, LARGEST]) {
        echo(host, length)?;
    }
    println!("host: echoes of 0 to {LARGEST} bytes");
    Ok(())
}

fn burst(host: &mut Host) -> Fallible {
    for i in 0..BURST {
        host.write(ECHO, ECHO_REQUEST, &payload(i * LARGEST / BURST))?;
    }
    for i in 0..BURST {
        expect(host.read(ECHO, ECHO_REPLY)?, payload(i * LARGEST / BURST))?;
    }
    println!("host: {BURST} messages at once came back in order");
    Ok(())
}

fn oversize(host: &mut Host) -> Fallible {
    for length in [LARGEST + 1, 5_000, usize::from(u16::MAX)] {
        host.write(ECHO, ECHO_REQUEST, &payload(length))?;
        let reported = host.read(SENSOR, OVERSIZE)?;
        expect(reported, (length as u32).to_le_bytes().to_vec())?;
        echo(host, 3)?;
    }
    println!("host: what is too large is reported, and the session lives");
    Ok(())
}

fn pings(host: &mut Host, quiet: Duration) -> Fallible {
    host.ping()?;
    host.pass(quiet)?;
    echo(host, 1)?;
    println!("host: Ping and Pong, and {} s of silence", quiet.as_secs());
    Ok(())
}
