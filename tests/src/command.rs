//! The `devp2p` program, built once for the tests that run it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program, of the same profile as the test that asks, and up to date.
pub fn devp2p() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build)
}

fn build() -> PathBuf {
    // The test itself is TARGET/PROFILE/deps/NAME.
    let test = env::current_exe().expect("the path of this test");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("the folder of the build profile");
    let target = profile.parent().expect("the target folder");
    // With the features of the whole workspace nothing is compiled twice.
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--workspace", "--bin", "devp2p"]);
    cargo.arg("--target-dir").arg(target);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "devp2p does not build");
    profile.join(format!("devp2p{}", env::consts::EXE_SUFFIX))
}
