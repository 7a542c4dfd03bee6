//! The log: defmt, log, or nothing.

/// What the log can show.
#[cfg(feature = "defmt")]
pub trait Shown: ::core::fmt::Debug + ::defmt::Format {}
#[cfg(feature = "defmt")]
impl<T: ::core::fmt::Debug + ::defmt::Format> Shown for T {}

/// What the log can show.
#[cfg(not(feature = "defmt"))]
pub trait Shown: ::core::fmt::Debug {}
#[cfg(not(feature = "defmt"))]
impl<T: ::core::fmt::Debug> Shown for T {}

macro_rules! info {
    ($($arg:tt)*) => {{
        #[cfg(feature = "defmt")]
        ::defmt::info!($($arg)*);
        #[cfg(all(feature = "log", not(feature = "defmt")))]
        ::log::info!($($arg)*);
        #[cfg(not(any(feature = "defmt", feature = "log")))]
        let _ = ::core::format_args!($($arg)*);
    }};
}

macro_rules! warning {
    ($($arg:tt)*) => {{
        #[cfg(feature = "defmt")]
        ::defmt::warn!($($arg)*);
        #[cfg(all(feature = "log", not(feature = "defmt")))]
        ::log::warn!($($arg)*);
        #[cfg(not(any(feature = "defmt", feature = "log")))]
        let _ = ::core::format_args!($($arg)*);
    }};
}

pub(crate) use {info, warning};
