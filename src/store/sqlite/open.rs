//! Opening a store. An empty one is made only where there was none; whatever else is wrong is said, and the files stay as
//! they are.
//!
//! | database | key file | |
//! |---|---|---|
//! | – | – | both are made, unless something else says that there was a store |
//! | – | there | a database is made with that key, if it was brought and nothing says that there was a store |
//! | there | there | opened; what is damaged is rebuilt from what can be found |
//! | there | – | refused |
//!
//! A database gets its name only when it is complete, so one that is empty or cut off is damaged, not new.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::Connection;

use super::{
    super::{
        Replaced,
        files::{self, Files, PlaceError},
        key_file::{self, KeyFileError},
        keyring::{Key, Keyring},
        lock::{Lock, Refused},
        mark::MarkFile,
        seal::{Broken, Sealer},
        spill::Spill,
        traces,
    },
    db::{Db, connect},
    header::{self, Header},
    high_water::Mark,
    older,
    open_error::OpenError,
    owner::Owner,
    pepper::Pepper,
    place::Place,
    progress, salvage, schema,
};
use crate::{
    names::AccountId,
    secret::{Secret, SecretSource},
};

/// Up to this size the structure of the whole file is checked at every start: a fifth of a second.
const CHECKED_UP_TO: u64 = 128 << 20;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The database file; the store's other files lie beside it.
    pub path: PathBuf,
    /// The key that seals.
    pub key: KeyPlace,
    /// Keys that sealed earlier: they still open.
    pub old_keys: Vec<SecretSource>,
    /// How long to wait when another process has the store.
    pub wait_for_lock: Duration,
}

/// Where the active key is.
#[derive(Debug, Clone)]
pub enum KeyPlace {
    /// In a file, which is made together with a new store.
    File(PathBuf),
    /// Given as it is.
    Fixed(Secret),
}

/// Everything the store's thread will own.
pub(super) fn open(options: &OpenOptions) -> Result<Owner, OpenError> {
    let files = prepare(&options.path)?;
    let lock = Arc::new(take_lock(&files, options.wait_for_lock)?);
    let exists = files.exists().map_err(|reason| place(&options.path, reason))?;
    let begun = if exists { files.forget_unfinished() } else { begin_making(&files, &lock, options)? };
    begun.map_err(|e| OpenError::io(files.database(), &e))?;
    let sealer = Arc::new(Sealer::new(keyring(options, exists)?));
    if !exists {
        make(&files, &sealer)?;
    }
    tighten(&files)?;
    let spill = Arc::new(Spill::new(files.spill(), sealer.clone(), &lock));
    let db = Db { spill: Some(spill.clone()), ..open_database(&files, &sealer)? };
    if let Err(error) = lock.note_store() {
        tracing::warn!(%error, "it could not be noted beside the store that there is one");
    }
    let mark_file = MarkFile::new(files.mark());
    let said = mark_file.read().unwrap_or_else(|error| {
        tracing::warn!(%error, path = %mark_file.path().display(), "the store's mark cannot be read");
        None
    });
    let failed = |error| OpenError::Failed { path: files.database().to_owned(), error };
    let adopted = adopt(&db, &spill)?;
    spill.transaction_ended(true);
    let progress = older::park_if_behind(&db, said.as_ref(), &adopted).map_err(failed)?;
    let reserved = spill.reserve().map_err(|e| e.to_string());
    if let Err(error) = reserved.and_then(|()| db.promise_again().map_err(|e| e.to_string())) {
        tracing::warn!(%error, path = %spill.path().display(), "no room could be set aside for a full disk");
    }
    let mut mark = Mark::new(mark_file, said);
    mark.write(&progress);
    let place = Place::of(&files).map_err(|e| OpenError::io(files.database(), &e))?;
    let (pepper, condition) = (db.pepper.clone(), Arc::default());
    Ok(Owner {
        db: Some(db),
        files,
        place,
        progress,
        mark,
        sealer,
        pepper,
        spill,
        condition,
        refused: None,
        _lock: lock,
    })
}

/// Notes that a new store is being made, where nothing says that there was one.
fn begin_making(files: &Files, lock: &Lock, options: &OpenOptions) -> Result<std::io::Result<()>, OpenError> {
    let key = match &options.key {
        KeyPlace::File(path) => Some(path.as_path()),
        KeyPlace::Fixed(_) => None,
    };
    let path = files.database();
    let traces = traces::of_a_store(files, lock, key).map_err(|e| OpenError::io(path, &e))?;
    if traces.is_empty() {
        Ok(files.begin_making())
    } else {
        Err(OpenError::Missing { path: path.to_owned(), traces })
    }
}

pub(super) fn prepare(path: &Path) -> Result<Files, OpenError> {
    Files::prepare(path).map_err(|reason| place(path, reason))
}

