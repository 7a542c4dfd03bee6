//! Tells the linker where flash and RAM are: as in `tests/link`.

fn main() {
    let layout = format!(
        "{}/../link/layout",
        std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")
    );
    println!("cargo:rerun-if-changed={layout}");
    println!("cargo:rustc-link-arg-bins=-T{layout}/cortex-m.x");
    println!("cargo:rustc-link-arg-bins=-T{layout}/sections.x");
    // Pages mean nothing here, and aligning to them would pad the file.
    println!("cargo:rustc-link-arg-bins=--nmagic");
}
