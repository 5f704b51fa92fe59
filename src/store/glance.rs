//! Which file a name stands for, and whether it was changed, from metadata alone.
//!
//! The store's files are never opened for this. Closing any descriptor of the database would give up SQLite's locks on it,
//! which POSIX binds to the process and not to the descriptor.

use std::{
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// A file, whatever its name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// A file with what changes when somebody writes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) id: FileId,
    pub(super) length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

/// Where an open file is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It has this name.
    At(PathBuf),
    /// It has no name left, but can still be read there.
    Nameless(PathBuf),
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// What has that name; None when nothing has.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        Ok(look(path)?.map(|metadata| Self::of(&metadata)))
    }

    /// Where this process has it open, as far as `/proc` tells.
    pub(super) fn whereabouts(self) -> Option<Whereabouts> {
        let open = std::fs::read_dir("/proc/self/fd").ok()?.flatten().find_map(|entry| {
            // Follows the link to the open file itself, not to what has its name now.
            let metadata = entry.path().metadata().ok()?;
            (Self::of(&metadata) == self).then_some((entry, metadata))
        });
        let (entry, metadata) = open?;
        if metadata.nlink() > 0 {
            return std::fs::read_link(entry.path()).ok().map(Whereabouts::At);
        }
        let place = format!("/proc/{}/fd/{}", std::process::id(), entry.file_name().display());
        Some(Whereabouts::Nameless(place.into()))
    }
}

impl Glance {
    /// What has that name; None when nothing has, or something that is no file.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        let file = look(path)?.filter(Metadata::is_file);
        Ok(file.map(|metadata| Self {
            id: FileId::of(&metadata),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }))
    }
}

fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_copy_under_the_same_name_is_another_file_and_one_that_was_moved_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (dir.path().join("here"), dir.path().join("there"));
        std::fs::write(&here, "text").unwrap();
        let first = Glance::at(&here).unwrap().unwrap();
        let open = File::open(&here).unwrap();
        std::fs::rename(&here, &there).unwrap();
        assert_eq!(Glance::at(&here).unwrap(), None);
        assert_eq!(Glance::at(&there).unwrap(), Some(first));
        assert_eq!(first.id.whereabouts(), Some(Whereabouts::At(there.canonicalize().unwrap())));
        std::fs::copy(&there, &here).unwrap();
        assert_ne!(Glance::at(&here).unwrap().unwrap().id, first.id);
        assert_eq!(FileId::at(&there).unwrap(), Some(FileId::of(&open.metadata().unwrap())));
        std::fs::remove_file(&there).unwrap();
        let Some(Whereabouts::Nameless(place)) = first.id.whereabouts() else { panic!("it has a name") };
        assert_eq!(std::fs::read_to_string(place).unwrap(), "text");
    }

    #[test]
    fn a_file_that_was_cut_off_or_overwritten_in_its_place_looks_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "text").unwrap();
        let first = Glance::at(&path).unwrap().unwrap();
        File::create(&path).unwrap();
        let cut = Glance::at(&path).unwrap().unwrap();
        assert!(cut != first && cut.id == first.id);
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        std::fs::write(&path, "next").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_ne!(Glance::at(&path).unwrap().unwrap(), first);
        assert_eq!(Glance::at(&path.join("below")).unwrap(), None, "a file has nothing below it");
    }
}
