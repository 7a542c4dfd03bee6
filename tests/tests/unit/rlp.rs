//! Tests of `rlp`.
