//! Harness shared by the system tests.