pub(super) fn place(path: &Path, reason: PlaceError) -> OpenError {
    OpenError::Place { path: path.to_owned(), reason }
}

pub(super) fn take_lock(files: &Files, patience: Duration) -> Result<Lock, OpenError> {
    Lock::take(&files.lock(), patience).map_err(|refused| match refused {
        Refused::Held { pid } => OpenError::StoreInUse { path: files.database().to_owned(), pid },
        Refused::Failed(error) => OpenError::io(&files.lock(), &error),
    })
}

/// All keys. The active one is made if it is a file's and neither file nor database exists.
pub(super) fn keyring(options: &OpenOptions, exists: bool) -> Result<Keyring, OpenError> {
    let active = match &options.key {
        KeyPlace::Fixed(secret) => parse("key", secret)?,
        KeyPlace::File(path) => key_in(path, &options.path, exists)?,
    };
    let old = options.old_keys.iter().map(|source| match source {
        SecretSource::Fixed(secret) => parse("old_keys", secret),
        SecretSource::File(path) => key_file::read(path).map_err(|reason| key_refused(path, reason)),
    });
    Ok(Keyring { active, old: old.collect::<Result<_, _>>()? })
}

fn parse(place: &'static str, secret: &Secret) -> Result<Key, OpenError> {
    Key::parse(secret.expose()).map_err(|reason| OpenError::Key { place, reason })
}

fn key_in(key: &Path, database: &Path, exists: bool) -> Result<Key, OpenError> {
    let missing = key.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    let outcome = match (missing, exists) {
        (true, true) => {
            return Err(OpenError::KeyMissing { path: database.to_owned(), key: key.to_owned() });
        }
        (true, false) => key_file::make(key),
        (false, _) => key_file::read(key),
    };
    outcome.map_err(|reason| key_refused(key, reason))
}

fn key_refused(path: &Path, reason: KeyFileError) -> OpenError {
    OpenError::KeyFile { path: path.to_owned(), reason }
}

fn spilt(spill: &Spill, detail: String) -> OpenError {
    OpenError::Spill { path: spill.path().to_owned(), detail }
}

/// Makes an empty database under another name and gives it its own when it is complete and durable.
fn make(files: &Files, sealer: &Sealer) -> Result<(), OpenError> {
    let new = files.in_the_making();
    drop(make_empty(&new, sealer)?);
    finish(&new, files.database())
}

/// A complete database without accounts, in a file that is replaced if it is there.
pub(super) fn make_empty(new: &Path, sealer: &Sealer) -> Result<(Connection, Pepper), OpenError> {
    files::clear_the_way(new).map_err(|e| OpenError::io(new, &e))?;
    let refused = |e| OpenError::sqlite(new, e);
    let failed = |error| OpenError::Failed { path: new.to_owned(), error };
    let connection = connect(new).map_err(refused)?;
    schema::migrate(&connection).map_err(refused)?;
    progress::begin(&connection).map_err(refused)?;
    let pepper = Pepper::random().map_err(failed)?;
    pepper.write(&connection, sealer).map_err(failed)?;
    Ok((connection, pepper))
}

/// Gives a complete database its name.
pub(super) fn finish(new: &Path, name: &Path) -> Result<(), OpenError> {
    let renamed = std::fs::File::open(new)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(new, name))
        .and_then(|()| files::sync_directory_of(name));
    renamed.map_err(|e| OpenError::io(name, &e))
}

fn tighten(files: &Files) -> Result<(), OpenError> {
    let path = files.database();
    if files.tighten().map_err(|e| OpenError::io(path, &e))? {
        tracing::warn!(path = %path.display(), "the store was accessible to other users; it is 0600 now");
    }
    Ok(())
}

/// Opens an existing database; one that is damaged in part is rebuilt from what can be found.
fn open_database(files: &Files, sealer: &Arc<Sealer>) -> Result<Db, OpenError> {
    let path = files.database();
    let connection = match header::look(path).map_err(|e| OpenError::io(path, &e))? {
        Header::Sound => connect_sound(path)?,
        suspect => {
            rebuild_suspect(files, sealer, suspect)?;
            connect_sound(path)?
        }
    };
    let connection = match connection {
        Ok(connection) => connection,
        Err(damage) => {
            salvage::rebuild(files, sealer, &damage)?;
            let damaged = |detail| OpenError::Damaged { path: path.to_owned(), detail };
            connect_sound(path)?.map_err(damaged)?
        }
    };
    let pepper = read_pepper(&connection, path, sealer)?;
    let db = Db { connection, sealer: sealer.clone(), pepper, spill: None };
    if let Err(error) = db.note_owners_once() {
        tracing::warn!(%error, "which sellers the accounts belong to could not be noted; the next start tries again");
    }
    Ok(db)
}

