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
fn addresses_are_taken_as_they_are_typed_elsewhere() {
    for (addr, named) in [
        ("localhost:30303", "@localhost:30303"),
        (":30303", "@127.0.0.1:30303"),
        ("[::]:1", "@[::]:1"),
        ("[::ffff:1.2.3.4]:5", "@1.2.3.4:5"),
        ("127.0.0.1:30303\r\n", "@127.0.0.1:30303"),
    ] {
        let ended = run(&["key", "--addr", addr]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let enode = ended.out.lines().find(|line| line.starts_with("enode"));
        let enode = enode.expect("an enode").trim_end();
        assert!(enode.ends_with(&format!("{named}?discport=0")), "{enode}");
    }
}

#[test]
#[cfg(unix)]
fn a_path_that_is_no_text_is_no_hindrance() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let path = fresh("cli-key-").into_os_string();
    let path = [path.as_bytes(), b"\xff\xfe"].concat();
    let path = OsStr::from_bytes(&path);
    let _ = fs::remove_file(path);
    let ended = run(&[OsStr::new("key"), path, OsStr::new("--json")]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let json = ended.json();
    assert_eq!(
        (&json["made"], &json["key"]),
        (&true.into(), &serde_json::Value::Null)
    );
    let file = json["file"].as_str().expect("text");
    assert!(file.contains("cli-key-"), "{file}");
    fs::remove_file(path).expect("the key file");
}

/// A folder without files, and a command that makes a key in it.
#[cfg(unix)]
fn make_in(name: &str, before: &str) -> (PathBuf, std::process::ExitStatus) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let program = devp2p_tests::command::devp2p().display();
    let make = format!("{before}; exec '{program}' key nodekey");
    let status = std::process::Command::new("sh")
        .args(["-c", &make])
        .current_dir(&folder)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    (folder, status.expect("a shell"))
}

#[test]
#[cfg(unix)]
fn a_key_file_is_its_owners_only_under_any_umask() {
    use std::os::unix::fs::PermissionsExt;
    for umask in ["000", "022", "077", "777"] {
        let (folder, status) = make_in(&format!("cli-umask-{umask}"), &format!("umask {umask}"));
        assert!(status.success(), "{umask}");
        let made = fs::metadata(folder.join("nodekey")).expect("the key file");
        assert_eq!(made.permissions().mode() & 0o777, 0o600, "{umask}");
        assert_eq!(made.len(), 64);
    }
}

#[test]
#[cfg(unix)]
fn a_key_that_others_can_use_is_taken_with_a_warning() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let path = fresh("cli-shared-key");
    let file = path.to_str().expect("UTF-8");
    let made = run(&["key", file]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("its mode");
    // Only the superuser can give it away.
    let other = fs::metadata(&path).expect("the file").uid() + 1;
    let is_given = chown(&path, Some(other), None).is_ok();
    let shown = run(&["key", file]);
    assert_eq!((shown.code, shown.out), (Some(0), made.out));
    assert!(
        shown.err.contains("warning: ") && shown.err.contains("mode 644"),
        "{}",
        shown.err
    );
    let warns = shown.err.contains(&format!("belongs to user {other}"));
    assert_eq!(warns, is_given, "{}", shown.err);
    fs::remove_file(&path).expect("the file");
}

#[test]
#[cfg(target_os = "linux")]
fn nothing_stays_of_a_key_file_whose_making_is_cut_off() {
    use std::os::unix::process::ExitStatusExt;
    const SIGXFSZ: i32 = 25;
    let (folder, status) = make_in("cli-cut-off", "ulimit -f 0");
    assert_eq!(status.signal(), Some(SIGXFSZ), "{status}");
    let left: Vec<_> = fs::read_dir(&folder).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
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
