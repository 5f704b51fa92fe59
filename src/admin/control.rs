//! The control socket: the admin door for commands on this machine. The one rule: whoever may open the store may do
//! everything here, and nobody else may do anything.

use std::{
    env,
    ffi::OsStr,
    fs::{self, DirBuilder},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, FileTypeExt, MetadataExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, chmod, fchmod},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with},
    process::geteuid,
};
use sha2::{Digest, Sha256};

/// What fits into an address of a Unix socket, without the byte that ends it (`unix(7)`, `sun_path`).
const LONGEST: usize = 107;

/// Commands that may wait to be let in.
const BACKLOG: i32 = 128;

/// The environment variable that names the user's own runtime directory (XDG Base Directory Specification).
const RUNTIME_DIRECTORY: &str = "XDG_RUNTIME_DIR";

/// Where the control socket of the process stands that serves the store at `store`.
pub fn control_path(store: &Path) -> PathBuf {
    let runtime = env::var_os(RUNTIME_DIRECTORY).filter(|directory| Path::new(directory).is_absolute());
    // A relative path means the same place only to processes that were started in the same one.
    let store = std::path::absolute(store).unwrap_or_else(|_| store.to_owned());
    path_for(&store, runtime.as_deref(), geteuid().as_raw())
}

fn path_for(store: &Path, runtime: Option<&OsStr>, uid: u32) -> PathBuf {
    let beside = store.with_extension("sock");
    if fits(&beside) {
        return beside;
    }
    let name = format!("{}.sock", short_hash(store));
    let in_runtime = runtime.map(|directory| Path::new(directory).join("marketgate").join(&name));
    in_runtime
        .filter(|path| fits(path))
        .unwrap_or_else(|| Path::new("/tmp").join(format!("marketgate-{uid}")).join(name))
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= LONGEST
}

