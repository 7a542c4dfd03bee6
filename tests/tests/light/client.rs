//! The client machine in virtual time: beside honest nodes, lagging ones, and liars.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::time::{Duration, Instant, PollAt};
use devp2p_light::chain::ChainError;
use devp2p_light::client::{
    AnyHead, Client, Event, Fault, Graded, Proof, Protocol, Query, QueryError,
};
use devp2p_light::eth::{BlockHeaders, BlockRange, GetBlockHeaders, Origin, Status};
use devp2p_light::evidence::Head;
use devp2p_light::fork_id::ForkIdError;
use devp2p_light::link::LinkError;
use devp2p_light::primitives::{Address, Hash};
use devp2p_light::state::ProofError;
use devp2p_light::trie::TrieError;

use crate::made_node::{CODE, MadeNode, PLAIN, RICH, Rig, SLOTS, slot};

const MOMENT: Duration = Duration::from_millis(1);

fn honest(_: &mut (Protocol, u32, Vec<u8>)) {}

fn ignore(_: &mut Client<'static, 32>, _: Event<'_>) {}

/// A client that follows this node and trusts this block.
fn following(node: &MadeNode, trusted: u64) -> Rig {
    let mut rig = Rig::new(node, node.trusted(trusted));
    rig.begin(node, 69);
    rig.run(node, MOMENT, honest, ignore)
        .expect("an honest node");
    rig
}

#[test]
fn headers_are_followed_over_every_version() {
    let node = MadeNode::new(50);
    for version in 68..=72 {
        let mut rig = Rig::new(&node, node.trusted(30));
        rig.begin(&node, version);
        rig.run(&node, MOMENT, honest, ignore)
            .expect("an honest node");
        let chain = rig.client.chain();
        assert_eq!(chain.trusted().map(Head::number), Some(30), "eth/{version}");
        assert_eq!(chain.claimed().map(Head::hash), Some(node.chain.hash(50)));
        assert_eq!(chain.ring().range(), Some((19, 50)));
        let (out, status) = &rig.sent[0];
        assert_eq!((out.protocol, out.code), (Protocol::Eth, 0));
        let status = Status::decode(version, status).expect("our Status");
        // Nothing is known yet: this side says that it stands at the genesis block.
        assert_eq!(status.head, node.chain.hash(0));
        assert_eq!(status.fork_id, node.network().fork_id(0, 0));
    }
}

#[test]
fn as_many_headers_are_asked_for_as_fit_into_the_inbox() {
    let node = MadeNode::new(60);
    let rig = following(&node, 0);
    let amounts: Vec<_> = rig
        .sent
        .iter()
        .filter(|(out, _)| out.code == 3)
        .map(|(_, payload)| GetBlockHeaders::decode(payload).expect("a request").amount)
        .collect();
    // One for the trusted block; then 8 KiB of headers of 596 bytes and some to grow.
    assert_eq!(amounts[0], 1);
    let length = node.chain.0[20].encode().len();
    for amount in &amounts[1..] {
        let amount = *amount as usize;
        assert!(amount * (length + 40) < 8192 && (amount + 1) * (length + 40) > 8192 - 24);
    }
}

#[test]
fn headers_that_grow_beyond_the_inbox_are_asked_for_in_smaller_numbers() {
    let mut node = MadeNode::new(20);
    node.chain.grow(80, &[1; 500]);
    let rig = following(&node, 10);
    assert_eq!(rig.client.chain().claimed().map(Head::number), Some(80));

    // One alone is more than fits.
    let mut node = MadeNode::new(20);
    node.chain.grow(21, &[1; 9000]);
    let mut rig = Rig::new(&node, node.trusted(10));
    rig.begin(&node, 69);
    let fault = rig
        .run(&node, MOMENT, honest, ignore)
        .expect_err("too large");
    assert!(
        matches!(fault, Fault::AnswerTooLarge { length: 9000.. }),
        "{fault}"
    );
    assert_eq!(rig.client.chain().claimed().map(Head::number), Some(20));
}

