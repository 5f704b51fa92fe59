//! SHA-256 as the simulator writes it: lower-case hexadecimal, and a short form that names a credential without showing it.

use sha2::{Digest, Sha256};
use std::fmt::Write;

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Twelve hexadecimal digits that stay the same for the same credential.
pub(super) fn fingerprint(credential: &str) -> String {
    hex(&Sha256::digest(credential.as_bytes())[..6])
}