/// Tells stores apart; two of one user's never collide by accident.
fn short_hash(store: &Path) -> String {
    let digest = Sha256::digest(store.as_os_str().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A control socket that listens. When it is dropped, it is gone.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: what stands there later may be a successor's.
    identity: (u64, u64),
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another process answers there.
    #[error("another Marketgate serves this store: it answers at {0}")]
    Taken(PathBuf),
    /// Something else stands in its place.
    #[error("{0} is no socket")]
    NoSocket(PathBuf),
    /// The directory for it could be another user's, or others may write to it.
    #[error("the directory {0} is not this user's alone")]
    Foreign(PathBuf),
    /// The operating system refused.
    #[error("the control socket {path} cannot be made: {source}")]
    System {
        /// Where it should stand.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl ControlError {
    /// What mends it.
    pub fn action(&self) -> String {
        match self {
            Self::Taken(_) => "end the other one first".to_owned(),
            Self::NoSocket(path) => format!("remove {}", path.display()),
            Self::Foreign(path) => {
                format!("make {} this user's, with mode 0700, or remove it", path.display())
            }
            Self::System { path, .. } => {
                format!("let this user write to the directory of {}", path.display())
            }
        }
    }
}

impl ControlSocket {
    /// Listens for commands about the store at `store`. Only who holds the store's lock may do so: what stands there and
    /// does not answer was left by a process that died.
    ///
    /// # Errors
    /// When another process answers there, or the socket cannot be made for this user alone.
    pub fn bind(store: &Path) -> Result<Self, ControlError> {
        let path = control_path(store);
        let system = |source: io::Error| ControlError::System { path: path.clone(), source };
        if path.parent() != std::path::absolute(store).map_err(system)?.parent() {
            prepare_directory(&path)?;
        }
        clear(&path)?;
        let listener = listen_at(&path).map_err(|errno| system(errno.into()))?;
        let made = fs::symlink_metadata(&path).map_err(system)?;
        Ok(Self { listener, identity: (made.dev(), made.ino()), path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket, for the runtime.
    ///
    /// # Errors
    /// When the operating system grants no descriptor.
    pub fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = |there: &fs::Metadata| (there.dev(), there.ino()) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(|there| ours(&there)) {
            // What cannot be removed is found dead by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A directory of this user's alone, where others can make directories too.
fn prepare_directory(path: &Path) -> Result<(), ControlError> {
    let Some(directory) = path.parent() else { return Ok(()) };
    let system = |source| ControlError::System { path: path.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(system(error)),
        _ => {}
    }
    let there = fs::symlink_metadata(directory).map_err(system)?;
    let ours = there.is_dir() && there.uid() == geteuid().as_raw() && there.mode() & 0o077 == 0;
    if ours { Ok(()) } else { Err(ControlError::Foreign(directory.to_owned())) }
}

/// Removes what a dead process left.
fn clear(path: &Path) -> Result<(), ControlError> {
    let system = |source| ControlError::System { path: path.to_owned(), source };
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
    };
    if !there.file_type().is_socket() {
        return Err(ControlError::NoSocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(system)
        }
        Err(error) => Err(system(error)),
        Ok(_) => Err(ControlError::Taken(path.to_owned())),
    }
}

/// Nobody can connect before the socket listens, and by then it has its mode.
fn listen_at(path: &Path) -> Result<UnixListener, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let owner_alone = Mode::RUSR | Mode::WUSR;
    // Linux makes the file with the mode of the descriptor; elsewhere this may fail.
    let _ = fchmod(&socket, owner_alone);
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    chmod(path, owner_alone)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_stands_beside_the_store() {
        let path = path_for(Path::new("/var/lib/marketgate/marketgate.db"), None, 7);
        assert_eq!(path, Path::new("/var/lib/marketgate/marketgate.sock"));
    }

    #[test]
    fn a_path_too_long_for_a_socket_gives_way_to_one_that_fits_and_is_the_stores_own() {
        let (one, other) = (format!("/{}/a.db", "d".repeat(120)), format!("/{}/b.db", "d".repeat(120)));
        let runtime = Some(OsStr::new("/run/user/7"));
        let (first, second) =
            (path_for(Path::new(&one), runtime, 7), path_for(Path::new(&other), runtime, 7));
        assert!(first.starts_with("/run/user/7/marketgate") && fits(&first), "{first:?}");
        assert_ne!(first, second);
        assert!(path_for(Path::new(&one), None, 7).starts_with("/tmp/marketgate-7"));
        let long_runtime = format!("/{}", "r".repeat(120));
        let fallen_back = path_for(Path::new(&one), Some(OsStr::new(&long_runtime)), 7);
        assert!(fallen_back.starts_with("/tmp/marketgate-7"));
    }

    #[test]
    fn a_socket_is_its_users_alone_and_gone_when_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("marketgate.db");
        let socket = ControlSocket::bind(&store).unwrap();
        let path = socket.path().to_owned();
        assert_eq!(path, directory.path().join("marketgate.sock"));
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o7777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("marketgate.db");
        let path = control_path(&store);
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a dropped listener leaves its file, as a process does that dies");
        let ours = ControlSocket::bind(&store).unwrap();
        assert!(matches!(ControlSocket::bind(&store), Err(ControlError::Taken(_))));
        UnixStream::connect(&path).unwrap();
        drop(ours);
        fs::write(&path, "a file").unwrap();
        assert!(matches!(ControlSocket::bind(&store), Err(ControlError::NoSocket(_))));
        assert!(path.exists());
    }

    #[test]
    fn what_a_successor_made_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("marketgate.db");
        let first = ControlSocket::bind(&store).unwrap();
        fs::remove_file(first.path()).unwrap();
        let second = ControlSocket::bind(&store).unwrap();
        drop(first);
        UnixStream::connect(second.path()).unwrap();
    }

    #[test]
    fn a_directory_that_others_may_use_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (own, open) = (directory.path().join("own"), directory.path().join("open"));
        prepare_directory(&own.join("a.sock")).unwrap();
        assert_eq!(fs::symlink_metadata(&own).unwrap().mode() & 0o777, 0o700);
        DirBuilder::new().mode(0o755).create(&open).unwrap();
        let refused = prepare_directory(&open.join("a.sock"));
        assert!(matches!(refused, Err(ControlError::Foreign(_))));
        std::os::unix::fs::symlink(&own, directory.path().join("link")).unwrap();
        let refused = prepare_directory(&directory.path().join("link/a.sock"));
        assert!(matches!(refused, Err(ControlError::Foreign(_))));
    }
}
