//! The benchmarks work: every line is measured of both, once and tiny. Their figures mean nothing here.
use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

use devp2p_tests::geth;
use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("--geth")
        .arg(geth::program())
        .args(arguments)
        .output();
    output.expect("the program runs")
}

#[test]
fn every_line_is_measured_of_both() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [json, svg] = ["smoke.json", "smoke.svg"].map(|name| folder.join(name));
    let files = [&json, &svg].map(|path| path.to_str().expect("UTF-8"));
    let output = bench(&["--smoke", "--json", files[0], "--svg", files[1]]);
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).expect("UTF-8");

    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).expect("JSON");
    let version = &report["limits"]["go-ethereum"]["made_with"][0];
    assert!(
        version
            .as_str()
            .is_some_and(|version| version.starts_with("v1.")),
        "{version}"
    );
    let rows = report["rows"].as_array().expect("rows");
    let plot = fs::read_to_string(&svg).unwrap();
    for (line, least, peers) in [
        (
            "one-way",
            12,
            &[
                "ours",
                "go-ethereum",
                "ours to go-ethereum",
                "go-ethereum to ours",
            ][..],
        ),
        ("cpu", 5, &["ours", "go-ethereum"]),
        (
            "duplex",
            3,
            &[
                "ours",
                "go-ethereum",
                "ours to go-ethereum",
                "go-ethereum to ours",
            ],
        ),
        ("shared", 3, &["ours", "go-ethereum"]),
        ("echo", 5, &["ours", "go-ethereum"]),
        ("handshakes", 1, &["ours", "go-ethereum"]),
        ("core", 4, &["ours"]),
        ("micro", 15, &["ours"]),
        ("idle", 2, &["ours", "go-ethereum"]),
    ] {
        let rows: Vec<_> = rows.iter().filter(|row| row["line"] == line).collect();
        assert!(rows.len() >= least, "{line}: {table}");
        for row in rows {
            let name = row["name"].as_str().expect("a name");
            assert!(table.contains(name), "{name} in {table}");
            for peer in peers {
                let median = &row["values"][peer]["median"];
                // A process may have grown by nothing, and by no thread.
                let least = if line == "idle" { f64::MIN } else { 0.0 };
                assert!(
                    median.as_f64() > Some(least),
                    "{line}, {name}: {peer} {median}"
                );
            }
            if row["goals"]
                .as_array()
                .is_some_and(|goals| !goals.is_empty())
                && row["ratio"].is_f64()
            {
                assert!(plot.contains(&format!(">{name}<")), "{name} in the plot");
            }
        }
    }
    assert!(plot.starts_with("<svg") && plot.ends_with("</svg>\n"));
}

#[test]
fn a_line_that_does_not_exist_is_named() {
    let output = bench(&["--only", "one-way,two-way"]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("\"two-way\""), "{error}");
}