/// A file whose header is not that of a store we can open: whether it is damaged, of a later version or none of ours is told
/// by what can be found in it.
fn rebuild_suspect(files: &Files, sealer: &Arc<Sealer>, suspect: Header) -> Result<(), OpenError> {
    let path = files.database().to_owned();
    let evidence = salvage::examine(files, sealer).map_err(|e| OpenError::io(&path, &e))?;
    match suspect {
        Header::Newer(version) if header::was_written_by_a_later_version(evidence.written_by.as_deref()) => {
            let written_by = header::written_by(&path);
            Err(OpenError::Newer { path, version, written_by })
        }
        Header::Foreign if !evidence.is_ours() && evidence.missing_key.is_none() => {
            Err(OpenError::Foreign { path })
        }
        Header::Unsound(detail) => salvage::rebuild_from(&evidence, files, sealer, detail),
        _ => salvage::rebuild_from(&evidence, files, sealer, "its first page is damaged"),
    }
}

/// A connection to a database without damage, or what is wrong with it.
fn connect_sound(path: &Path) -> Result<Result<Connection, String>, OpenError> {
    let tried = connect(path).and_then(|connection| {
        if let Some(damage) = find_damage(&connection, path)? {
            return Ok(Err(damage));
        }
        schema::migrate(&connection)?;
        schema::check(&connection)?;
        Ok(Ok(connection))
    });
    match tried {
        Err(error) if super::open_error::is_damage_or_schema(&error) => Ok(Err(error.to_string())),
        Err(error) => Err(OpenError::sqlite(path, error)),
        Ok(found) => Ok(found),
    }
}

/// What is wrong with the structure of the file.
pub(super) fn find_damage(connection: &Connection, path: &Path) -> rusqlite::Result<Option<String>> {
    let length = path.metadata().map_or(0, |metadata| metadata.len());
    let pages: u64 = connection.query_row(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        [],
        |row| row.get::<_, i64>(0).map(i64::unsigned_abs),
    )?;
    if pages != length {
        return Ok(Some(format!("it is {length} bytes long and should be {pages}")));
    }
    if length > CHECKED_UP_TO {
        tracing::info!(bytes = length, "the store is too large to be checked as a whole at every start");
        return Ok(None);
    }
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match found {
        Ok(found) if found == "ok" => Ok(None),
        Ok(found) => Ok(Some(found)),
        Err(error) if super::fault::is_damage(&error) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// The pepper says whether the keys at hand are the store's: a rekey seals it anew last.
pub(super) fn read_pepper(
    connection: &Connection,
    path: &Path,
    sealer: &Sealer,
) -> Result<Pepper, OpenError> {
    match Pepper::read(connection, sealer).map_err(|e| OpenError::sqlite(path, e))? {
        Some(Ok(pepper)) => Ok(pepper),
        Some(Err(Broken::UnknownKey(sealed_with))) => {
            Err(OpenError::WrongKey { path: path.to_owned(), sealed_with, at_hand: sealer.key_ids() })
        }
        Some(Err(Broken::Altered)) | None => {
            tracing::error!(
                "the key of the token digests is damaged; refresh tokens seen so far are no longer known"
            );
            let failed = |error| OpenError::Failed { path: path.to_owned(), error };
            let pepper = Pepper::random().map_err(failed)?;
            for unreadable in
                ["DELETE FROM holders", "DELETE FROM owners", "DELETE FROM about WHERE name = 'owners'"]
            {
                connection.execute(unreadable, []).map_err(|e| OpenError::sqlite(path, e))?;
            }
            pepper.write(connection, sealer).map_err(failed)?;
            Ok(pepper)
        }
    }
}

/// Takes in what was saved when the disk was full. Returns whose records those were.
fn adopt(db: &Db, spill: &Spill) -> Result<Vec<AccountId>, OpenError> {
    if spill.waiting().map_err(|detail| spilt(spill, detail))? == 0 {
        return Ok(Vec::new());
    }
    let records = spill.records().map_err(|detail| spilt(spill, detail))?;
    let failed = |error| OpenError::Failed { path: spill.path().to_owned(), error };
    for record in &records {
        match db.transact(|db| db.adopt(record)).map_err(failed)? {
            Replaced::Durable => {
                tracing::info!(account = %record.id, generation = record.generation,
                    "a record that was saved when the disk was full is taken in");
            }
            Replaced::Held(holder) => {
                tracing::error!(account = %record.id, of = %holder,
                    "a record that was saved when the disk was full holds another account's tokens and is dropped");
            }
            Replaced::Newer => {
                tracing::warn!(account = %record.id, generation = record.generation,
                    "a record that was saved when the disk was full is not newer than the stored one and is dropped");
            }
        }
    }
    // One that stands there already may do so because only the last call of its commit failed: a later commit proves it.
    db.transact(Db::probe).map_err(failed)?;
    spill.empty().map_err(|e| OpenError::io(spill.path(), &e))?;
    Ok(records.into_iter().map(|record| record.id).collect())
}
