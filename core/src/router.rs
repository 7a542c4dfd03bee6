//! Where a message goes, by its code: the base protocol, a subprotocol's inbox, or nowhere.

use crate::BASE_PROTOCOL_LENGTH;
use crate::code::{LocalCode, WireCode};
use crate::shared_capabilities::SharedCapabilities;

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Route {
    /// The base protocol, codes 0x00 to 0x03.
    Base(WireCode),
    /// A code that the base protocol reserves, 0x04 to 0x0f: ignored.
    Reserved,
    /// A subprotocol.
    Subprotocol {
        /// Index in the registered list.
        subprotocol: usize,
        /// The code as the subprotocol counts it.
        code: LocalCode,
    },
    /// Nobody's: a violation.
    OutOfRange,
}

/// Routes a wire code, which may be any unsigned integer that a peer can write.
pub fn route<const N: usize>(shared: &SharedCapabilities<N>, code: u64) -> Route {
    let Ok(code) = u32::try_from(code).map(WireCode) else {
        return Route::OutOfRange;
    };
    if code.0 < BASE_PROTOCOL_LENGTH {
        return if code <= WireCode::PONG {
            Route::Base(code)
        } else {
            Route::Reserved
        };
    }
    match shared.locate(code) {
        Some((subprotocol, code)) => Route::Subprotocol { subprotocol, code },
        None => Route::OutOfRange,
    }
}