#[test]
fn a_followed_node_is_asked_again_each_four_seconds_and_at_once_when_it_tells() {
    let mut node = MadeNode::new(50);
    let mut rig = following(&node, 30);
    let asked = |rig: &Rig| rig.sent.len();
    let before = asked(&rig);
    let rest = Duration::from_secs(40);
    rig.run(&node, rest, honest, ignore)
        .expect("an honest node");
    assert_eq!(asked(&rig) - before, 10);
    assert_eq!(rig.client.chain().claimed().map(Head::number), Some(50));
    node.chain.grow(52, b"");
    let range = BlockRange {
        earliest: 0,
        latest: 52,
        latest_hash: node.chain.hash(52),
    };
    let mut out = [0; 64];
    let length = range.encode(&mut out).expect("room");
    let event = rig
        .client
        .handle(rig.now, Protocol::Eth, 0x11, &out[..length]);
    assert_eq!(event, Ok(Event::Nothing));
    rig.run(&node, MOMENT, honest, ignore)
        .expect("an honest node");
    assert_eq!(rig.client.chain().claimed().map(Head::number), Some(52));
}

/// Half an hour beside a node whose chain grows each 12 s, with a reorganisation now and then.
#[test]
fn a_followed_chain_stays_linked_to_the_trusted_block() {
    let mut node = MadeNode::new(50);
    let mut rig = following(&node, 30);
    for block in 51..=200_u64 {
        if block.is_multiple_of(25) {
            node.chain = node.chain.branch(block - 4, block, &[block as u8]);
        } else {
            node.chain.grow(block, b"");
        }
        rig.run(&node, Duration::from_secs(12), honest, ignore)
            .expect("an honest node");
        let chain = rig.client.chain();
        assert_eq!(
            chain.claimed().map(Head::hash),
            Some(node.chain.hash(block))
        );
        assert_eq!(chain.ring().get(block), Some(node.chain.hash(block)));
        if block.is_multiple_of(32) {
            let finalized = node.trusted(block - 10).expect("a hash");
            rig.client.trust(finalized);
        }
    }
    assert!(rig.now.as_micros() >= 1_800_000_000 - 12_000_000);
    assert_eq!(rig.client.chain().trusted().map(Head::number), Some(182));
}

fn trusted_head(rig: &Rig) -> AnyHead {
    AnyHead::Trusted(*rig.client.chain().trusted().expect("a trusted head"))
}

/// Asks, and returns what was proved.
fn prove(rig: &mut Rig, node: &MadeNode, query: Query) -> Result<Option<Proof<'static>>, Fault> {
    if let Some(known) = rig.client.query(query).expect("it can be asked") {
        return Ok(Some(known));
    }
    let mut proved = None;
    rig.run(node, MOMENT, honest, |_, event| match event {
        Event::Proved(Proof::Account(account)) => proved = Some(Proof::Account(account)),
        Event::Proved(Proof::Slot(slot)) => proved = Some(Proof::Slot(slot)),
        Event::Proved(Proof::Code(code)) => {
            assert_eq!(code, CODE);
            proved = Some(Proof::Code(CODE));
        }
        _ => {}
    })?;
    Ok(proved)
}

#[test]
fn accounts_slots_and_code_are_proved_and_so_is_their_absence() {
    let node = MadeNode::new(50);
    let mut rig = following(&node, 50);
    let head = trusted_head(&rig);
    let account = |rig: &mut Rig, address| match prove(rig, &node, Query::Account { head, address })
        .expect("an honest node")
    {
        Some(Proof::Account(Graded::Trusted(account))) => account,
        other => panic!("no trusted account: {other:?}"),
    };
    let rich = account(&mut rig, RICH);
    let value = rich.account().expect("it is there");
    assert_eq!(
        (value.nonce, &value.balance[30..]),
        (7, &1007_u16.to_be_bytes()[..])
    );
    assert_eq!(rich.head().number(), 50);
    let plain = account(&mut rig, PLAIN);
    assert_eq!(
        plain.account().map(|account| account.code_hash),
        Some(Hash::EMPTY_CODE)
    );
    for n in 0..40 {
        assert_eq!(account(&mut rig, Address([n + 200; 20])).account(), None);
        assert!(account(&mut rig, Address([n; 20])).account().is_some());
    }
    for n in 0..SLOTS + 30 {
        let (key, value) = slot(n);
        let expected = if n < SLOTS { value } else { [0; 32] };
        let query = Query::Slot {
            account: Graded::Trusted(rich),
            key,
        };
        match prove(&mut rig, &node, query).expect("an honest node") {
            Some(Proof::Slot(Graded::Trusted(slot))) => assert_eq!(slot.value(), expected),
            other => panic!("no trusted slot: {other:?}"),
        }
    }
    let code = Query::Code {
        account: Graded::Trusted(rich),
    };
    assert_eq!(prove(&mut rig, &node, code), Ok(Some(Proof::Code(CODE))));
    // What follows from the account is not asked for.
    let before = rig.sent.len();
    let account = Graded::Trusted(plain);
    let zero = prove(
        &mut rig,
        &node,
        Query::Slot {
            account,
            key: [1; 32],
        },
    );
    assert!(
        matches!(zero, Ok(Some(Proof::Slot(Graded::Trusted(slot)))) if slot.value() == [0; 32])
    );
    assert_eq!(
        prove(&mut rig, &node, Query::Code { account }),
        Ok(Some(Proof::Code(&[])))
    );
    assert_eq!(rig.sent.len(), before);
}

