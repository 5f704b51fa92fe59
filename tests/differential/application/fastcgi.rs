//! FastCGI 1.0, as far as a responder needs it: one request a connection. The rule: a body ends where the server says so,
//! whether it named a length or not.

use std::{
    io::{BufReader, Read, Write},
    net::TcpStream,
};

use super::Handed;

const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

/// Most content of one record.
const LONGEST: usize = 65_535;

pub(super) fn serve(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    let (mut parameters, mut handed) = (Vec::new(), Handed::default());
    loop {
        let (kind, content) = record(&mut reader)?;
        match kind {
            PARAMS => parameters.extend(content),
            STDIN if content.is_empty() => break,
            STDIN => handed.body.extend(content),
            _ => {}
        }
    }
    handed.variables = variables(&parameters)?;
    let mut bytes = Vec::new();
    for piece in handed.answer()?.chunks(LONGEST) {
        write_record(&mut bytes, STDOUT, piece);
    }
    write_record(&mut bytes, STDOUT, &[]);
    write_record(&mut bytes, END_REQUEST, &[0; 8]);
    reader.into_inner().write_all(&bytes).ok()
}

fn record(reader: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 8];
    reader.read_exact(&mut head).ok()?;
    let [_, kind, _, _, high, low, padding, _] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let mut content = vec![0; length + usize::from(padding)];
    reader.read_exact(&mut content).ok()?;
    content.truncate(length);
    Some((kind, content))
}

fn write_record(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) {
    // A piece is never longer than LONGEST.
    let [high, low] = (content.len() as u16).to_be_bytes();
    bytes.extend_from_slice(&[1, kind, 0, 1, high, low, 0, 0]);
    bytes.extend_from_slice(content);
}

/// Names and values, each with its length before it: one byte, or four with the first bit set.
fn variables(mut bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut variables = Vec::new();
    while !bytes.is_empty() {
        let (name, value) = (length(&mut bytes)?, length(&mut bytes)?);
        let (pair, rest) = bytes.split_at_checked(name + value)?;
        variables.push((String::from_utf8_lossy(&pair[..name]).into_owned(), pair[name..].to_vec()));
        bytes = rest;
    }
    Some(variables)
}

fn length(bytes: &mut &[u8]) -> Option<usize> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(usize::from(first));
    }
    let (long, rest) = bytes.split_at_checked(4)?;
    *bytes = rest;
    Some(long.iter().fold(0, |length, &octet| length << 8 | usize::from(octet)) & 0x7fff_ffff)
}
