//! What a power cut would leave of a store. The one rule: only what was made durable is there, and a name only if its
//! directory was. What a call could not make durable is not made so by a later one, unless it is written again: Linux
//! forgets that a page was to be written as soon as it has said once that this failed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use marketgate::{
    names::{AccountId, AccountRef},
    sim::fingerprint,
    store::{Grant, KeyPlace, OpenOptions, SqliteStore, Standing, Store, Stored},
};

use crate::{
    calls::Call,
    sellers::block_on,
    shop::{ACCOUNT, Shop},
};

/// A directory and what is known to have reached the disk.
pub(crate) struct Disk {
    directory: String,
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
}

#[derive(Default)]
struct File {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// The numbers of pages that are to be written.
    dirty: BTreeSet<usize>,
}

/// What a system writes at once, bytes.
const PAGE: usize = 4096;

/// What the next start would find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Found {
    /// The old refresh token, as if nothing had been begun.
    Nothing,
    /// The old refresh token, and that it may have been shown.
    Intent,
    /// The refresh token that the marketplace would accept.
    Record,
}

impl Disk {
    /// As it lies there now, all of it durable.
    pub(crate) fn of(shop: &Shop) -> Self {
        let directory = shop.database().parent().unwrap().to_str().unwrap().to_owned();
        let (mut files, mut names) = (Vec::new(), BTreeMap::new());
        for entry in std::fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() && entry.path().extension() != Some("lock".as_ref()) {
                let content = std::fs::read(entry.path()).unwrap();
                names.insert(entry.path().to_str().unwrap().to_owned(), files.len());
                files.push(File { written: content.clone(), durable: content, dirty: BTreeSet::new() });
            }
        }
        Self { directory, files, durable_names: names.clone(), names }
    }

    /// What was found after a power cut at each moment of these calls at which something became durable.
    pub(crate) fn cut_at_every_moment(&mut self, calls: &[Call], shop: &Shop) -> Vec<(usize, Found)> {
        let mut found = vec![(0, self.cut(shop))];
        let mut returned: Vec<_> =
            calls.iter().filter(|call| call.syncs() || call.result >= Some(0)).collect();
        returned.sort_by_key(|call| call.ended);
        for call in returned {
            self.apply(call);
            if call.synced() {
                found.push((call.ended, self.cut(shop)));
            }
        }
        found
    }

    fn apply(&mut self, call: &Call) {
        match call.name.as_str() {
            "openat" if call.arguments.contains("O_CREAT") => self.make(&call.text()),
            "unlink" => drop(self.names.remove(&call.text())),
            "rename" | "unlinkat" | "renameat2" => panic!("{} is unknown here", call.name),
            _ if call.synced() && call.on() == self.directory => self.durable_names = self.names.clone(),
            _ => {}
        }
        let Some(file) = self.names.get(call.on()).map(|number| &mut self.files[*number]) else { return };
        match call.name.as_str() {
            "pwrite64" => file.write(call),
            "ftruncate" => file.written.resize(call.last_number(), 0),
            "fsync" | "fdatasync" => file.sync(call.synced()),
            other => assert!(!call.writes(), "{other} is unknown here"),
        }
    }

    fn make(&mut self, name: &str) {
        if name.starts_with(&self.directory) && !self.names.contains_key(name) {
            self.names.insert(name.to_owned(), self.files.len());
            self.files.push(File::default());
        }
    }

    /// Opens what would be left, and looks. The high-water mark is never made durable on purpose: the disk may have written it
    /// at once or not at all.
    fn cut(&self, shop: &Shop) -> Found {
        let [late, early] = [false, true].map(|early| self.cut_with_mark(shop, early));
        assert_eq!(late, early, "it depends on when the mark is written");
        late
    }

    fn cut_with_mark(&self, shop: &Shop, early: bool) -> Found {
        let left = tempfile::tempdir().unwrap();
        for (name, number) in &self.durable_names {
            let path = left.path().join(Path::new(name).file_name().unwrap());
            let file = &self.files[*number];
            let is_early = early && name.ends_with(".mark");
            std::fs::write(&path, if is_early { &file.written } else { &file.durable }).unwrap();
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, private).unwrap();
        }
        let store = SqliteStore::open(&OpenOptions {
            path: left.path().join("gate.db"),
            key: KeyPlace::File(left.path().join("marketgate.key")),
            old_keys: Vec::new(),
            wait_for_lock: Duration::ZERO,
        });
        let AccountRef { app, account } = ACCOUNT.parse().unwrap();
        let id = AccountId { app, account: account.unwrap() };
        let stored = block_on(store.unwrap().account(&id)).unwrap();
        let Some(Stored::Whole(record)) = stored else { panic!("{stored:?}") };
        let Some(Grant::Refresh { token, .. }) = &record.grant else { panic!("{record:?}") };
        assert_eq!(record.standing, Standing::Active, "it was taken for an older copy");
        match (fingerprint(token.expose()) == shop.family().refresh_token, &record.intent) {
            (true, None) => Found::Record,
            (true, Some(_)) => panic!("an intent outlived its refresh"),
            (false, Some(_)) => Found::Intent,
            (false, None) => Found::Nothing,
        }
    }
}

impl File {
    fn write(&mut self, call: &Call) {
        let (bytes, from) = (call.bytes(), call.last_number());
        assert_eq!(call.result, i64::try_from(bytes.len()).ok(), "{call:?}");
        let end = from + bytes.len();
        self.written.resize(self.written.len().max(end), 0);
        self.written[from..end].copy_from_slice(&bytes);
        self.dirty.extend(from / PAGE..=(end - 1) / PAGE);
    }

    fn sync(&mut self, succeeds: bool) {
        let dirty = std::mem::take(&mut self.dirty);
        if !succeeds {
            return;
        }
        self.durable.resize(self.written.len(), 0);
        for page in dirty {
            let here = page * PAGE..self.written.len().min((page + 1) * PAGE);
            self.durable[here.clone()].copy_from_slice(&self.written[here]);
        }
    }
}
