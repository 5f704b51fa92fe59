//! Room set aside for the worst moment: the disk is full, the process must end, and rotated tokens are nowhere but in
//! memory. What the header counts is complete; a header of zeroes counts nothing.
//!
//! Layout: `MGSPILL1`, how many bytes of frames follow, how many frames (both 32 bits, little endian); then each frame: its
//! length (32 bits, little endian), the key's id (16 characters), a sealed record. The file is made with the store and
//! filled with zeroes, so that writing into it needs no room.
//!
//! Before a refresh token is shown, room for what may come back is promised: twice what the account's record takes now, and
//! 8 KiB. Where the file is too small for all promises together it grows first, and where the disk has no room for that, the
//! token is not shown.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{
    Record, SpillError, StoreError,
    document::{self, Spilled},
    error::Trouble,
    files,
    lock::Lock,
    seal::{Binding, Sealer},
};
use crate::names::AccountId;

const MAGIC: &[u8; 8] = b"MGSPILL1";
const HEADER: usize = 16;
const KEY_ID: usize = 16;
/// The file is never smaller, nor grows by less.
const STEP: u64 = 64 * 1024;
/// It doubles until it grows by this much at once.
const LARGEST_STEP: u64 = 1024 * 1024;
/// Beyond all promises, for what nobody promised: a login, or tokens much larger than the last ones.
const SLACK: u64 = 32 * 1024;

/// What growing leaves free on the disk: the database needs room too, not least to take in what was spilled.
const HEADROOM: u64 = 128 * 1024;

/// The spill file of a store.
#[derive(Debug)]
pub(super) struct Spill {
    path: PathBuf,
    sealer: Arc<Sealer>,
    lock: Weak<Lock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Kept open, so that records go where the database went if the directory is moved.
    file: Option<File>,
    length: u64,
    promised: HashMap<AccountId, u64>,
    /// Whose refresh ends with the transaction that is open.
    settling: Vec<AccountId>,
}

/// How much room there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpillRoom {
    /// Bytes set aside on the disk.
    pub set_aside: u64,
    /// Bytes that refreshes under way may need.
    pub promised: u64,
}

/// What a file's header counts.
#[derive(Clone, Copy, Default)]
struct Header {
    length: u32,
    count: u32,
}

