//! Tells the linker where flash and RAM are.

use std::env;

fn main() {
    let layout = format!(
        "{}/layout",
        env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")
    );
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let memory = match arch.as_str() {
        "arm" => "cortex-m",
        "riscv32" => "riscv",
        other => {
            panic!("this image has no memory layout for {other}; build it for a bare-metal target")
        }
    };
    println!("cargo:rerun-if-changed={layout}");
    println!("cargo:rustc-link-arg-bins=-T{layout}/{memory}.x");
    println!("cargo:rustc-link-arg-bins=-T{layout}/sections.x");
    // Pages mean nothing here, and aligning to them would pad the file.
    println!("cargo:rustc-link-arg-bins=--nmagic");
}
