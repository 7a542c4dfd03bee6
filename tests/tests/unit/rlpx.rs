//! Tests of `rlpx`.
