//! `devp2p light`: the state of a chain from nodes that need not be trusted.

mod genesis;
mod heads;
mod peer;
mod report;
mod work;

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use devp2p_light::evidence::TrustedHash;
use devp2p_light::fork_id::{HOODI, MAINNET, Network, SEPOLIA};
use devp2p_light::primitives::{Address, Hash};
use devp2p_std::enode::Enode;
use signal_hook::consts::{SIGINT, SIGTERM};

use self::peer::Offer;
use self::report::Reporter;
use self::work::{Plan, Worker};
use crate::addr::parse_enode;
use crate::failure::Failure;
use crate::show::Output;

/// How often it is looked for a newer trusted hash.
const TRUST_INTERVAL: Duration = Duration::from_secs(4);

#[derive(Debug, Args)]
pub(crate) struct Light {
    /// The enode URLs or records (enr:) of nodes; all are asked, and compared
    #[arg(required = true, value_name = "ENODE", value_parser = parse_enode)]
    enodes: Vec<Enode>,
    /// The chain
    #[arg(
        long,
        value_enum,
        default_value = "mainnet",
        conflicts_with = "genesis"
    )]
    network: NetworkName,
    /// Another chain, by the genesis.json of its nodes; without --checkpoint its genesis block is trusted
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// The hash of a recent block that you trust, from your own consensus client or another source
    #[arg(long, value_name = "HASH", value_parser = parse_hash)]
    checkpoint: Option<Hash>,
    /// Verify so many ancestors of the checkpoint
    #[arg(long, value_name = "N", default_value_t = 64)]
    back: u64,
    /// Prove this account
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    account: Option<Address>,
    /// Prove this storage slot of the account
    #[arg(long, value_name = "KEY", requires = "account", value_parser = parse_slot)]
    slot: Option<[u8; 32]>,
    /// Fetch the code of the account and check it against its hash
    #[arg(long, requires = "account")]
    code: bool,
    /// Stay, and tell each new head, until SIGINT or SIGTERM
    #[arg(long)]
    follow: bool,
    /// Offer this version of eth alone
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(68..=72))]
    eth: Option<u32>,
    /// Speak version 4 of the base protocol, which does not compress
    #[arg(long)]
    no_snappy: bool,
    /// With --follow: a file whose last line is the newest trusted hash, looked at every 4 s
    #[arg(long, value_name = "FILE", requires = "follow")]
    trust_file: Option<PathBuf>,
    /// With --follow: a shell command that prints the newest trusted hash, run every 4 s
    #[arg(
        long,
        value_name = "COMMAND",
        requires = "follow",
        conflicts_with = "trust_file"
    )]
    trust_command: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NetworkName {
    Mainnet,
    Sepolia,
    Hoodi,
}

/// What all workers see.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stop: Arc<AtomicBool>,
    /// The newest hash that the user trusts.
    trusted: Mutex<Option<Hash>>,
}

impl Shared {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn trusted(&self) -> Option<TrustedHash> {
        let trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        trusted.map(TrustedHash::new)
    }

    fn trust(&self, hash: Hash) {
        *self.trusted.lock().unwrap_or_else(PoisonError::into_inner) = Some(hash);
    }
}

pub(crate) fn run(args: &Light, output: Output) -> Result<(), Failure> {
    let own = args.genesis.as_deref().map(genesis::read).transpose()?;
    let network: Network<'_> = match (&own, args.network) {
        (Some(own), _) => own.get(),
        (None, NetworkName::Mainnet) => MAINNET,
        (None, NetworkName::Sepolia) => SEPOLIA,
        (None, NetworkName::Hoodi) => HOODI,
    };
    // The genesis block of a built-in network says nothing of its state today.
    let trusted = args.checkpoint.or(own.is_some().then_some(network.genesis));
    let shared = Shared::default();
    for signal in [SIGINT, SIGTERM] {
        if args.follow {
            signal_hook::flag::register(signal, Arc::clone(&shared.stop))
                .map_err(|error| Failure::system("signals cannot be handled", error))?;
        }
    }
    let plan = Plan {
        network,
        trusted: trusted.map(TrustedHash::new),
        back: args.back,
        account: args.account,
        slot: args.slot,
        code: args.code,
        follow: args.follow,
        offer: Offer {
            eth: args.eth,
            has_snappy: !args.no_snappy,
        },
    };
    let mut reporter = Reporter::new(output, &plan, args.enodes.len());
    let (sender, reports) = mpsc::channel();
    thread::scope(|scope| {
        for (index, enode) in args.enodes.iter().enumerate() {
            let worker = Worker::new(index, enode, &plan, &shared, sender.clone());
            scope.spawn(move || worker.run());
        }
        drop(sender);
        if args.trust_file.is_some() || args.trust_command.is_some() {
            scope.spawn(|| watch_trust(args, &shared));
        }
        let told = reports
            .into_iter()
            .try_for_each(|report| reporter.tell(report));
        // Also when nobody reads what is printed.
        shared.stop.store(true, Ordering::Relaxed);
        told
    })?;
    reporter.finish()
}

/// Takes newer trusted hashes from where the user says.
fn watch_trust(args: &Light, shared: &Shared) {
    while !shared.is_stopping() {
        let text = match (&args.trust_file, &args.trust_command) {
            (Some(file), _) => std::fs::read_to_string(file).unwrap_or_default(),
            (None, Some(command)) => {
                let printed = Command::new("sh").args(["-c", command]).output();
                let printed = printed.map(|output| output.stdout).unwrap_or_default();
                String::from_utf8_lossy(&printed).into_owned()
            }
            (None, None) => return,
        };
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        match last.map(parse_hash) {
            Some(Ok(hash)) => shared.trust(hash),
            Some(Err(error)) => log::warn!("no trusted hash: {error}"),
            None => {}
        }
        let mut waited = Duration::ZERO;
        while waited < TRUST_INTERVAL && !shared.is_stopping() {
            thread::sleep(work::IDLE);
            waited += work::IDLE;
        }
    }
}

fn parse_hash(text: &str) -> Result<Hash, String> {
    fixed(text, "a block hash").map(Hash)
}

fn parse_address(text: &str) -> Result<Address, String> {
    fixed(text, "an address").map(Address)
}

/// A slot's number, decimal, or hexadecimal with 0x before it.
fn parse_slot(text: &str) -> Result<[u8; 32], String> {
    let expected = || "expected a number, decimal, or up to 64 hex digits after 0x".to_owned();
    let mut slot = [0; 32];
    match text.strip_prefix("0x") {
        Some(digits) => {
            let even = format!("{}{digits}", if digits.len() % 2 == 1 { "0" } else { "" });
            let bytes = genesis::hex(&even).filter(|bytes| bytes.len() <= 32);
            let bytes = bytes.ok_or_else(expected)?;
            slot[32 - bytes.len()..].copy_from_slice(&bytes);
        }
        None => {
            let number: u128 = text.parse().map_err(|_| expected())?;
            slot[16..].copy_from_slice(&number.to_be_bytes());
        }
    }
    Ok(slot)
}

fn fixed<const N: usize>(text: &str, what: &str) -> Result<[u8; N], String> {
    let bytes = genesis::hex(text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("{what} is {} hex digits, with 0x before them or not", 2 * N))
}