impl Spill {
    pub(super) fn new(path: PathBuf, sealer: Arc<Sealer>, lock: &Arc<Lock>) -> Self {
        Self { path, sealer, lock: Arc::downgrade(lock), state: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file with its reserve, where there is none or one that is too small.
    pub(super) fn reserve(&self) -> io::Result<()> {
        let mut state = self.state();
        self.open(&mut state)?;
        let wanted = state.wanted();
        state.grow(wanted)?;
        files::sync_directory_of(&self.path)
    }

    /// How many records wait in it.
    pub(super) fn waiting(&self) -> Result<u32, String> {
        match File::open(&self.path) {
            Ok(file) => Ok(Header::read(&file)?.count),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The records in it. An error names no secret.
    pub(super) fn records(&self) -> Result<Vec<Record>, String> {
        let mut file = File::open(&self.path).map_err(|e| e.to_string())?;
        let header = Header::read(&file)?;
        let mut frames = vec![0; header.length as usize];
        file.seek(SeekFrom::Start(HEADER as u64)).map_err(|e| e.to_string())?;
        io::Read::read_exact(&mut file, &mut frames).map_err(|_| "it has been cut off".to_owned())?;
        let mut rest = frames.as_slice();
        let records = (0..header.count).map(|_| self.unframe(&mut rest)).collect();
        if rest.is_empty() { records } else { records.and(Err("it is damaged".to_owned())) }
    }

    /// Forgets what is in it.
    pub(super) fn empty(&self) -> io::Result<()> {
        clear(&files::open_or_make(&self.path)?)
    }

    /// How much room there is.
    pub(super) fn room(&self) -> SpillRoom {
        let state = self.state();
        SpillRoom { set_aside: state.length, promised: state.promised.values().sum() }
    }

    /// Promises room for what a refresh of this account may bring, whose record takes `size` bytes now.
    ///
    /// # Errors
    /// When there is none to be had: then its refresh token must not be shown.
    pub(super) fn promise(&self, id: &AccountId, size: u64) -> Result<(), StoreError> {
        let mut state = self.state();
        let before = state.promised.insert(id.clone(), 2 * size + 8 * 1024);
        let wanted = state.wanted();
        if state.length >= wanted {
            return Ok(());
        }
        let grown = self.open(&mut state).and_then(|()| state.grow(wanted));
        if grown.is_err() {
            match before {
                Some(before) => state.promised.insert(id.clone(), before),
                None => state.promised.remove(id),
            };
        }
        grown.map_err(|e| {
            let StoreError { trouble, detail } = failed(&e);
            StoreError::new(
                trouble,
                format!("no room can be set aside for what a refresh would bring: {detail}"),
            )
        })
    }

    /// The refresh of this account ends with the transaction that is open.
    pub(super) fn settle(&self, id: &AccountId) {
        self.state().settling.push(id.clone());
    }

    /// It does not, after all.
    pub(super) fn keep(&self, id: &AccountId) {
        self.state().settling.retain(|settling| settling != id);
    }

    /// The transaction has ended.
    pub(super) fn transaction_ended(&self, committed: bool) {
        let mut state = self.state();
        for id in std::mem::take(&mut state.settling) {
            if committed {
                state.promised.remove(&id);
            }
        }
    }

    /// Adds records, as many as there is room for, the smallest first. A disk that takes them and cannot promise to keep them
    /// is given them all the same: they outlive the process, if not the machine.
    ///
    /// # Errors
    /// When not all of them could be written; it holds those that were not.
    pub(super) fn add(&self, records: Vec<Record>) -> Result<(), SpillError> {
        let (mut unwritten, mut cause) = (Vec::new(), None);
        let mut frames = Vec::new();
        for record in records {
            match self.frame(&record) {
                Ok(frame) => frames.push((frame, record)),
                Err(error) => {
                    cause = Some(error);
                    unwritten.push(record);
                }
            }
        }
        frames.sort_by_key(|(frame, _)| frame.len());
        if let Err(error) = self.write(&mut frames) {
            cause = Some(error);
            unwritten.extend(frames.into_iter().map(|(_, record)| record));
        }
        cause.map_or(Ok(()), |error| Err(SpillError { unwritten, error }))
    }

    /// Writes frames and takes those away that are in the file.
    fn write(&self, frames: &mut Vec<(Vec<u8>, Record)>) -> Result<(), StoreError> {
        let mut state = self.state();
        self.open(&mut state).map_err(|e| failed(&e))?;
        let Some(file) = &state.file else { return Err(failed(&io::ErrorKind::NotFound.into())) };
        let mut header = Header::read(file).map_err(|detail| StoreError::new(Trouble::Io, detail))?;
        let mut outcome = Ok(());
        let is_written = frames.iter().map(|(frame, _)| {
            let at = (HEADER + header.length as usize) as u64;
            let written = file.write_all_at(frame, at).map_err(|e| failed(&e));
            if written.is_ok() {
                header.length += u32::try_from(frame.len()).unwrap_or(u32::MAX);
                header.count += 1;
            }
            let is_written = written.is_ok();
            outcome = std::mem::replace(&mut outcome, Ok(())).and(written);
            is_written
        });
        let is_written: Vec<bool> = is_written.collect();
        if header.count == 0 {
            return outcome;
        }
        // The frames are durable before the header counts them, where the disk is able to.
        let durable = file.sync_all();
        header.write(file).map_err(|e| failed(&e))?;
        if let Err(error) = durable.and(file.sync_all()) {
            tracing::error!(%error, path = %self.path.display(),
                "what was spilled is not known to be on the disk: start again before the machine does");
        }
        let mut is_written = is_written.into_iter();
        frames.retain(|_| is_written.next() != Some(true));
        outcome
    }

    /// Has the file open: the one that was, wherever it is now, as long as it has a name; else the one at the path.
    fn open(&self, state: &mut State) -> io::Result<()> {
        let has_name = |file: &File| file.metadata().is_ok_and(|metadata| metadata.nlink() > 0);
        if state.file.as_ref().is_some_and(has_name) {
            return Ok(());
        }
        if state.file.is_some() && self.lock.upgrade().is_some_and(|lock| lock.was_replaced()) {
            return Err(io::Error::other("another process has taken the store's place"));
        }
        let file = files::open_or_make(&self.path)?;
        state.length = file.metadata()?.len();
        state.file = Some(file);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever stands in it, the file is looked at before it is used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frame(&self, record: &Record) -> Result<Vec<u8>, StoreError> {
        let text = document::encode(&Spilled::from(record))?;
        let sealed = self.sealer.seal(Binding::spill(), &text)?;
        let length = u32::try_from(KEY_ID + sealed.bytes.len());
        let length = length.map_err(|_| StoreError::new(Trouble::Io, "a record is too large"))?;
        Ok([length.to_le_bytes().as_slice(), sealed.key_id.to_string().as_bytes(), &sealed.bytes].concat())
    }

    fn unframe(&self, rest: &mut &[u8]) -> Result<Record, String> {
        let cut = || "it is damaged".to_owned();
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let (frame, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?;
        let (key_id, sealed) = frame.split_at_checked(KEY_ID).ok_or_else(cut)?;
        *rest = after;
        let key_id = std::str::from_utf8(key_id).map_err(|_| cut())?;
        let text = self.sealer.open(Binding::spill(), key_id, sealed).map_err(|e| e.to_string())?;
        document::decode::<Spilled>(&text).and_then(Spilled::into_record).ok_or_else(cut)
    }
}

impl State {
    /// How large the file must be.
    fn wanted(&self) -> u64 {
        (SLACK + self.promised.values().sum::<u64>()).next_multiple_of(STEP)
    }

    /// Makes the file at least `wanted` bytes long, with zeroes that are on the disk: a hole would need room later.
    fn grow(&mut self, wanted: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if self.length >= wanted {
            return Ok(());
        }
        let generous = wanted.max(self.length + self.length.min(LARGEST_STEP));
        // The first piece is taken from whatever there is.
        let spare = if self.length == 0 { 0 } else { HEADROOM };
        let free = free_bytes(file).unwrap_or(u64::MAX).saturating_sub(spare);
        let fitting = [generous, wanted].into_iter().find(|size| size - self.length <= free);
        let size = fitting.ok_or(io::ErrorKind::StorageFull)?;
        fill(file, self.length, size)?;
        self.length = size;
        Ok(())
    }
}

fn free_bytes(file: &File) -> io::Result<u64> {
    let told = rustix::fs::fstatvfs(file)?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Adds zeroes up to `size`, durably, or leaves the file as long as it was.
fn fill(file: &File, length: u64, size: u64) -> io::Result<()> {
    let zeroes = vec![0; STEP as usize];
    let mut written = Ok(());
    let mut at = length;
    while at < size && written.is_ok() {
        let more = (size - at).min(STEP);
        written = file.write_all_at(&zeroes[..more as usize], at);
        at += more;
    }
    let durable = written.and_then(|()| file.sync_all());
    if durable.is_err() {
        file.set_len(length)?;
    }
    durable
}

impl Header {
    fn read(file: &File) -> Result<Self, String> {
        let mut bytes = [0; HEADER];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) if bytes == [0; HEADER] => Ok(Self::default()),
            Ok(()) if bytes.starts_with(MAGIC) => {
                let number =
                    |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                let header = Self { length: number(8), count: number(12) };
                if header.count == 0 { Err("it is damaged".to_owned()) } else { Ok(header) }
            }
            Ok(()) => Err("it is no spill file".to_owned()),
            // Made, but not filled before a crash: nothing was ever in it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Self::default()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn write(self, file: &File) -> io::Result<()> {
        let bytes = [MAGIC.as_slice(), &self.length.to_le_bytes(), &self.count.to_le_bytes()].concat();
        file.write_all_at(&bytes, 0)
    }
}

/// Zeroes all of a file and brings it to its size.
fn clear(file: &File) -> io::Result<()> {
    // The header first: half-cleared frames are counted by nobody.
    file.write_all_at(&[0; HEADER], 0)?;
    file.sync_all()?;
    let length = file.metadata()?.len().max(STEP);
    file.write_all_at(&vec![0; usize::try_from(length).unwrap_or_default()], 0)?;
    file.set_len(STEP)?;
    file.sync_all()
}

fn failed(error: &io::Error) -> StoreError {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    StoreError::new(if full { Trouble::Full } else { Trouble::Io }, error.to_string())
}
