//! Arguments.
use crate::run::run;

#[test]
fn arguments_that_cannot_be_meant_end_with_status_2() {
    let enode = format!("enode://{}@127.0.0.1:1", "ab".repeat(64));
    let wrong: [&[&str]; 8] = [
        &[],
        &["no-such-command"],
        &["ping"],
        &["ping", "enode://short@127.0.0.1:1"],
        &["ping", &enode, "--count", "0"],
        &["bench", &enode, "--size", "16777216"],
        &["listen", "--max-peers", "many"],
        &["key", "--addr", "nowhere"],
    ];
    for arguments in wrong {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(
            ended.out.is_empty() && !ended.err.is_empty(),
            "{arguments:?}: {ended:?}"
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
