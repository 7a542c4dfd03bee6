//! A node with a made-up chain and state, which answers a client honestly, or lies.
use std::collections::BTreeMap;

use ::rlp::RlpStream;
use devp2p_core::rlp;
use devp2p_core::time::{Duration, Instant, PollAt};
use devp2p_light::client::{Client, Config, Event, Fault, MAX_SENT, Outgoing, Protocol};
use devp2p_light::eth::{self, BlockHeaders, GetBlockHeaders, Status};
use devp2p_light::evidence::TrustedHash;
use devp2p_light::fork_id::Network;
use devp2p_light::primitives::{Address, Hash};
use devp2p_light::snap;
use devp2p_light::state::{address_key, slot_key};
use rlp::Reader;

use crate::bytes::MadeHeader;
use crate::made_chain::MadeChain;
use crate::trie::trie;

/// The address of the made account that has storage and code.
pub(crate) const RICH: Address = Address([0x77; 20]);
/// One without.
pub(crate) const PLAIN: Address = Address([0x78; 20]);
pub(crate) const CODE: &[u8] = b"some code";
/// The slots that are set.
pub(crate) const SLOTS: u8 = 40;

/// A slot's key, and what is in it.
pub(crate) fn slot(n: u8) -> ([u8; 32], [u8; 32]) {
    let (mut key, mut value) = ([0; 32], [0; 32]);
    key[31] = n;
    value[29..].copy_from_slice(&[n + 1, 2, 3]);
    (key, value)
}

pub(crate) struct MadeNode {
    pub(crate) chain: MadeChain,
    accounts: BTreeMap<Vec<u8>, Vec<u8>>,
    slots: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The blocks whose state it serves.
    pub(crate) serves: std::ops::RangeInclusive<u64>,
}

impl MadeNode {
    /// A node whose blocks from 1 on all have the same state.
    pub(crate) fn new(last: u64) -> Self {
        let value = |bytes: &[u8]| {
            let mut stream = RlpStream::new();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            stream.append(&&bytes[zeros..]);
            stream.out().to_vec()
        };
        let slots: BTreeMap<_, _> = (0..SLOTS)
            .map(|n| (slot_key(slot(n).0).0.to_vec(), value(&slot(n).1)))
            .collect();
        let account = |nonce: u64, root: Hash, code: Hash| {
            let mut stream = RlpStream::new_list(4);
            stream.append(&nonce).append(&(1000 + nonce));
            stream.append(&root.0.as_slice()).append(&code.0.as_slice());
            stream.out().to_vec()
        };
        let key = |address| address_key(address).0.to_vec();
        let mut accounts: BTreeMap<_, _> = (0..100_u8)
            .map(|n| {
                let plain = account(n.into(), Hash::EMPTY_TRIE, Hash::EMPTY_CODE);
                (key(Address([n; 20])), plain)
            })
            .collect();
        accounts.insert(key(RICH), account(7, trie(&slots, &[]).0, Hash::of(CODE)));
        accounts.insert(key(PLAIN), account(8, Hash::EMPTY_TRIE, Hash::EMPTY_CODE));
        let state_root = trie(&accounts, &[]).0;
        let mut chain = MadeChain::new(0);
        while chain.last().number < last {
            let parent = chain.last();
            let next = MadeHeader {
                parent: parent.hash(),
                state_root,
                number: parent.number + 1,
                timestamp: parent.timestamp + 12,
                extra: Vec::new(),
            };
            chain.0.push(next);
        }
        Self {
            chain,
            accounts,
            slots,
            serves: 0..=u64::MAX,
        }
    }

    pub(crate) fn network(&self) -> Network<'static> {
        Network {
            id: 77,
            genesis: self.chain.hash(0),
            fork_blocks: &[],
            fork_times: &[],
        }
    }

    pub(crate) fn trusted(&self, number: u64) -> Option<TrustedHash> {
        Some(TrustedHash::new(self.chain.hash(number)))
    }

    pub(crate) fn status(&self, version: u32) -> Status {
        let last = self.chain.last();
        Status {
            version,
            network_id: 77,
            genesis: self.chain.hash(0),
            fork_id: self.network().fork_id(last.number, last.timestamp),
            head: last.hash(),
            numbers: (version > 68).then_some((0, last.number)),
        }
    }

    /// The honest answer to a message: protocol, code, payload.
    pub(crate) fn answer(
        &self,
        asked: Outgoing,
        payload: &[u8],
    ) -> Option<(Protocol, u32, Vec<u8>)> {
        let mut out = vec![0; 1 << 20];
        match (asked.protocol, asked.code) {
            (Protocol::Eth, eth::code::GET_BLOCK_HEADERS) => {
                let request = GetBlockHeaders::decode(payload).expect("a request");
                let headers = self.chain.serve(&request);
                let headers: Vec<_> = headers.iter().map(Vec::as_slice).collect();
                let length = BlockHeaders::encode(request.request_id, &headers, &mut out);
                out.truncate(length.expect("room"));
                Some((Protocol::Eth, eth::code::BLOCK_HEADERS, out))
            }
            (Protocol::Snap, code) => {
                let mut items = Reader::new(payload).list().expect("a list");
                let id = items.uint64().expect("an id");
                Some((Protocol::Snap, code + 1, self.state_answer(code, id, items)))
            }
            _ => None,
        }
    }

    fn state_answer(&self, code: u32, id: u64, mut items: Reader<'_>) -> Vec<u8> {
        if code == snap::code::GET_BYTE_CODES {
            let mut hashes = items.list().expect("hashes");
            assert_eq!(hashes.string(), Ok(&Hash::of(CODE).0[..]));
            let mut stream = RlpStream::new_list(2);
            stream.append(&id).begin_list(1).append(&CODE);
            return stream.out().to_vec();
        }
        let root = items.string().expect("a root");
        let mut blocks = self.chain.0.iter();
        let block = blocks.rfind(|header| header.state_root.0 == root);
        let entries = match code {
            snap::code::GET_ACCOUNT_RANGE => &self.accounts,
            _ => {
                let mut accounts = items.list().expect("accounts");
                assert_eq!(accounts.string(), Ok(&address_key(RICH).0[..]));
                &self.slots
            }
        };
        let key = items.string().expect("an origin").to_vec();
        assert_eq!(items.string(), Ok(&key[..]), "the limit");
        let mut stream = RlpStream::new_list(3);
        stream.append(&id);
        if block.is_none_or(|block| !self.serves.contains(&block.number)) {
            stream.begin_list(0).begin_list(0);
            return stream.out().to_vec();
        }
        // The first entry from the key on, and the nodes that prove the key and that entry, each once.
        let next = entries.range(key.clone()..).next();
        let mut keys = vec![key];
        keys.extend(next.map(|(key, _)| key.clone()));
        let (_, proofs) = trie(entries, &keys);
        let mut nodes: Vec<Vec<u8>> = Vec::new();
        for node in proofs.concat() {
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        stream.begin_list(usize::from(next.is_some()));
        if let Some((key, value)) = next {
            stream.begin_list(2).append(key).append_raw(value, 1);
        }
        stream.begin_list(nodes.len());
        for node in &nodes {
            stream.append(node);
        }
        stream.out().to_vec()
    }
}

