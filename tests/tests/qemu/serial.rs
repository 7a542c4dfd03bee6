//! The boards without an executor and without RLPx, over a serial line.
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use devp2p_tests::board::target_folder;
use devp2p_tests::command::output_within;

/// Longer than `examples/qemu/run` gives a board and its host end.
const BOUND: Duration = Duration::from_secs(180);

#[test]
fn microbit() {
    goes_through_everything("microbit");
}

#[test]
fn riscv32_virt() {
    goes_through_everything("riscv32-virt");
}

/// With 40 s in which nothing but Pings is said. What is checked is written down in `examples/qemu/serial-host`.
fn goes_through_everything(board: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/qemu");
    let mut run = Command::new(folder.join("run"));
    run.args([board, "quiet=40"])
        // While tests run, nothing may be built anew under those that run it.
        .env("NO_BUILD", "1")
        .env("CARGO_TARGET_DIR", target_folder());
    let output = output_within(&mut run, BOUND);
    let log = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let whole = format!("{log}\n{errors}");
    assert_eq!(output.status.code(), Some(0), "{whole}");
    let mut lines = log.lines();
    for expected in [
        "host: active",
        "host: three readings",
        "host: echoes of 0 to ",
        "messages at once came back in order",
        "host: what is too large is reported, and the session lives",
        "host: Ping and Pong, and 40 s of silence",
        "host: the link was cut in the middle of a message, and there is a session again",
        "host: each reason was sent and received",
    ] {
        assert!(
            lines.any(|line| line.contains(expected)),
            "no {expected:?} in its place in\n{whole}"
        );
    }
    // The board's own account.
    for expected in [
        "Echoed { length: 0 }",
        "Echoed { length: 2027 }",
        "Oversize { length: 2028 }",
        "Success, stack ",
    ] {
        assert!(log.contains(expected), "no {expected:?} in\n{whole}");
    }
    for reason in 0..=0x0b {
        for expected in [
            format!("Closed(Local(DisconnectReason({reason})))"),
            format!("Closed(RemoteRequested(Some(DisconnectReason({reason}))))"),
        ] {
            assert!(log.contains(&expected), "no {expected:?} in\n{whole}");
        }
    }
}
