//! `devp2p key`.
use std::fs;
use std::path::PathBuf;

use devp2p_std::enode::Enode;

use crate::run::{Listening, assert_explained, run};

/// A path in the tests' own folder, without a file.
fn fresh(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

#[test]
fn a_key_file_is_made_once_for_its_owner_only_and_then_shown() {
    let path = fresh("cli-key");
    let file = path.to_str().expect("UTF-8");
    let made = run(&["key", file]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let enode: Enode = made.out.trim_end().parse().expect("an enode");
    assert_eq!(enode.tcp, 30303);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let content = fs::read(&path).expect("the file");

    let shown = run(&["key", file]);
    assert_eq!((shown.code, &shown.out), (Some(0), &made.out));
    assert_eq!(fs::read(&path).expect("the file"), content);

    let json = run(&["key", file, "--json", "--addr", "[::1]:7"]).json();
    assert_eq!(json["made"], false);
    assert_eq!(json["id"], enode.id.to_string());
    let moved = json["enode"].as_str().expect("text");
    assert!(moved.contains("@[::1]:7"), "{moved}");
    assert!(json["key"].is_null(), "a key in a file stays there");

    let listening = Listening::start(&["--key", file]);
    let listens: Enode = listening.first.parse().expect("an enode");
    assert_eq!(listens.id, enode.id);
    assert_eq!(listening.end("TERM").code, Some(0));
}

#[test]
fn without_a_file_each_key_is_new() {
    let (one, other) = (
        run(&["key", "--json"]).json(),
        run(&["key", "--json"]).json(),
    );
    assert_ne!(one["key"], other["key"]);
    assert_ne!(one["enode"], other["enode"]);
    assert_eq!(one["key"].as_str().map(str::len), Some(64));
}

#[test]
fn a_file_that_holds_no_key_is_an_error_and_left_as_it_is() {
    let path = fresh("cli-no-key");
    fs::write(&path, "not a key").expect("a file");
    let ended = run(&["key", path.to_str().expect("UTF-8")]);
    assert_explained(&ended, "cli-no-key");
    assert_eq!(ended.out, "");
    assert_eq!(fs::read_to_string(&path).expect("the file"), "not a key");
}
