//! Files that hold a key. The one rule: a key that somebody else can read or write is no key.
//!
//! What is accepted is decided on the open file, so a symbolic link is followed and its target must pass:
//! - a regular file,
//! - that belongs to the effective user or to root,
//! - whose mode gives others nothing, and its group nothing either.
//!
//! One exception: a file that belongs to root while we are not root may be readable (not writable) for its group. That is
//! how the kubelet (with `fsGroup`) and systemd (`LoadCredential=`) hand a secret to a service that does not run as root,
//! and nobody but root can have made it so.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{
    files,
    keyring::{Key, KeyError},
};

/// More than any key has: the wrong file.
const LONGEST: u64 = 4096;

/// Why a file gives no key. Holds nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system refused.
    #[error("{0}")]
    Failed(#[from] io::Error),
    /// A directory, a pipe or a device.
    #[error("it is no regular file")]
    NotAFile,
    /// Neither the effective user's nor root's.
    #[error("it belongs to user {owner}, not to the user this program runs as ({euid})")]
    ForeignOwner {
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        euid: u32,
    },
    /// Somebody else may read or write it.
    #[error("its mode {mode:04o} lets other users at it; `chmod 600` it")]
    Open {
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Reads the key in a file.
///
/// # Errors
/// When it cannot be read, other users can get at it, or it holds no key.
pub(super) fn read(path: &Path) -> Result<Key, KeyFileError> {
    // Without NONBLOCK a pipe in its place would make us wait for a writer.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile);
    }
    judge(metadata.mode(), metadata.uid(), rustix::process::geteuid().as_raw())?;
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize));
    file.take(LONGEST).read_to_string(&mut text).map_err(|_| KeyError::Malformed)?;
    Ok(Key::parse(&text)?)
}

/// An attribute that no copy has by accident: the inode of the file that was made together with a store.
const MADE: &str = "user.marketgate.store";

/// Whether this very file was made together with a store. A copy of it was not: it may seal a new one.
pub(super) fn was_made_with_a_store(path: &Path) -> bool {
    let mut value = [0; 32];
    let Ok(length) = rustix::fs::getxattr(path, MADE, &mut value) else { return false };
    path.metadata().is_ok_and(|metadata| value[..length] == *metadata.ino().to_string().as_bytes())
}

/// Makes a new key in a new file, durably, with mode 0600 whatever the umask.
///
/// # Errors
/// When the file exists or cannot be made.
pub(super) fn make(path: &Path) -> Result<Key, KeyFileError> {
    let key = Key::random()?;
    // A start that is killed leaves a whole key or none: half of one would stand in the way of the next.
    let unfinished = files::beside(path, ".new");
    files::remove(&unfinished)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let named = fill(&mut file, &key).and_then(|()| name(&unfinished, path));
    let removed = files::remove(&unfinished);
    named.and(removed).and_then(|()| files::sync_directory_of(path))?;
    Ok(key)
}

/// Gives a file a name that nothing has yet.
fn name(unfinished: &Path, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(unfinished, path) {
        // Some file systems have no second names.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => std::fs::rename(unfinished, path),
        linked => linked,
    }
}

fn fill(file: &mut File, key: &Key) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(key.to_text().as_bytes())?;
    let inode = file.metadata()?.ino().to_string();
    let noted = rustix::fs::fsetxattr(&*file, MADE, inode.as_bytes(), rustix::fs::XattrFlags::empty());
    if let Err(error) = noted {
        tracing::debug!(%error, "this file system has no attributes: the key cannot say that it was made with a store");
    }
    file.sync_all()
}

fn judge(mode: u32, owner: u32, euid: u32) -> Result<(), KeyFileError> {
    let mode = mode & 0o7777;
    if owner != euid && owner != 0 {
        return Err(KeyFileError::ForeignOwner { owner, euid });
    }
    let roots_gift = owner == 0 && euid != 0;
    let forbidden = if roots_gift { 0o037 } else { 0o077 };
    if mode & forbidden == 0 { Ok(()) } else { Err(KeyFileError::Open { mode }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_may_have_anything_of_a_key_file() {
        for (mode, owner, euid) in [(0o600, 5, 5), (0o400, 5, 5), (0o600, 0, 0), (0o440, 0, 5), (0o400, 0, 5)]
        {
            assert!(judge(0o100_000 | mode, owner, euid).is_ok(), "{mode:o} {owner} {euid}");
        }
        for (mode, owner, euid) in
            [(0o640, 5, 5), (0o604, 5, 5), (0o440, 0, 0), (0o460, 0, 5), (0o444, 0, 5), (0o644, 0, 5)]
        {
            let refused = judge(0o100_000 | mode, owner, euid);
            assert!(matches!(refused, Err(KeyFileError::Open { .. })), "{mode:o} {owner} {euid}");
        }
        assert!(matches!(judge(0o600, 6, 5), Err(KeyFileError::ForeignOwner { owner: 6, euid: 5 })));
        assert!(
            matches!(judge(0o600, 5, 0), Err(KeyFileError::ForeignOwner { .. })),
            "root trusts only root"
        );
    }
}
