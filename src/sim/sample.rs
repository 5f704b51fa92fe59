//! Data of any length that every process can compute: what `bytes/{n}` and report downloads consist of. The one
//! rule: no two neighbouring chunks are alike, so that a lost, doubled or swapped chunk changes the digest.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::OnceLock;

use super::dice::Dice;
use super::hash::hex;

const CHUNK: usize = 64 * 1024;

/// Twice a chunk of noise; chunks are windows into it.
fn noise() -> &'static Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut dice = Dice::of(0, &["sample"]);
        (0..2 * CHUNK / 8).flat_map(|_| dice.next().to_le_bytes()).collect()
    })
}

/// The chunk that begins at `offset` (a multiple of the chunk length) of a sample of `total` bytes.
pub(super) fn chunk_at(offset: u64, total: u64) -> Bytes {
    let index = offset / CHUNK as u64;
    let start = usize::try_from(index.wrapping_mul(7919) % CHUNK as u64).unwrap_or(0);
    let length = usize::try_from((total - offset).min(CHUNK as u64)).unwrap_or(CHUNK);
    noise().slice(start..start + length)
}

/// SHA-256, in hexadecimal, of the deterministic data of `total` bytes.
pub(super) fn sha256(total: u64) -> String {
    let mut digest = Sha256::new();
    let mut offset = 0;
    while offset < total {
        let chunk = chunk_at(offset, total);
        offset += chunk.len() as u64;
        digest.update(&chunk);
    }
    hex(&digest.finalize())
}
