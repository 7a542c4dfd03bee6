//! Chains of made-up headers, and the nodes that serve them.
use devp2p_light::chain::{Chain, ChainError, Question, Step};
use devp2p_light::eth::{BlockHeaders, GetBlockHeaders, Origin};
use devp2p_light::primitives::Hash;

use crate::bytes::MadeHeader;

/// A chain from its genesis block on.
#[derive(Debug, Clone)]
pub(crate) struct MadeChain(pub(crate) Vec<MadeHeader>);

impl MadeChain {
    /// A chain of blocks 0 to `last`.
    pub(crate) fn new(last: u64) -> Self {
        let genesis = MadeHeader {
            parent: Hash([0; 32]),
            state_root: Hash([0x11; 32]),
            number: 0,
            timestamp: 0,
            extra: Vec::new(),
        };
        let mut chain = Self(vec![genesis]);
        chain.grow(last, b"");
        chain
    }

    /// The chain up to block `at`, and from there on another branch up to block `last`.
    pub(crate) fn branch(&self, at: u64, last: u64, extra: &[u8]) -> Self {
        let mut chain = Self(self.0[..=at as usize].to_vec());
        chain.grow(last, extra);
        chain
    }

    /// Adds blocks up to `last`.
    pub(crate) fn grow(&mut self, last: u64, extra: &[u8]) {
        while self.last().number < last {
            let parent = self.last();
            let next = MadeHeader {
                parent: parent.hash(),
                state_root: Hash::of(&parent.state_root.0),
                number: parent.number + 1,
                timestamp: parent.timestamp + 12,
                extra: extra.to_vec(),
            };
            self.0.push(next);
        }
    }

    pub(crate) fn last(&self) -> &MadeHeader {
        self.0.last().expect("a genesis block")
    }

    pub(crate) fn hash(&self, number: u64) -> Hash {
        self.0[number as usize].hash()
    }

    /// The headers that an honest node with this chain sends.
    pub(crate) fn serve(&self, request: &GetBlockHeaders) -> Vec<Vec<u8>> {
        let first = match request.origin {
            Origin::Number(number) => usize::try_from(number).ok(),
            Origin::Hash(hash) => self.0.iter().position(|header| header.hash() == hash),
        };
        let Some(first) = first.filter(|first| *first < self.0.len()) else {
            return Vec::new();
        };
        let amount = request.amount as usize;
        let headers: Vec<_> = match request.reverse {
            true => self.0[..=first].iter().rev().take(amount).collect(),
            false => self.0[first..].iter().take(amount).collect(),
        };
        headers.into_iter().map(MadeHeader::encode).collect()
    }
}

/// Gives a chain these headers as the answer to a question.
pub(crate) fn give<const N: usize>(
    chain: &mut Chain<N>,
    question: Question,
    headers: &[Vec<u8>],
) -> Result<Step, ChainError> {
    let headers: Vec<_> = headers.iter().map(Vec::as_slice).collect();
    let mut out = vec![0; 1 << 20];
    let length = BlockHeaders::encode(1, &headers, &mut out).expect("room");
    let answer = BlockHeaders::decode(&out[..length]).expect("an answer");
    chain.answer(question, answer.headers)
}

/// Asks a node whatever there is to ask, `most` headers at a time, until nothing comes any more. Returns the steps.
pub(crate) fn follow<const N: usize>(
    chain: &mut Chain<N>,
    node: &MadeChain,
    most: u64,
) -> Result<Vec<Step>, ChainError> {
    let mut steps = Vec::new();
    loop {
        let question = chain.question(most).expect("a question");
        let headers = node.serve(&question.request(1));
        let step = give(chain, question, &headers)?;
        steps.push(step);
        if step == Step::CaughtUp {
            return Ok(steps);
        }
        assert!(steps.len() < 1000, "it asks without an end: {question:?}");
    }
}
