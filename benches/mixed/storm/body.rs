//! Bodies that prove themselves. The one rule: what follows from a key can be checked at any place, in whatever pieces it
//! comes.

use bytes::{Bytes, BytesMut};

/// Most bytes of a piece.
const PIECE: u64 = 32 * 1024;

/// The pattern of one exchange of one seller: nobody else's body looks like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pattern(u64);

impl Pattern {
    pub(super) fn of(seller: &str, number: u64) -> Self {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(mixed(seller.bytes().fold(0xcbf2_9ce4_8422_2325, fold) ^ number))
    }

    /// So many bytes from a place on.
    fn bytes(self, from: u64, length: usize) -> Bytes {
        let words = from / 8..=(from + length as u64) / 8;
        let mut bytes = BytesMut::with_capacity(length + 16);
        words.for_each(|word| bytes.extend_from_slice(&mixed(self.0 ^ word).to_le_bytes()));
        let start = (from % 8) as usize;
        bytes.freeze().slice(start..start + length)
    }

    /// A body of this length, in pieces.
    pub(super) fn pieces(self, length: u64) -> impl Iterator<Item = Bytes> + Send + use<> {
        let starts = (0..length).step_by(PIECE as usize);
        starts.map(move |from| self.bytes(from, PIECE.min(length - from) as usize))
    }
}

fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Reads a body against its pattern.
#[derive(Debug)]
pub(super) struct Check {
    pattern: Pattern,
    pub(super) read: u64,
    pub(super) is_right: bool,
}

impl Check {
    pub(super) fn new(pattern: Pattern) -> Self {
        Self { pattern, read: 0, is_right: true }
    }

    pub(super) fn take(&mut self, piece: &[u8]) {
        self.is_right &= self.pattern.bytes(self.read, piece.len()) == piece;
        self.read += piece.len() as u64;
    }

    /// Whether these were all of so many bytes.
    pub(super) fn is_whole(&self, length: u64) -> bool {
        self.is_right && self.read == length
    }
}
