//! Harness shared by the system tests.
pub mod geth;
