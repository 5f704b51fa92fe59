//! The control socket: the admin door for commands on this machine. The one rule: whoever may open the store may do
//! everything here, and nobody else may do anything.

use std::{
    env,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// What fits into an address of a Unix socket, without the byte that ends it (`unix(7)`, `sun_path`).
const LONGEST: usize = 107;

/// The environment variable that names the user's own runtime directory (XDG Base Directory Specification).
const RUNTIME_DIRECTORY: &str = "XDG_RUNTIME_DIR";

/// Where the control socket of the process stands that serves the store at `store`.
pub fn control_path(store: &Path) -> PathBuf {
    let runtime = env::var_os(RUNTIME_DIRECTORY).filter(|directory| Path::new(directory).is_absolute());
    // A relative path means the same place only to processes that were started in the same one.
    let store = std::path::absolute(store).unwrap_or_else(|_| store.to_owned());
    path_for(&store, runtime.as_deref(), rustix::process::geteuid().as_raw())
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
}
