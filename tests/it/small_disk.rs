//! A disk that can be filled. The one rule: it ends with its owner.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// A file system of one mebibyte, where this process may mount one.
pub(crate) struct SmallDisk {
    place: tempfile::TempDir,
}

impl SmallDisk {
    pub(crate) fn mount() -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"]).arg(place.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self { place }),
            refused => {
                println!("skipped: no file system can be mounted here: {refused:?}");
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes all room there is.
    pub(crate) fn fill(&self) {
        let mut filler = File::options().append(true).create(true).open(self.filler()).unwrap();
        for size in [65536, 4096, 1] {
            while filler.write_all(&vec![7; size]).is_ok() {}
        }
    }

    /// Takes it away, also from under those who have files of it open.
    pub(crate) fn unmount(&self) {
        assert!(Command::new("umount").arg("-l").arg(self.place.path()).status().unwrap().success());
    }

    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.place.path()).status();
    }
}
