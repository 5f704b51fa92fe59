//! Copies of a store. The one rule: a backup is whole or not there; the key is not in it.

use std::path::Path;

use super::{
    super::{StoreError, error::Trouble, files},
    db::Db,
};

impl Db {
    /// Writes a copy of what is committed into a new file (0600). Nothing else happens in the store meanwhile.
    pub(super) fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        let refused = |e: std::io::Error| StoreError::new(trouble(&e), format!("{}: {e}", to.display()));
        let to = std::path::absolute(to).map_err(refused)?;
        let name = to.to_str();
        let name = name.ok_or_else(|| StoreError::new(Trouble::Io, "the backup's path is no UTF-8 text"))?;
        drop(files::make_new(&to).map_err(refused)?);
        let copied = self.connection.execute("VACUUM INTO ?1", [name]).map_err(StoreError::from);
        let durable = copied.and_then(|_| make_durable(&to).map_err(refused));
        if durable.is_err() {
            // Ours, made above, and no backup.
            let _ = std::fs::remove_file(&to);
        }
        durable
    }
}

fn make_durable(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    files::sync_directory_of(path)
}

fn trouble(error: &std::io::Error) -> Trouble {
    if error.kind() == std::io::ErrorKind::StorageFull { Trouble::Full } else { Trouble::Io }
}
