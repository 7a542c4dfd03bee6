//! Merkle-Patricia proofs, verified where they lie: one pass over the nodes, no memory but the position in the key.
//!
//! The trie is that of the Ethereum yellow paper, appendix D. A proof is the nodes on the way from the root to a key, root
//! first. Each node is hashed at most once. Other nodes may stand between them, as they do in an answer of `snap` that proves
//! both ends of a range: what no hash leads to is not looked at.

use core::fmt;

use devp2p_core::rlp::{self, Item, Reader};

use crate::primitives::{DecodeError, Hash, whole_list};

/// Why nodes prove nothing about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum TrieError {
    /// The node with this hash, to which the way leads, is not among them, or before its parent.
    MissingNode(Hash),
    /// The list of nodes is none.
    Malformed(DecodeError),
    /// A node with the right hash is no node: the root is not that of a trie.
    NotANode,
}

impl From<rlp::Error> for TrieError {
    fn from(error: rlp::Error) -> Self {
        Self::Malformed(error.into())
    }
}

impl fmt::Display for TrieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingNode(hash) => write!(f, "the proof lacks the node {hash}"),
            Self::Malformed(error) => write!(f, "the proof cannot be read: {error}"),
            Self::NotANode => f.write_str("a node of the proof is not one of a trie"),
        }
    }
}

impl core::error::Error for TrieError {}

/// The nodes of a proof, as a list of an answer has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nodes<'a>(Reader<'a>);

impl<'a> Nodes<'a> {
    /// The nodes that are the items of this list.
    pub const fn new(items: Reader<'a>) -> Self {
        Self(items)
    }

    /// Whether there are none, or none left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Result<&'a [u8], rlp::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let node = self.0.string();
        if node.is_err() {
            self.0 = Reader::default();
        }
        Some(node)
    }
}

/// What the trie with this root has under `key` (the hashed key, for state and storage): its value, or proof that there is none.
///
/// # Errors
/// [`TrieError`] if the nodes prove neither.
pub fn lookup<'a>(
    root: Hash,
    key: &[u8],
    nodes: impl IntoIterator<Item = Result<&'a [u8], rlp::Error>>,
) -> Result<Option<&'a [u8]>, TrieError> {
    if root == Hash::EMPTY_TRIE {
        return Ok(None);
    }
    let mut nodes = nodes.into_iter();
    let mut key = Nibbles::of_key(key);
    let mut node = Node::decode(find(root, &mut nodes)?)?;
    // A branch takes one digit of the key and an extension at least one, so that the loop ends.
    loop {
        let child = match node {
            Node::Branch(mut items) => {
                let index = key.next();
                for _ in 0..index.unwrap_or(16) {
                    items.item()?;
                }
                let item = items.item()?;
                if index.is_none() {
                    return match item {
                        Item::String([]) => Ok(None),
                        Item::String(value) => Ok(Some(value)),
                        Item::List(_) => Err(TrieError::NotANode),
                    };
                }
                item
            }
            Node::Leaf(path, value) => {
                return Ok((key.strip(path) && key.is_empty()).then_some(value));
            }
            Node::Extension(path, child) => {
                if !key.strip(path) {
                    return Ok(None);
                }
                child
            }
        };
        node = match child {
            Item::String([]) => return Ok(None),
            Item::String(hash) => {
                let hash = hash.try_into().map_err(|_| TrieError::NotANode)?;
                Node::decode(find(Hash(hash), &mut nodes)?)?
            }
            // A node whose encoding is shorter than a hash stands in its parent.
            Item::List(items) => Node::read(items)?,
        };
    }
}

/// The first of the nodes that are left which has this hash.
fn find<'a>(
    hash: Hash,
    nodes: &mut impl Iterator<Item = Result<&'a [u8], rlp::Error>>,
) -> Result<&'a [u8], TrieError> {
    for node in nodes {
        let node = node?;
        if Hash::of(node) == hash {
            return Ok(node);
        }
    }
    Err(TrieError::MissingNode(hash))
}

enum Node<'a> {
    /// Sixteen children and a value.
    Branch(Reader<'a>),
    /// The rest of the key, and the value.
    Leaf(Nibbles<'a>, &'a [u8]),
    /// Some digits of the key, and the child.
    Extension(Nibbles<'a>, Item<'a>),
}

impl<'a> Node<'a> {
    fn decode(encoded: &'a [u8]) -> Result<Self, TrieError> {
        Self::read(whole_list(encoded).map_err(|_| TrieError::NotANode)?)
    }

    fn read(items: Reader<'a>) -> Result<Self, TrieError> {
        match length(items) {
            Some(17) => Ok(Self::Branch(items)),
            Some(2) => Self::short(items),
            _ => Err(TrieError::NotANode),
        }
    }

    fn short(mut items: Reader<'a>) -> Result<Self, TrieError> {
        let (path, is_leaf) = Nibbles::of_path(items.string()?).ok_or(TrieError::NotANode)?;
        Ok(match (is_leaf, items.item()?) {
            (true, Item::String(value)) if !value.is_empty() => Self::Leaf(path, value),
            (false, child) if !path.is_empty() => Self::Extension(path, child),
            _ => return Err(TrieError::NotANode),
        })
    }
}

/// How many items there are, up to 17; `None` if there are more, or they are not RLP.
fn length(mut items: Reader<'_>) -> Option<usize> {
    let mut length = 0;
    while !items.is_empty() && length <= 17 {
        items.item().ok()?;
        length += 1;
    }
    (length <= 17).then_some(length)
}

/// Hexadecimal digits, of a key or of a piece of it.
#[derive(Clone, Copy)]
struct Nibbles<'a> {
    bytes: &'a [u8],
    /// Which digit is next.
    at: usize,
}

impl<'a> Nibbles<'a> {
    const fn of_key(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The digits of a leaf's or an extension's path (hex-prefix encoding, yellow paper, appendix C), and whether it is a leaf's.
    fn of_path(bytes: &'a [u8]) -> Option<(Self, bool)> {
        let first = *bytes.first()?;
        let (is_leaf, at) = match first >> 4 {
            0 if first == 0x00 => (false, 2),
            1 => (false, 1),
            2 if first == 0x20 => (true, 2),
            3 => (true, 1),
            _ => return None,
        };
        Some((Self { bytes, at }, is_leaf))
    }

    fn is_empty(&self) -> bool {
        self.at >= 2 * self.bytes.len()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at / 2)?;
        let digit = if self.at.is_multiple_of(2) {
            byte >> 4
        } else {
            byte & 15
        };
        self.at += 1;
        Some(digit)
    }

    /// Takes `path` away from the front; false if something else stands there.
    fn strip(&mut self, mut path: Nibbles<'_>) -> bool {
        while let Some(digit) = path.next() {
            if self.next() != Some(digit) {
                return false;
            }
        }
        true
    }
}