/// A client and time.
pub(crate) struct Rig {
    pub(crate) client: Client<'static, 32>,
    pub(crate) now: Instant,
    /// What the client sent.
    pub(crate) sent: Vec<(Outgoing, Vec<u8>)>,
}

impl Rig {
    pub(crate) fn new(node: &MadeNode, trusted: Option<TrustedHash>) -> Self {
        Self::with(node, trusted, Config::new())
    }

    pub(crate) fn with(node: &MadeNode, trusted: Option<TrustedHash>, config: Config) -> Self {
        Self {
            client: Client::new(node.network(), trusted, config),
            now: Instant::ZERO,
            sent: Vec::new(),
        }
    }

    /// Begins a session over this version of `eth`, up to both Status.
    pub(crate) fn begin(&mut self, node: &MadeNode, version: u32) {
        self.client.begin(self.now, version, true);
        // The peer's comes first.
        assert_eq!(self.poll(), Ok(Vec::new()));
        let status = self.give_status(&node.status(version));
        assert_eq!(status, Ok(()));
        let mut buffer = [0; MAX_SENT];
        let sent = self.client.poll(self.now, &mut buffer).expect("no fault");
        let status = sent.expect("our Status");
        assert_eq!(
            (status.protocol, status.code),
            (Protocol::Eth, eth::code::STATUS)
        );
        self.sent.push((status, buffer[..status.length].to_vec()));
    }

    pub(crate) fn give_status(&mut self, status: &Status) -> Result<(), Fault> {
        let mut out = [0; 256];
        let length = status.encode(&mut out).expect("room");
        let event =
            self.client
                .handle(self.now, Protocol::Eth, eth::code::STATUS, &out[..length])?;
        assert_eq!(event, Event::Status(*status));
        Ok(())
    }

    /// What the client sends now.
    pub(crate) fn poll(&mut self) -> Result<Vec<(Outgoing, Vec<u8>)>, Fault> {
        let mut buffer = [0; MAX_SENT];
        let mut sent = Vec::new();
        while let Some(out) = self.client.poll(self.now, &mut buffer)? {
            sent.push((out, buffer[..out.length].to_vec()));
        }
        self.sent.extend(sent.clone());
        Ok(sent)
    }

    /// Answers what the client asks, `lie` having a look at each answer, until it asks no more, or for `span`. Each event goes
    /// to `seen`.
    pub(crate) fn run(
        &mut self,
        node: &MadeNode,
        span: Duration,
        mut lie: impl FnMut(&mut (Protocol, u32, Vec<u8>)),
        mut seen: impl FnMut(&mut Client<'static, 32>, Event<'_>),
    ) -> Result<(), Fault> {
        let end = self.now.saturating_add(span);
        for _ in 0..10_000 {
            for (out, payload) in self.poll()? {
                let Some(mut answer) = node.answer(out, &payload) else {
                    continue;
                };
                lie(&mut answer);
                let (protocol, code, payload) = answer;
                if payload.len() > Config::new().inbox {
                    self.client
                        .handle_oversize(protocol, code, payload.len() as u32)?;
                    continue;
                }
                let event = self.client.handle(self.now, protocol, code, &payload)?;
                // Whatever came, the client goes on by what it then says.
                let client = &mut self.client;
                match event {
                    Event::Proved(proof) => seen(&mut client.clone(), Event::Proved(proof)),
                    event => seen(client, event),
                }
            }
            match self.client.poll_at() {
                PollAt::Now => {}
                PollAt::At(at) if at <= end => self.now = at.max(self.now),
                _ => return Ok(()),
            }
        }
        panic!("it asks without an end");
    }
}
