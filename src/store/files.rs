//! Where the store's files lie, and how they are made. The one rule: whatever we make is for our user alone, under any
//! umask, and durable when its maker returns.
//!
//! All of them lie beside the database and begin with its name: `.lock`, `.spill`, `.mark`, `.new` (a new store in the making),
//! `.rebuilt` (one that will take the place of another) and SQLite's own `-journal`. The database's path is used with its directory resolved and its last part taken literally: a
//! symbolic link there is refused, because two names for one store would mean two locks.

use std::{
    ffi::OsString,
    fs::{DirBuilder, File, Metadata, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// The files of one store.
#[derive(Debug, Clone)]
pub(super) struct Files {
    database: PathBuf,
}

/// Why a store cannot lie there.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The operating system refused.
    #[error("{0}")]
    Failed(#[from] io::Error),
    /// Anybody could put another file in its place, or one of SQLite's beside it.
    #[error(
        "its directory can be written to by everybody (mode {mode:04o}): `chmod go-w` it, or use one of its own"
    )]
    OpenDirectory {
        /// The directory's permission bits.
        mode: u32,
    },
    /// The same for the members of a group.
    #[error(
        "its directory can be written to by its group (mode {mode:04o}): `chmod g-w` it, or use one of its own"
    )]
    GroupDirectory {
        /// The directory's permission bits.
        mode: u32,
    },
    /// Anybody could put another directory in the place of the store's.
    #[error(
        "{}, above its directory, can be written to by everybody (mode {mode:04o}): `chmod o-w {}`, or use another place",
        directory.display(),
        directory.display()
    )]
    OpenParent {
        /// A directory above the store's.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path names no file.
    #[error("it names no file")]
    NoName,
    /// The last part of the path is a symbolic link.
    #[error("it is a symbolic link: name the file itself")]
    Link,
    /// A directory, a pipe or a device.
    #[error("it is no regular file")]
    NotAFile,
}

/// Refuses a directory in which others may make or replace files, or in whose place they may put another. A sticky bit keeps
/// what is ours in its place, so a directory of ours may lie below `/tmp`; but in `/tmp` itself others could lay a journal of
/// theirs beside our database.
fn refuse_open(directory: &Path) -> Result<(), PlaceError> {
    let (mode, metadata) = permissions(directory)?;
    if mode & 0o002 != 0 {
        return Err(PlaceError::OpenDirectory { mode });
    }
    let user = rustix::process::geteuid().as_raw();
    if mode & 0o020 != 0 && !is_ours(user, metadata.uid(), metadata.gid()) {
        return Err(PlaceError::GroupDirectory { mode });
    }
    for above in directory.ancestors().skip(1) {
        let (mode, metadata) = permissions(above)?;
        if mode & 0o1002 == 0o002 && !is_mount_point(above, &metadata)? {
            return Err(PlaceError::OpenParent { directory: above.to_owned(), mode });
        }
    }
    Ok(())
}

/// The root of a volume is open to everybody in many containers (`emptyDir`), and only those who were given the volume see it.
fn is_mount_point(directory: &Path, metadata: &Metadata) -> io::Result<bool> {
    match directory.parent() {
        Some(parent) => Ok(parent.metadata()?.dev() != metadata.dev()),
        None => Ok(false),
    }
}

fn permissions(directory: &Path) -> io::Result<(u32, Metadata)> {
    let metadata = directory.metadata()?;
    Ok((metadata.mode() & 0o7777, metadata))
}

/// Whether a directory is open to its group for our own sake: because we have it by that group alone (a Kubernetes volume
/// with `fsGroup`), or because the group is the user's private one, of the same number.
fn is_ours(user: u32, owner: u32, group: u32) -> bool {
    user != 0 && (user != owner || user == group)
}

impl Files {
    /// Resolves the place of a store, making its directory (0700) where there is none.
    pub(super) fn prepare(path: &Path) -> Result<Self, PlaceError> {
        let directory = directory_of(path);
        if !directory.exists() {
            make_directory(directory)?;
        }
        let directory = directory.canonicalize()?;
        refuse_open(&directory)?;
        let files = Self { database: directory.join(path.file_name().ok_or(PlaceError::NoName)?) };
        files.exists()?;
        Ok(files)
    }

