//! `devp2p key`: makes or shows a key and its enode.

use std::path::{Path, PathBuf};

use clap::Args;
use devp2p_core::rlpx::NodeKey;
use devp2p_std::key_file::{self, KeyFileError, SecretKey};
use serde_json::json;

use crate::addr::{Addr, parse_addr};
use crate::failure::Failure;
use crate::show::{Output, paint};
use crate::stderr;

/// Where a node listens unless it is told otherwise.
pub(crate) const DEFAULT_ADDR: &str = "127.0.0.1:30303";

#[derive(Debug, Args)]
pub(crate) struct Key {
    /// The key file: shown if it exists, else made, readable by its owner only (0600). Without it, a new key is printed and
    /// kept nowhere
    file: Option<PathBuf>,
    /// The address that the enode URL names
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_ADDR, value_parser = parse_addr)]
    addr: Addr,
}

pub(crate) fn run(args: &Key, output: Output) -> Result<(), Failure> {
    let (secret, made) = match &args.file {
        Some(file) => {
            let made = !file.exists();
            (load_or_create(file)?, made)
        }
        None => (new_secret()?, true),
    };
    let enode = args.addr.to_enode(*node_key(&secret)?.id());
    // A key that is in a file is not shown again: the file is where it belongs.
    let shown = args.file.is_none().then(|| hex(secret.as_bytes()));
    if output.json {
        return output.object(&json!({
            "enode": enode.to_string(),
            "id": enode.id.to_string(),
            // Such text as there is: JSON has no other.
            "file": args.file.as_ref().map(|file| file.to_string_lossy()),
            "made": made,
            "key": shown,
        }));
    }
    if let Some(file) = &args.file {
        let verb = if made { "made" } else { "read" };
        stderr::say(paint().dim(&format!("{verb} {}", file.display())));
    }
    if let Some(key) = shown {
        output.line(&format!("key    {key}"))?;
        return output.line(&format!("enode  {enode}"));
    }
    output.line(&enode.to_string())
}

/// The key in `file`, which is made if need be; a new one without a file.
pub(crate) fn load(file: Option<&Path>) -> Result<NodeKey, Failure> {
    let secret = match file {
        Some(file) => load_or_create(file)?,
        None => new_secret()?,
    };
    node_key(&secret)
}

fn load_or_create(file: &Path) -> Result<SecretKey, Failure> {
    key_file::load_or_create(file).map_err(|error: KeyFileError| {
        Failure::new(
            error,
            "a file of 64 hex digits, or a place to make one",
            "name another file, or let `devp2p key FILE` make one",
        )
    })
}

fn new_secret() -> Result<SecretKey, Failure> {
    SecretKey::generate().map_err(|error| Failure::system("no new key", error))
}

fn node_key(secret: &SecretKey) -> Result<NodeKey, Failure> {
    NodeKey::new(secret.as_bytes()).map_err(|error| Failure::system("no identity", error))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
