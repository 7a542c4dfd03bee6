//! Tests of `hello`.
