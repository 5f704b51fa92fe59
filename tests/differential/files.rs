//! Files that servers serve by themselves. The rule: their content and their times are the same in every run.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use crate::{exchange::Connection, request::Written};

/// A file as its server describes it.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) path: String,
    pub(crate) length: usize,
    pub(crate) etag: String,
    pub(crate) modified: String,
}

/// What there is under `/files/`; the last two are a folder's page, and a folder without the final slash.
const NAMES: [&str; 7] = ["plain.txt", "tiny.txt", "page.html", "data.bin", "empty.bin", "folder/", "folder"];

/// Writes the files.
pub(crate) fn write(folder: &Path) {
    let files = folder.join("files");
    fs::create_dir_all(files.join("folder")).unwrap();
    let text: String = (0..400).map(|line| format!("line {line} of a text worth compressing\n")).collect();
    let data: Vec<u8> = (0..100_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, content) in [
        ("plain.txt", text.as_bytes()),
        ("tiny.txt", b"tiny\n"),
        ("page.html", b"<!doctype html><title>x</title>"),
        ("data.bin", &data),
        ("empty.bin", b""),
        ("folder/index.html", b"<p>a folder</p>"),
    ] {
        let path = files.join(name);
        fs::write(&path, content).unwrap();
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        File::options().append(true).open(&path).unwrap().set_modified(day).unwrap();
    }
}

/// Asks a server for what it says about its files.
pub(crate) fn facts(server: SocketAddr) -> Vec<Facts> {
    NAMES.iter().map(|name| fact(server, &format!("/files/{name}"))).collect()
}

fn fact(server: SocketAddr, path: &str) -> Facts {
    let head = format!("HEAD {path} HTTP/1.1\r\nHost: {server}\r\n\r\n").into_bytes();
    let request = Written { head, body: Vec::new(), pieces: 1, expects: false, is_head: true };
    let answer = Connection::open(server).exchange(&request).answer.expect("a file has a head");
    let value = |name| answer.values(name).next().map(|v| String::from_utf8_lossy(v).into_owned());
    Facts {
        path: path.to_owned(),
        length: value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0),
        etag: value("etag").unwrap_or_else(|| "\"none\"".to_owned()),
        modified: value("last-modified").unwrap_or_else(|| "Sat, 01 Jan 2000 00:00:00 GMT".to_owned()),
    }
}
