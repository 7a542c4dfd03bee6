//! What hostile remotes cost in memory. One test in a program of its own: it measures the process.
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "shared with the interop tests"
)]
#[path = "../interop/local.rs"]
mod local;

#[allow(dead_code, reason = "shared with the interop tests")]
#[path = "../interop/hostile.rs"]
mod hostile;

mod resident;