#[test]
fn a_proof_against_a_claim_is_a_claim() {
    let node = MadeNode::new(50);
    let mut rig = following(&node, 20);
    let claimed = *rig.client.chain().claimed().expect("a claimed head");
    let head = AnyHead::Claimed(claimed);
    let proof = prove(
        &mut rig,
        &node,
        Query::Account {
            head,
            address: RICH,
        },
    );
    assert!(
        matches!(proof, Ok(Some(Proof::Account(Graded::Claimed(_))))),
        "{proof:?}"
    );
}

#[test]
fn state_that_is_not_served_is_told_from_a_lie() {
    let mut node = MadeNode::new(50);
    node.serves = 100..=200;
    let mut rig = following(&node, 50);
    let head = trusted_head(&rig);
    let query = Query::Account {
        head,
        address: RICH,
    };
    assert_eq!(rig.client.query(query), Ok(None));
    assert_eq!(rig.client.query(query), Err(QueryError::Busy));
    let mut told = None;
    let seen = |_: &mut Client<'static, 32>, event: Event<'_>| {
        if let Event::Unavailable(query) = event {
            told = Some(query);
        }
    };
    rig.run(&node, MOMENT, honest, seen)
        .expect("an honest node");
    assert_eq!(told, Some(query));
    rig.client.begin(rig.now, 69, false);
    assert_eq!(rig.client.query(query), Err(QueryError::NoSnap));
}

type Answer = (Protocol, u32, Vec<u8>);

/// Takes an answer of `snap` apart: request id, entries, nodes.
fn parts(payload: &[u8]) -> (u64, Vec<u8>, Vec<Vec<u8>>) {
    let list = rlp::Rlp::new(payload);
    let nodes = list.list_at(2).expect("nodes");
    (
        list.val_at(0).expect("an id"),
        list.at(1).expect("entries").as_raw().to_vec(),
        nodes,
    )
}

fn put_together((id, entries, nodes): (u64, Vec<u8>, Vec<Vec<u8>>)) -> Vec<u8> {
    let mut stream = rlp::RlpStream::new_list(3);
    stream.append(&id).append_raw(&entries, 1);
    stream.append_list::<Vec<u8>, _>(&nodes);
    stream.out().to_vec()
}

#[test]
fn lies_about_state_are_named_and_prove_nothing() {
    let node = MadeNode::new(50);
    type Lie = fn(&mut Vec<Vec<u8>>);
    let cut: Lie = |nodes| drop(nodes.pop());
    let lies: [(&str, Lie); 5] = [
        ("cut at the end", cut),
        ("cut at the root", |nodes| drop(nodes.remove(0))),
        ("another value", |nodes| {
            let leaf = nodes.last_mut().expect("a leaf");
            let last = leaf.len() - 1;
            leaf[last] ^= 1;
        }),
        ("a root of its own", |nodes| {
            let root = nodes.first_mut().expect("a root");
            root[10] ^= 1;
        }),
        ("garbage", |nodes| {
            nodes.iter_mut().for_each(|node| node.fill(0xff))
        }),
    ];
    for (name, lie) in lies {
        let mut rig = following(&node, 50);
        let head = trusted_head(&rig);
        let query = Query::Account {
            head,
            address: RICH,
        };
        assert_eq!(rig.client.query(query), Ok(None));
        let lies = |answer: &mut Answer| {
            let (id, entries, mut nodes) = parts(&answer.2);
            lie(&mut nodes);
            answer.2 = put_together((id, entries, nodes));
        };
        let fault = rig.run(&node, MOMENT, lies, ignore).expect_err(name);
        assert!(
            matches!(
                fault,
                Fault::Proof(ProofError::Trie(TrieError::MissingNode(_)))
            ),
            "{name}: {fault}"
        );
        assert_eq!(fault.reason(), DisconnectReason::PROTOCOL_ERROR);
        assert!(fault.is_lie());
    }
}

