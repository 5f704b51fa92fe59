//! A file of grants in pieces. The one rule: each piece fits into one request, and every line keeps its number.

use std::io::{self, BufRead, Read};

/// Most lines of a piece.
const LINES: usize = 500;
/// Most lines of a piece whose grants are tried at once: each costs a token call.
const LINES_TRIED: usize = 20;
/// Most bytes of a piece.
const BYTES: usize = 2 << 20;
/// Longest line, in bytes.
const LONGEST: usize = 256 << 10;

/// Stands at the beginning of a file that was written on Windows.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A piece: what is sent, and which line of the file each of its lines is (from 1).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) body: Vec<u8>,
    pub(super) numbers: Vec<usize>,
}

/// Reads pieces.
pub(super) struct Grants<R> {
    source: R,
    number: usize,
    most: usize,
}

impl<R: BufRead> Grants<R> {
    /// `tried`: the grants are tried at once.
    pub(super) fn new(source: R, tried: bool) -> Self {
        Self { source, number: 0, most: if tried { LINES_TRIED } else { LINES } }
    }

    /// The next piece; None at the end. Empty lines are left out.
    ///
    /// # Errors
    /// When the source cannot be read, or a line is too long.
    pub(super) fn piece(&mut self) -> io::Result<Option<Piece>> {
        let mut piece = Piece::default();
        while piece.numbers.len() < self.most && piece.body.len() < BYTES {
            let began = piece.body.len();
            let read = (&mut self.source).take(LONGEST as u64).read_until(b'\n', &mut piece.body)?;
            if read == 0 {
                break;
            }
            self.number += 1;
            if self.number == 1 && piece.body.starts_with(BYTE_ORDER_MARK) {
                piece.body.drain(..BYTE_ORDER_MARK.len());
            }
            let line = &piece.body[began..];
            if read == LONGEST && !line.ends_with(b"\n") {
                return Err(io::Error::other(format!("line {} is longer than {LONGEST} bytes", self.number)));
            }
            if line.trim_ascii().is_empty() {
                piece.body.truncate(began);
                continue;
            }
            if !line.ends_with(b"\n") {
                piece.body.push(b'\n');
            }
            piece.numbers.push(self.number);
        }
        Ok(Some(piece).filter(|piece| !piece.numbers.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_written_on_windows_is_read_like_any_other() {
        let mut grants = Grants::new("\u{feff}{\"n\":1}\r\n{\"n\":2}\r\n".as_bytes(), false);
        assert_eq!(grants.piece().unwrap().unwrap().body, b"{\"n\":1}\r\n{\"n\":2}\r\n");
    }

    #[test]
    fn pieces_keep_the_numbers_of_their_lines_and_leave_empty_ones_out() {
        let mut text: String = (1..=600).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        text.insert_str(0, "\n  \n");
        text.push_str("{\"last\":1}");
        let mut grants = Grants::new(text.as_bytes(), false);
        let first = grants.piece().unwrap().unwrap();
        assert_eq!((first.numbers.len(), first.numbers[0]), (500, 3));
        let second = grants.piece().unwrap().unwrap();
        assert_eq!((second.numbers.len(), second.numbers[100]), (101, 603));
        assert!(second.body.ends_with(b"{\"last\":1}\n"));
        assert_eq!(grants.piece().unwrap(), None);
        assert_eq!(Grants::new(text.as_bytes(), true).piece().unwrap().unwrap().numbers.len(), 20);
    }

    #[test]
    fn a_line_without_end_is_refused_rather_than_held() {
        let text = vec![b'x'; LONGEST + 1];
        assert!(Grants::new(text.as_slice(), false).piece().unwrap_err().to_string().contains("line 1 "));
    }
}
