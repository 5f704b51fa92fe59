//! The high-water mark: how far the database had come, in a small file beside it, so that an older copy put back in its
//! place is noticed.
//!
//! It is written after a commit, never before, and the commit is durable by then. So whatever part of it a power cut leaves,
//! it is never ahead of the database. It is not made durable by itself on every write: that would double what a rotation
//! costs, and what is missed without is only an old copy put back after a power cut within seconds of the last rotation.
//! The text is shorter than any disk's sector; where it is torn all the same, its sum does not match and it counts as missing.

use std::{
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::files;

/// How far a store has come: which store it is, and how many commits have begun a refresh or changed a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    /// A random name that every copy of the store shares, 32 hexadecimal digits.
    pub(super) store: String,
    pub(super) commits: u64,
}

impl Progress {
    /// Whether this is an earlier state of the same store.
    pub(super) fn is_behind(&self, mark: &Self) -> bool {
        self.store == mark.store && self.commits < mark.commits
    }
}

/// The file that holds it.
#[derive(Debug)]
pub(super) struct MarkFile {
    path: PathBuf,
}

impl MarkFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it says. None: there is none, or none that can be read; an error says why.
    pub(super) fn read(&self) -> io::Result<Option<Progress>> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it in one piece over what stands there; a file that is gone is made again.
    pub(super) fn write(&self, progress: &Progress) -> io::Result<()> {
        let (file, text) = (files::open_or_make(&self.path)?, text(progress));
        file.write_all_at(text.as_bytes(), 0)?;
        if file.metadata()?.len() == text.len() as u64 { Ok(()) } else { file.set_len(text.len() as u64) }
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        files::open_or_make(&self.path)?.sync_data()
    }
}

/// Always of the same length, so that a later one covers an earlier one.
fn text(Progress { store, commits }: &Progress) -> String {
    let said = format!("marketgate store mark 1\nstore {store}\ncommits {commits:020}\n");
    let sum = sum(&said);
    format!("{said}sum {sum}\n")
}

fn parse(written: &str) -> Option<Progress> {
    let field = |name: &str| written.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let progress = Progress { store: field("store")?.to_owned(), commits: field("commits")?.parse().ok()? };
    (text(&progress) == written).then_some(progress)
}

fn sum(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(commits: u64) -> Progress {
        Progress { store: "0123456789abcdef0123456789abcdef".to_owned(), commits }
    }

    #[test]
    fn a_mark_says_what_was_written_last_and_a_changed_or_cut_one_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mark = MarkFile::new(dir.path().join("mark"));
        assert_eq!(mark.read().unwrap(), None);
        for commits in [7, u64::MAX, 0] {
            mark.write(&progress(commits)).unwrap();
            assert_eq!(mark.read().unwrap(), Some(progress(commits)));
        }
        let good = std::fs::read(mark.path()).unwrap();
        assert!(good.len() <= 512, "longer than a sector");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(mark.path(), &bad).unwrap();
            assert_eq!(mark.read().unwrap(), None, "byte {at}");
            std::fs::write(mark.path(), &good[..at]).unwrap();
            assert_eq!(mark.read().unwrap(), None, "cut at {at}");
        }
        std::fs::write(mark.path(), [0xff; 100]).unwrap();
        assert_eq!(mark.read().unwrap(), None);
    }

    #[test]
    fn only_an_earlier_state_of_the_same_store_is_behind() {
        assert!(progress(4).is_behind(&progress(5)));
        assert!(!progress(5).is_behind(&progress(5)) && !progress(6).is_behind(&progress(5)));
        let other = Progress { store: "f".repeat(32), commits: 1 };
        assert!(!other.is_behind(&progress(5)));
    }
}
