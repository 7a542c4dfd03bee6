//! Tests of `disconnect`.
