//! Arguments.
use crate::run::run;

#[test]
fn arguments_that_cannot_be_meant_end_with_status_2() {
    let enode = format!("enode://{}@127.0.0.1:1", "ab".repeat(64));
    let deaf = format!("enode://{}@127.0.0.1:0", "ab".repeat(64));
    let wrong: [&[&str]; 15] = [
        &[],
        &["no-such-command"],
        &["ping"],
        &["ping", "enode://short@127.0.0.1:1"],
        &["ping", &enode, "--count", "0"],
        &["bench", &enode, "--size", "16777216"],
        &["listen", "--max-peers", "many"],
        &["key", "--addr", "nowhere"],
        &["key", "--addr", "127.0.0.1:65536"],
        &["key", "--addr", "127.0.0.1:1?discport=2"],
        &["listen", "--addr", "nowhere"],
        &["listen", "--addr", "::1:30303"],
        &["ping", &deaf],
        &["ping", &enode, "--timeout", "0"],
        &["demo", "--no-board", "--board", "host"],
    ];
    for arguments in wrong {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(
            ended.out.is_empty() && !ended.err.is_empty(),
            "{arguments:?}: {ended:?}"
        );

        // The same for programs.
        let json = run(&[arguments, &["--json"]].concat());
        assert_eq!(json.code, Some(2), "{json:?}");
        assert!(!json.err.is_empty(), "{json:?}");
        let object = json.json();
        for field in ["error", "expected", "advice"] {
            let text = object[field].as_str().expect("text");
            assert!(!text.is_empty() && !text.contains('\n'), "{json:?}");
        }
        assert!(
            !object["error"]
                .as_str()
                .unwrap_or_default()
                .starts_with("error"),
            "{json:?}"
        );
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["demo", "--help"],
        &["help", "ping"],
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        assert!(!ended.out.is_empty(), "{arguments:?}");
    }
}
