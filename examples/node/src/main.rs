//! The `devp2p` command.
fn main() {}
