//! SCGI: one request a connection, its variables in a netstring, its body behind them. The rule: only a server on this
//! machine speaks here, so what cannot be read is given up without a word.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use super::Handed;

pub(super) fn serve(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    let mut handed = Handed { variables: variables(&mut reader)?, body: Vec::new() };
    handed.body = vec![0; handed.text("CONTENT_LENGTH").parse().unwrap_or(0)];
    reader.read_exact(&mut handed.body).ok()?;
    reader.into_inner().write_all(&handed.answer()?).ok()
}

fn variables(reader: &mut impl BufRead) -> Option<Vec<(String, Vec<u8>)>> {
    let mut length = Vec::new();
    reader.read_until(b':', &mut length).ok()?;
    let length: usize = std::str::from_utf8(length.strip_suffix(b":")?).ok()?.parse().ok()?;
    let mut bytes = vec![0; length + 1];
    reader.read_exact(&mut bytes).ok()?;
    let mut words = bytes[..length].split(|&octet| octet == 0);
    let mut variables = Vec::new();
    while let (Some(name), Some(value)) = (words.next().filter(|name| !name.is_empty()), words.next()) {
        variables.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
    }
    Some(variables)
}
