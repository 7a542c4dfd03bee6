//! Logging shim: `defmt` where the feature is on, else `log`, else nothing: the arguments are then checked, never evaluated, and
//! leave no byte in the image.
//!
//! `debug` tells of each change of a session's state, `trace` of what it is made of: handshake steps and control messages. No
//! line is per message of a subprotocol. Nothing secret is an argument.

macro_rules! line {
    ($level:ident, $($arg:tt)*) => {{
        #[cfg(feature = "defmt")]
        ::defmt::$level!($($arg)*);
        #[cfg(all(feature = "log", not(feature = "defmt")))]
        ::log::$level!($($arg)*);
        #[cfg(not(any(feature = "defmt", feature = "log")))]
        if false {
            let _ = ::core::format_args!($($arg)*);
        }
    }};
}

macro_rules! trace {
    ($($arg:tt)*) => { $crate::fmt::line!(trace, $($arg)*) };
}

macro_rules! debug {
    ($($arg:tt)*) => { $crate::fmt::line!(debug, $($arg)*) };
}

pub(crate) use {debug, line, trace};
