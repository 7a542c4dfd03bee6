//! A real node that dials us, and the light client inside a node of our own.
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use devp2p_core::rlpx::NodeKey;
use devp2p_core::time::{Instant, PollAt};
use devp2p_light::chain::Step;
use devp2p_light::client::{Client, Config, Event, MAX_SENT, Protocol};
use devp2p_light::eth;
use devp2p_light::evidence::{Head, TrustedHash};
use devp2p_light::fork_id::Network;
use devp2p_light::primitives::Hash;
use devp2p_std::handle::Subprotocol;
use devp2p_std::host::Host;
use devp2p_std::node::Node;
use devp2p_std::protocol::{self, Failure};
use devp2p_tests::geth_node::{GethNode, block_hashes, head_hash};

/// How long the whole may take, however busy the machine is.
const BOUND: Duration = Duration::from_secs(120);
/// The chain's number and forks, from values in place of its `genesis.json`.
const ID: u64 = 3_503_995_874_084_926;
const FORK_TIMES: [u64; 6] = [60, 120, 180, 240, 300, 360];

fn hash(digits: &str) -> Hash {
    let digits = digits.trim_start_matches("0x");
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits");
    Hash(std::array::from_fn(|i| byte(2 * i)))
}

/// Drives a client over this subprotocol alone until it is at the peer's head, and tells it.
fn follow(subprotocol: &mut Subprotocol, told: &Sender<Client<'static>>) -> Result<(), Failure> {
    let hashes = block_hashes();
    let network = Network {
        id: ID,
        genesis: hash(&hashes[0]),
        fork_blocks: &[],
        fork_times: &FORK_TIMES,
    };
    let trusted = TrustedHash::new(hash(&hashes[300]));
    let mut client = Client::new(network, Some(trusted), Config::new());
    let began = std::time::Instant::now();
    let now = || Instant::from_micros(began.elapsed().as_micros() as u64);
    client.begin(now(), subprotocol.capability().version, false);
    let mut buffer = [0; MAX_SENT];
    loop {
        while let Some(out) = client.poll(now(), &mut buffer)? {
            subprotocol.write(out.code, &buffer[..out.length])?;
        }
        let wait = match client.poll_at() {
            PollAt::Now => Duration::ZERO,
            PollAt::At(at) => Duration::from_micros(at.saturating_since(now()).as_micros()),
            PollAt::Idle => BOUND,
        };
        let Some(message) = subprotocol.read_timeout(wait)? else {
            continue;
        };
        let event = client.handle(now(), Protocol::Eth, message.code, &message.payload)?;
        if event == Event::Chain(Step::CaughtUp) {
            told.send(client)?;
            return Ok(());
        }
    }
}

#[test]
fn a_node_that_dials_us_is_followed_too() {
    let (sender, followed) = channel();
    let sender = Mutex::new(sender);
    let length = eth::length(69).expect("a version");
    let eth = protocol::Protocol::new(eth::NAME, 69, length, move |subprotocol| {
        let told = sender.lock().expect("no panic").clone();
        follow(subprotocol, &told)
    });
    let host = Host::builder(NodeKey::new(&[5; 32]).expect("a key"))
        .protocol(eth.expect("a name"))
        .build()
        .expect("a host");
    let ours = Node::builder(host).listen("127.0.0.1:0").start();
    let ours = ours.expect("a node");
    let geth = GethNode::start(&[]);
    let added = geth.console(&format!("admin.addPeer(\"{}\")", ours.enode()));
    assert_eq!(added.trim(), "true");
    let client = followed
        .recv_timeout(BOUND)
        .expect("it dials, and is followed");
    let chain = client.chain();
    assert_eq!(chain.trusted().map(Head::number), Some(300));
    assert_eq!(chain.claimed().map(Head::hash), Some(hash(&head_hash())));
    assert_eq!(chain.ring().range(), Some((537, 600)));
    for (number, expected) in block_hashes().iter().enumerate().skip(537) {
        assert_eq!(chain.ring().get(number as u64), Some(hash(expected)));
    }
    ours.shutdown();
}
