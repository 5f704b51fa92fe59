//! What keys the digests of refresh tokens. The one rule: it is random, made with the store, and lies in it only sealed, so
//! that the digests tell nothing to whoever has the file but not the key.

use std::{fmt, sync::Arc};

use rusqlite::{OptionalExtension, params};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::super::{
    StoreError,
    seal::{Binding, Broken, Sealer},
};
use rusqlite::Connection;

const NAME: &str = "pepper";
const BLOCK: usize = 64;

/// Keys the digests.
#[derive(Clone)]
pub(super) struct Pepper(Arc<Zeroizing<[u8; 32]>>);

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper")
    }
}

impl Pepper {
    pub(super) fn random() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| {
            StoreError::new(super::super::error::Trouble::Io, "the operating system gave no random bytes")
        })?;
        Ok(Self(Arc::new(bytes)))
    }

    /// HMAC-SHA-256 (RFC 2104) of a text.
    pub(super) fn digest(&self, text: &str) -> [u8; 32] {
        let padded = |with: u8| {
            let mut block = Zeroizing::new([with; BLOCK]);
            block.iter_mut().zip(self.0.iter()).for_each(|(to, byte)| *to ^= byte);
            block
        };
        let inner = Sha256::new().chain_update(*padded(0x36)).chain_update(text).finalize();
        Sha256::new().chain_update(*padded(0x5c)).chain_update(inner).finalize().into()
    }

    /// Writes it, sealed with the active key.
    pub(super) fn write(&self, connection: &Connection, sealer: &Sealer) -> Result<(), StoreError> {
        let sealed = sealer.seal(Binding::pepper(), self.0.as_slice())?;
        let row = params![NAME, sealed.key_id.to_string(), sealed.bytes];
        connection.execute("INSERT OR REPLACE INTO sealed_values VALUES (?1, ?2, ?3)", row)?;
        Ok(())
    }

    /// Reads it. None: it is not there.
    pub(super) fn read(
        connection: &Connection,
        sealer: &Sealer,
    ) -> rusqlite::Result<Option<Result<Self, Broken>>> {
        let asked = "SELECT key_id, sealed FROM sealed_values WHERE name = ?1";
        let row: Option<(String, Vec<u8>)> =
            connection.query_row(asked, [NAME], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        Ok(row.and_then(|(key_id, sealed)| Self::open(NAME, &key_id, &sealed, sealer)))
    }

    /// What a sealed value is; None: it has another name.
    pub(super) fn open(
        name: &str,
        key_id: &str,
        sealed: &[u8],
        sealer: &Sealer,
    ) -> Option<Result<Self, Broken>> {
        (name == NAME).then(|| {
            let bytes = sealer.open(Binding::pepper(), key_id, sealed)?;
            let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| Broken::Altered)?;
            Ok(Self(Arc::new(Zeroizing::new(bytes))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_hmac_of_rfc_4231() {
        // Test case 1 of RFC 4231 has a key of 20 bytes; HMAC pads it with zeroes to the same block.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        let digest = Pepper(Arc::new(Zeroizing::new(key))).digest("Hi There");
        assert_eq!(digest.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
    }
}
