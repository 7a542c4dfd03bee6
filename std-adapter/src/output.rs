//! Sealed bytes that wait for the wire.

pub(crate) use crate::event_loop::output::Output;
