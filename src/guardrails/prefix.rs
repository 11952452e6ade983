//! The longest prefix of a number, in a digit trie.

use std::fmt;

use crate::model::E164;

/// The first digits of a number, with plus sign in text: `+1876`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix(String);

/// Why a list of prefixes cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    #[error("expected a prefix such as \"+1\": '+', then 1 to 15 digits, the first not 0")]
    Malformed,
    /// Two prices for one prefix: neither is longer, so neither could win.
    #[error("this prefix is in the list already")]
    Twice,
}

impl Prefix {
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let digits = text.strip_prefix('+').ok_or(PrefixError::Malformed)?;
        let fits = (1..=15).contains(&digits.len()) && !digits.starts_with('0');
        if fits && digits.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(digits.to_owned()))
        } else {
            Err(PrefixError::Malformed)
        }
    }

    pub(super) fn digits(&self) -> &str {
        &self.0
    }
}

/// A prefix may be as long as a number, and numbers are not shown.
impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix(+{}…, {} digits)", &self.0[..1], self.0.len())
    }
}

/// A value for each of some prefixes, as a trie of digits: a look-up reads one node per digit.
#[derive(Clone)]
pub(super) struct PrefixMap<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Clone)]
struct Node<T> {
    /// Index of the node for each further digit; 0, which is the root, for none.
    next: [u32; 10],
    value: Option<T>,
}

impl<T> Node<T> {
    fn new() -> Self {
        Self { next: [0; 10], value: None }
    }
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::new()] }
    }
}

impl<T> fmt::Debug for PrefixMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrefixMap({} nodes)", self.nodes.len())
    }
}

/// What a number's longest prefix says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match<T> {
    /// Digits of the prefix.
    pub length: usize,
    pub value: T,
}

impl<T: Copy> PrefixMap<T> {
    /// The place of the value for `digits`, ASCII `0` to `9` only.
    pub fn entry(&mut self, digits: &str) -> &mut Option<T> {
        let mut at = 0;
        for digit in digits.bytes().map(|b| usize::from(b - b'0')) {
            if self.nodes[at].next[digit] == 0 {
                self.nodes[at].next[digit] = self.nodes.len() as u32;
                self.nodes.push(Node::new());
            }
            at = self.nodes[at].next[digit] as usize;
        }
        &mut self.nodes[at].value
    }

    pub fn longest(&self, number: E164) -> Option<Match<T>> {
        let mut best = None;
        let mut at = 0;
        for (index, digit) in number.text().digits().bytes().map(|b| usize::from(b - b'0')).enumerate() {
            at = self.nodes[at].next[digit] as usize;
            if at == 0 {
                break;
            }
            if let Some(value) = self.nodes[at].value {
                best = Some(Match { length: index + 1, value });
            }
        }
        best
    }
}