    /// Whether there is a database.
    pub(super) fn exists(&self) -> Result<bool, PlaceError> {
        match self.database.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() => Err(PlaceError::Link),
            Ok(metadata) if !metadata.is_file() => Err(PlaceError::NotAFile),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    pub(super) fn lock(&self) -> PathBuf {
        beside(&self.database, ".lock")
    }

    pub(super) fn spill(&self) -> PathBuf {
        beside(&self.database, ".spill")
    }

    pub(super) fn mark(&self) -> PathBuf {
        beside(&self.database, ".mark")
    }

    pub(super) fn journal(&self) -> PathBuf {
        journal_of(&self.database)
    }

    /// A new store in the making: the database is complete before it gets the name.
    pub(super) fn in_the_making(&self) -> PathBuf {
        beside(&self.database, ".new")
    }

    /// A database that is made to take another one's place.
    pub(super) fn rebuilt(&self) -> PathBuf {
        beside(&self.database, ".rebuilt")
    }

    /// Notes durably that a new store is being made here, before anything else of it is.
    pub(super) fn begin_making(&self) -> io::Result<()> {
        clear_the_way(&self.in_the_making())?;
        sync_directory_of(&self.database)
    }

    /// Forgets what a start that was cut off had begun to make.
    pub(super) fn forget_unfinished(&self) -> io::Result<()> {
        [self.in_the_making(), self.rebuilt()]
            .iter()
            .try_for_each(|path| remove(path).and_then(|()| remove(&journal_of(path))))
    }

    /// Files that are made only after the database has had its name.
    pub(super) fn left_by_a_store(&self) -> io::Result<Vec<PathBuf>> {
        let Some(name) = self.database.file_name() else { return Ok(Vec::new()) };
        let ours = |path: &PathBuf| {
            let rest = path.file_name()?.as_encoded_bytes().strip_prefix(name.as_encoded_bytes())?;
            let kept = [".damaged-", ".before-restore-"].iter().any(|kept| rest.starts_with(kept.as_bytes()));
            (kept || [".mark", ".spill", ".rebuilt", "-journal"].iter().any(|whole| rest == whole.as_bytes()))
                .then_some(())
        };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory_of(&self.database))? {
            found.extend(Some(entry?.path()).filter(|path| ours(path).is_some()));
        }
        found.sort();
        Ok(found)
    }

    /// Gives the rebuilt database the name. What had the name before is kept under another one, `.WHAT-STAMP`, which
    /// is returned; at no moment is there no database. A journal goes with it: in the new one's place it would undo the new
    /// one.
    pub(super) fn supersede(&self, what: &str, stamp: &str) -> io::Result<Option<PathBuf>> {
        File::open(self.rebuilt())?.sync_all()?;
        let old = self.database.symlink_metadata().is_ok().then(|| self.free_name(what, stamp));
        if let Some(old) = &old {
            keep(&self.database, old)?;
            if journal_of(&self.database).exists() {
                keep(&journal_of(&self.database), &journal_of(old))?;
            }
            sync_directory_of(&self.database)?;
            remove(&journal_of(&self.database))?;
        }
        std::fs::rename(self.rebuilt(), &self.database)?;
        sync_directory_of(&self.database)?;
        Ok(old)
    }

    fn free_name(&self, what: &str, stamp: &str) -> PathBuf {
        let first = beside(&self.database, &format!(".{what}-{stamp}"));
        let later = (2..1000).map(|count| beside(&first, &format!("-{count}")));
        let free = |path: &PathBuf| path.symlink_metadata().is_err();
        // A thousand in one second are not made; keeping the file under a taken name would fail, not overwrite.
        std::iter::once(first.clone()).chain(later).find(free).unwrap_or(first)
    }

    /// Takes group's and others' permissions from the database, if it has any. Returns whether it had.
    pub(super) fn tighten(&self) -> io::Result<bool> {
        // By path: opening and closing the file would give up SQLite's own locks on it (POSIX locks are the process's).
        let mode = self.database.metadata()?.mode();
        if mode & 0o077 == 0 {
            return Ok(false);
        }
        std::fs::set_permissions(&self.database, Permissions::from_mode(mode & 0o700))?;
        Ok(true)
    }
}

/// The file beside `path` with `suffix` after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    name.into()
}

/// SQLite's rollback journal of a database.
pub(super) fn journal_of(database: &Path) -> PathBuf {
    beside(database, "-journal")
}

/// Makes a file that must not exist, 0600 whatever the umask.
pub(super) fn make_new(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Opens a file of ours for reading and writing, making it (0600) if there is none; never through a symbolic link.
pub(super) fn open_or_make(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_new(path),
        opened => opened,
    }
}

/// Puts an empty file in the place of a database that was never finished. At no moment is there none.
pub(super) fn clear_the_way(new: &Path) -> io::Result<()> {
    remove(&journal_of(new))?;
    open_or_make(new)?.set_len(0)
}

/// Removes a file, if there is one.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Keeps a file under a second name: a link where the file system has them, else a copy.
pub(super) fn keep(path: &Path, second: &Path) -> io::Result<()> {
    if std::fs::hard_link(path, second).is_ok() {
        return Ok(());
    }
    copy(path, second)
}

/// Copies a file into a new one, durably.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut copy = make_new(to)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    copy.sync_all()
}

/// Makes what happened to the names in a file's directory durable.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        make_directory(parent)?;
    }
    DirBuilder::new().mode(0o700).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    sync_directory_of(path)
}
