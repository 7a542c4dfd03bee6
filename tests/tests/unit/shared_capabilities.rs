//! Tests of `shared_capabilities`.
