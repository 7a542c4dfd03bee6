//! Tests of `snappy`.