#[test]
fn a_proof_of_another_key_is_a_lie_and_nodes_too_many_are_not_looked_at() {
    let node = MadeNode::new(50);
    // The proof of another account, under the right request.
    let mut rig = following(&node, 50);
    let head = trusted_head(&rig);
    let address = Address([3; 20]);
    assert_eq!(rig.client.query(Query::Account { head, address }), Ok(None));
    let sent = rig.poll().expect("no fault");
    let other = node.answer(sent[0].0, &sent[0].1).expect("an answer");
    let (_, entries, foreign) = parts(&other.2);
    let mut rig = following(&node, 50);
    assert_eq!(
        rig.client.query(Query::Account {
            head,
            address: RICH
        }),
        Ok(None)
    );
    let lie = |answer: &mut Answer| {
        let (id, _, _) = parts(&answer.2);
        answer.2 = put_together((id, entries.clone(), foreign.clone()));
    };
    let fault = rig.run(&node, MOMENT, lie, ignore).expect_err("a lie");
    assert!(
        matches!(fault, Fault::Proof(ProofError::Trie(_))),
        "{fault}"
    );

    // The right nodes among many others.
    let mut rig = following(&node, 50);
    assert_eq!(
        rig.client.query(Query::Account {
            head,
            address: RICH
        }),
        Ok(None)
    );
    let more = |answer: &mut Answer| {
        let (id, entries, nodes) = parts(&answer.2);
        let mixed = nodes
            .iter()
            .flat_map(|node| [vec![1, 2, 3], foreign[0].clone(), node.clone()]);
        answer.2 = put_together((id, entries, mixed.collect()));
    };
    let mut is_proved = false;
    let seen = |_: &mut Client<'static, 32>, event: Event<'_>| {
        is_proved |= matches!(event, Event::Proved(Proof::Account(Graded::Trusted(account)))
            if account.account().is_some_and(|account| account.nonce == 7));
    };
    rig.run(&node, MOMENT, more, seen).expect("it is proved");
    assert!(is_proved);
}

#[test]
fn code_with_another_hash_is_a_lie() {
    let node = MadeNode::new(50);
    let mut rig = following(&node, 50);
    let head = trusted_head(&rig);
    let rich = prove(
        &mut rig,
        &node,
        Query::Account {
            head,
            address: RICH,
        },
    );
    let Ok(Some(Proof::Account(account))) = rich else {
        panic!("no account: {rich:?}")
    };
    assert_eq!(rig.client.query(Query::Code { account }), Ok(None));
    let lie = |answer: &mut Answer| *answer.2.last_mut().expect("code") ^= 1;
    let fault = rig.run(&node, MOMENT, lie, ignore).expect_err("a lie");
    assert!(
        matches!(fault, Fault::Proof(ProofError::WrongCode(_))),
        "{fault}"
    );
}

#[test]
fn headers_of_a_liar_are_named_and_what_was_known_stays() {
    let node = MadeNode::new(50);
    let mut rig = Rig::new(&node, node.trusted(30));
    rig.begin(&node, 69);
    let root = node.chain.0[9].state_root.0;
    let lie = |answer: &mut Answer| {
        // In the state root of the second header.
        let mut windows = answer.2.windows(32).enumerate();
        let roots = windows.by_ref().filter(|(_, window)| *window == root);
        let second = roots.map(|(at, _)| at).nth(1);
        if let Some(at) = second {
            answer.2[at] ^= 1;
        }
    };
    let fault = rig.run(&node, MOMENT, lie, ignore).expect_err("a lie");
    let named = Fault::Chain(ChainError::Link(LinkError::WrongHash));
    assert_eq!(fault, named);
    assert!(fault.is_lie());
    assert_eq!(rig.client.chain().trusted().map(Head::number), Some(30));
    // The next peer goes on from there.
    rig.begin(&node, 70);
    rig.run(&node, MOMENT, honest, ignore)
        .expect("an honest node");
    assert_eq!(rig.client.chain().claimed().map(Head::number), Some(50));
    let (_, status) = rig
        .sent
        .iter()
        .rfind(|(out, _)| out.code == 0 && out.protocol == Protocol::Eth)
        .expect("a Status");
    let status = Status::decode(70, status).expect("our Status");
    assert_eq!(
        (status.head, status.numbers),
        (node.chain.hash(30), Some((30, 30)))
    );
}

