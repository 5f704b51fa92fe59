//! Room set aside for the worst moment: the disk is full, the process must end, and a rotated token is nowhere but in
//! memory. The one rule: what the header counts is complete; a header of zeroes counts nothing.
//!
//! Layout: `MGSPILL1`, how many bytes of frames follow, how many frames (both 32 bits, little endian); then each frame: its
//! length (32 bits, little endian), the key's id (16 characters), a sealed record. The file is made with the store and
//! filled with zeroes, so that writing into it needs no room.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Record, StoreError,
    document::{self, Spilled},
    error::{SpillError, Trouble},
    files,
    seal::{Binding, Sealer},
};

const MAGIC: &[u8; 8] = b"MGSPILL1";
const HEADER: usize = 16;
const KEY_ID: usize = 16;
/// Room for a few dozen records.
const RESERVE: usize = 64 * 1024;

/// The spill file of a store.
#[derive(Debug)]
pub(super) struct Spill {
    path: PathBuf,
    sealer: Arc<Sealer>,
}

/// What a file's header counts.
#[derive(Clone, Copy, Default)]
struct Header {
    length: u32,
    count: u32,
}

impl Spill {
    pub(super) fn new(path: PathBuf, sealer: Arc<Sealer>) -> Self {
        Self { path, sealer }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file with its reserve, where there is none or a smaller one.
    pub(super) fn reserve(&self) -> io::Result<()> {
        let file = files::open_or_make(&self.path)?;
        if file.metadata()?.len() >= RESERVE as u64 {
            return Ok(());
        }
        clear(&file)?;
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
        file.read_exact(&mut frames).map_err(|_| "it has been cut off".to_owned())?;
        let mut rest = frames.as_slice();
        let records = (0..header.count).map(|_| self.unframe(&mut rest)).collect();
        if rest.is_empty() { records } else { records.and(Err("it is damaged".to_owned())) }
    }

    /// Forgets what is in it.
    pub(super) fn empty(&self) -> io::Result<()> {
        clear(&files::open_or_make(&self.path)?)
    }

    /// Adds records, as many as there is room for. A disk that takes them and cannot promise to keep them is given them all
    /// the same: they outlive the process, if not the machine.
    ///
    /// # Errors
    /// When not all of them could be written.
    pub(super) fn add(&self, records: Vec<Record>) -> Result<(), SpillError> {
        let mut written = 0;
        let outcome = self.write(&records, &mut written);
        outcome.map_err(|error| SpillError { records: records.into_iter().skip(written).collect(), error })
    }

    /// `written`: how many of them the header counts.
    fn write(&self, records: &[Record], written: &mut usize) -> Result<(), StoreError> {
        let file = files::open_or_make(&self.path).map_err(|e| failed(&e))?;
        let mut header = Header::read(&file).map_err(|detail| StoreError::new(Trouble::Io, detail))?;
        let frames = records.iter().map(|record| self.frame(record)).collect::<Result<Vec<_>, _>>()?;
        let (mut outcome, mut added) = (Ok(()), 0);
        for frame in frames {
            let at = (HEADER + header.length as usize) as u64;
            outcome = file.write_all_at(&frame, at).map_err(|e| failed(&e));
            if outcome.is_err() {
                break;
            }
            header.length += u32::try_from(frame.len()).unwrap_or(u32::MAX);
            header.count += 1;
            added += 1;
        }
        if added == 0 {
            return outcome;
        }
        // The frames are durable before the header counts them, where the disk is able to.
        let frames = file.sync_all();
        header.write(&file).map_err(|e| failed(&e))?;
        *written = added;
        if let Err(error) = frames.and(file.sync_all()) {
            tracing::error!(%error, path = %self.path.display(),
                "what was spilled is not known to be on the disk: start again before the machine does");
        }
        outcome
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
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(RESERVE).max(RESERVE);
    file.write_all_at(&vec![0; length], 0)?;
    file.set_len(RESERVE as u64)?;
    file.sync_all()
}

fn failed(error: &io::Error) -> StoreError {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    StoreError::new(if full { Trouble::Full } else { Trouble::Io }, error.to_string())
}
