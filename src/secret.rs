//! Secrets: values that cannot print themselves. The one rule: a secret leaves this type only through [`Secret::expose`],
//! and what stands for it in logs and answers is its [`Fingerprint`].

use std::{fmt, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// A client secret, api key, caller key or token. Wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself, for the one place that must send it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What may be shown instead of the secret.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = sha256(self.expose());
        Fingerprint([digest[0], digest[1], digest[2], digest[3]])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.fingerprint())
    }
}

/// The first four bytes of a secret's SHA-256: enough to tell two secrets apart, too little to find one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 4]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// SHA-256 of a text.
pub fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Where a configured secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// Written in the configuration or taken from an environment variable: fixed while the process lives.
    Fixed(Secret),
    /// A file, read anew at every use, so that a rotated Kubernetes secret is seen without a restart.
    File(PathBuf),
}

/// Why a secret file gives no secret. Names the file, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("the secret file {path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// It holds nothing, more than one line, or bytes that are no text.
    #[error("the secret file {path} must hold the secret alone, as one line of text")]
    NotOneLine {
        /// The file.
        path: PathBuf,
    },
}

impl SecretSource {
    /// The secret as it is now. A trailing line break is not part of it.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold exactly one line.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Fixed(secret) => Ok(secret.clone()),
            Self::File(path) => read_file(path),
        }
    }
}

fn read_file(path: &PathBuf) -> Result<Secret, SecretError> {
    let unreadable =
        |e: std::io::Error| SecretError::Unreadable { path: path.clone(), reason: e.to_string() };
    let bytes = zeroize::Zeroizing::new(std::fs::read(path).map_err(unreadable)?);
    let not_one_line = || SecretError::NotOneLine { path: path.clone() };
    let text = std::str::from_utf8(&bytes).map_err(|_| not_one_line())?.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(not_one_line());
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_only_its_fingerprint() {
        let secret = Secret::new("marker-4711");
        assert_eq!(format!("{secret:?}"), format!("Secret({})", secret.fingerprint()));
        assert!(!format!("{secret:?}").contains("4711"));
    }

    #[test]
    fn a_secret_file_is_read_at_every_use_and_must_hold_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let source = SecretSource::File(path.clone());
        assert!(matches!(source.read(), Err(SecretError::Unreadable { .. })));
        std::fs::write(&path, "one\r\n").unwrap();
        assert_eq!(source.read().unwrap().expose(), "one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(source.read().unwrap().expose(), "two");
        for bad in ["", "\n", "a\nb\n", "a\0b"] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(source.read(), Err(SecretError::NotOneLine { .. })), "{bad:?}");
        }
    }
}
