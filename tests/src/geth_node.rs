//! A whole go-ethereum node (`cmd/geth`) as a child process, with the chain of its own conformance tests.
//!
//! Built once from the Go module proxy in `interop/geth-node`. The chain has 600 blocks, all forks up to Amsterdam, and a state
//! whose every account is listed beside it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use devp2p_std::enode::Enode;
use serde_json::Value;

use crate::command::output_within;

/// How long each step may take, however busy the machine is.
const BOUND: Duration = Duration::from_secs(600);

/// A running node. Killed on drop, and its data removed.
pub struct GethNode {
    child: Child,
    data: PathBuf,
    /// Where it listens, and who it is.
    pub enode: Enode,
}

impl GethNode {
    /// Starts a node with the chain, and these arguments besides.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(arguments: &[&str]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let data = scratch().join(format!("node-{}-{number}", std::process::id()));
        let copied = Command::new("cp")
            .arg("-r")
            .arg(imported())
            .arg(&data)
            .status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "no copy of the chain"
        );
        let network = genesis_json()["config"]["chainId"].to_string();
        let mut child = Command::new(program())
            .arg("--datadir")
            .arg(&data)
            .args(["--networkid", &network, "--syncmode", "full", "--port", "0"])
            .args(["--nodiscover", "--nat", "none", "--authrpc.port", "0"])
            .args(["--maxpeers", "20"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("geth runs");
        let mut log = BufReader::new(child.stderr.take().expect("its log is piped"));
        let mut line = String::new();
        let enode = loop {
            line.clear();
            let read = log.read_line(&mut line).expect("its log");
            assert!(read > 0, "geth ended before it listened");
            if line.contains("Started P2P networking")
                && let Some((_, url)) = line.split_once("enode://")
            {
                let url: String = url.chars().take_while(|c| !"\" \n".contains(*c)).collect();
                break format!("enode://{url}").parse().expect("an enode");
            }
        };
        // Nobody reads it, but it must not be blocked.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, data, enode }
    }

    /// Runs a line of JavaScript in its console; returns what it printed.
    ///
    /// # Panics
    /// If the console cannot be reached.
    pub fn console(&self, script: &str) -> String {
        let mut geth = Command::new(program());
        let ipc = self.data.join("geth.ipc");
        let output = output_within(geth.args(["attach", "--exec", script]).arg(ipc), BOUND);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sends it a signal, by name.
    ///
    /// # Panics
    /// If it cannot be sent.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{signal}");
    }
}

impl Drop for GethNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// The chain's `genesis.json`.
pub fn genesis_file() -> PathBuf {
    test_data().join("genesis.json")
}

/// The hash of the chain's last block, 600.
///
/// # Panics
/// If the chain's files are not what they were.
pub fn head_hash() -> String {
    let call = json("headfcu.json");
    let hash = call["params"][0]["headBlockHash"].as_str();
    hash.expect("a hash").to_owned()
}

/// The accounts of the state after the last block, by address.
pub fn head_state() -> Value {
    json("headstate.json")["accounts"].take()
}

/// The hash of each block, from the genesis block on.
///
/// # Panics
/// If the chain's files are not what they were.
pub fn block_hashes() -> Vec<String> {
    let calls = json("newpayload.json");
    let calls = calls.as_array().expect("a list");
    let hash = |call: &Value| call["params"][0]["blockHash"].as_str().map(str::to_owned);
    calls
        .iter()
        .map(|call| hash(call).expect("a hash"))
        .collect()
}

fn genesis_json() -> Value {
    json("genesis.json")
}

fn json(name: &str) -> Value {
    let text = fs::read(test_data().join(name)).expect("a file of the chain");
    serde_json::from_slice(&text).expect("JSON")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/geth-node")
}

fn go(arguments: &[&str]) -> Output {
    let mut go = Command::new("go");
    let output = output_within(go.args(arguments).current_dir(folder()), BOUND);
    assert!(
        output.status.success(),
        "go {arguments:?} failed (its go.mod says which Go it needs):\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The program, built once for each test program, by Go's own cache in no time after the first.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let package = "github.com/ethereum/go-ethereum/cmd/geth";
        go(&["build", "-o", "bin/geth", package]);
        folder().join("bin/geth")
    })
}

/// Where the module has its conformance tests' chain.
fn test_data() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let module = "github.com/ethereum/go-ethereum";
        let listed = go(&["list", "-m", "-f", "{{.Dir}}", module]).stdout;
        let listed = String::from_utf8(listed).expect("UTF-8");
        Path::new(listed.trim()).join("cmd/devp2p/internal/ethtest/testdata")
    })
}

/// A data folder with the whole chain, made once and kept.
fn imported() -> &'static Path {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| {
        let version = test_data().ancestors().nth(5).and_then(Path::file_name);
        let kept = scratch().join(version.expect("the module's folder"));
        if kept.is_dir() {
            return kept;
        }
        let data = scratch().join(format!("importing-{}", std::process::id()));
        for (command, file) in [("init", "genesis.json"), ("import", "chain.rlp")] {
            let mut geth = Command::new(program());
            geth.arg("--datadir").arg(&data).arg(command);
            let output = output_within(geth.arg(test_data().join(file)), BOUND);
            assert!(
                output.status.success(),
                "geth {command} failed:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        // Another test program may have been faster.
        if fs::rename(&data, &kept).is_err() {
            let _ = fs::remove_dir_all(&data);
        }
        kept
    })
}

/// A folder for data that may be removed at any time.
fn scratch() -> PathBuf {
    let folder = std::env::temp_dir().join("devp2p-geth-node");
    fs::create_dir_all(&folder).expect("a folder for data");
    folder
}