#[test]
fn nodes_of_other_chains_are_told_apart() {
    let node = MadeNode::new(50);
    let good = node.status(69);
    let cases = [
        (
            Status {
                version: 70,
                ..good
            },
            Fault::OtherVersion(70),
        ),
        (
            Status {
                network_id: 1,
                ..good
            },
            Fault::OtherNetwork(1),
        ),
        (
            Status {
                genesis: Hash([1; 32]),
                ..good
            },
            Fault::OtherGenesis(Hash([1; 32])),
        ),
        (
            Status {
                fork_id: devp2p_light::fork_id::MAINNET.fork_id(0, 0),
                ..good
            },
            Fault::OtherForks(ForkIdError::IncompatibleOrStale),
        ),
    ];
    for (status, fault) in cases {
        let mut rig = Rig::new(&node, None);
        rig.client.begin(rig.now, 69, true);
        rig.poll().expect("no fault");
        let mut out = [0; 256];
        let length = status.encode(&mut out).expect("room");
        // As it would be sent over version 69.
        let length = match status.version {
            70 => {
                out[2] = 70;
                length
            }
            _ => length,
        };
        let found = rig.client.handle(rig.now, Protocol::Eth, 0, &out[..length]);
        assert_eq!(found, Err(fault));
        assert_eq!(fault.reason(), DisconnectReason::USELESS_PEER);
    }
}

#[test]
fn status_comes_first_once_and_in_time() {
    let node = MadeNode::new(50);
    let headers = [0xc2, 0x01, 0xc0];
    let mut rig = Rig::new(&node, None);
    rig.client.begin(rig.now, 69, true);
    let at = |micros| PollAt::At(Instant::from_micros(micros));
    assert_eq!(rig.client.poll_at(), at(500_000));
    assert_eq!(rig.poll(), Ok(Vec::new()));
    // Ours is not waited for without an end: the peer may wait too.
    rig.now = Instant::from_micros(500_000);
    assert_eq!(rig.poll().map(|sent| sent.len()), Ok(1));
    let before = rig.client.handle(rig.now, Protocol::Eth, 4, &headers);
    assert_eq!(before, Err(Fault::StatusOutOfPlace));
    assert_eq!(
        rig.client.poll_at(),
        PollAt::At(Instant::from_micros(5_000_000))
    );
    rig.now = Instant::from_micros(4_999_999);
    assert_eq!(rig.poll(), Ok(Vec::new()));
    rig.now = Instant::from_micros(5_000_000);
    assert_eq!(rig.poll(), Err(Fault::NoStatus));

    rig.begin(&node, 69);
    let twice = rig.give_status(&node.status(69));
    assert_eq!(twice, Err(Fault::StatusOutOfPlace));
}

#[test]
fn answers_to_no_question_and_no_answers_are_faults() {
    let node = MadeNode::new(50);
    let mut rig = following(&node, 30);
    let unasked = |protocol, code| Err(Fault::Unasked { protocol, code });
    let handle = |rig: &mut Rig, protocol, code, payload: &[u8]| {
        rig.client
            .handle(rig.now, protocol, code, payload)
            .map(|_| ())
    };
    let none = [0xc2, 0x01, 0xc0];
    assert_eq!(
        handle(&mut rig, Protocol::Eth, 4, &none),
        unasked(Protocol::Eth, 4)
    );
    assert_eq!(
        handle(&mut rig, Protocol::Snap, 1, &none),
        unasked(Protocol::Snap, 1)
    );

    // One is open, and something else is answered.
    rig.now = rig.now.saturating_add(Duration::from_secs(4));
    let asked = rig.poll().expect("no fault");
    let request = GetBlockHeaders::decode(&asked[0].1).expect("a request");
    assert_eq!(request.origin, Origin::Number(51));
    let mut out = [0; 64];
    let length = BlockHeaders::encode(request.request_id + 1, &[], &mut out).expect("room");
    let other = handle(&mut rig, Protocol::Eth, 4, &out[..length]);
    assert_eq!(other, unasked(Protocol::Eth, 4));
    let due = rig.now.saturating_add(Duration::from_secs(15));
    assert_eq!(rig.client.poll_at(), PollAt::At(due));
    rig.now = due;
    assert_eq!(rig.poll(), Err(Fault::NoAnswer));
}

#[test]
fn an_answer_about_state_with_another_number_or_code_is_a_fault() {
    let node = MadeNode::new(50);
    let lies: [fn(&mut Answer); 2] = [
        |answer| {
            let (id, entries, nodes) = parts(&answer.2);
            answer.2 = put_together((id + 1, entries, nodes));
        },
        |answer| answer.1 = 3,
    ];
    for lie in lies {
        let mut rig = following(&node, 50);
        let head = trusted_head(&rig);
        let query = Query::Account {
            head,
            address: RICH,
        };
        assert_eq!(rig.client.query(query), Ok(None));
        let fault = rig.run(&node, MOMENT, lie, ignore).expect_err("a lie");
        assert!(
            matches!(
                fault,
                Fault::Unasked {
                    protocol: Protocol::Snap,
                    ..
                }
            ),
            "{fault}"
        );
    }
}

#[test]
fn requests_of_the_peer_are_answered_and_what_nobody_wants_is_skipped() {
    let node = MadeNode::new(50);
    let mut rig = following(&node, 30);
    let request = GetBlockHeaders {
        request_id: 0xabcd,
        origin: Origin::Number(30),
        amount: 1,
        skip: 0,
        reverse: false,
    };
    let mut out = [0; 64];
    let length = request.encode(&mut out).expect("room");
    for (protocol, code, answer) in [
        (Protocol::Eth, 3, vec![0xc4, 0x82, 0xab, 0xcd, 0xc0]),
        (Protocol::Eth, 5, vec![0xc4, 0x82, 0xab, 0xcd, 0xc0]),
        (Protocol::Snap, 0, vec![0xc5, 0x82, 0xab, 0xcd, 0xc0, 0xc0]),
        (Protocol::Snap, 4, vec![0xc4, 0x82, 0xab, 0xcd, 0xc0]),
    ] {
        let event = rig.client.handle(rig.now, protocol, code, &out[..length]);
        assert_eq!(event, Ok(Event::Nothing));
        assert_eq!(rig.client.poll_at(), PollAt::Now);
        let sent = rig.poll().expect("no fault");
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].0.protocol, sent[0].0.code), (protocol, code + 1));
        assert_eq!(sent[0].1, answer);
    }
    // Transactions, announcements, in any form; and those that were too large to be kept.
    for code in [0x01, 0x02, 0x07, 0x08, 0x0a] {
        let event = rig
            .client
            .handle(rig.now, Protocol::Eth, code, b"\xff whatever");
        assert_eq!(event, Ok(Event::Nothing), "{code}");
        assert_eq!(
            rig.client.handle_oversize(Protocol::Eth, code, 1 << 20),
            Ok(())
        );
    }
    assert_eq!(rig.poll(), Ok(Vec::new()));
}

#[test]
fn without_trust_the_head_is_what_the_peer_says_and_it_must_have_it() {
    let node = MadeNode::new(50);
    let mut rig = Rig::new(&node, None);
    rig.begin(&node, 69);
    rig.run(&node, MOMENT, honest, ignore)
        .expect("an honest node");
    assert_eq!(rig.client.chain().trusted(), None);
    assert_eq!(rig.client.chain().claimed().map(Head::number), Some(50));

    let mut rig = Rig::new(&node, None);
    rig.client.begin(rig.now, 69, true);
    rig.poll().expect("no fault");
    let made_up = Status {
        head: Hash([9; 32]),
        ..node.status(69)
    };
    rig.give_status(&made_up).expect("its chain is right");
    let fault = rig
        .run(&node, MOMENT, honest, ignore)
        .expect_err("no such block");
    assert_eq!(fault, Fault::Chain(ChainError::Lacks(Hash([9; 32]))));
}

#[test]
fn a_client_is_small() {
    // Besides its ring: two heads, the question that is open, and the query that waits, each of which has an account in it.
    assert!(size_of::<Client<'_, 32>>() <= 32 * 32 + 1200);
}
