//! A body's bytes as text: UTF-8, or UTF-16 where a byte order mark or its zero bytes tell. Bytes that are neither become
//! U+FFFD: in a description they do no harm, and a token that holds one is not used.

use zeroize::Zeroizing;

pub(super) fn read(bytes: &[u8]) -> Zeroizing<String> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [1..=255, 0, 1..=255, 0, ..] => utf_16(bytes, u16::from_le_bytes),
        [0, 1..=255, 0, 1..=255, ..] => utf_16(bytes, u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    Zeroizing::new(text)
}

/// A last odd byte is the half of a character that was cut.
fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_of_unicode_is_read() {
        let text = "{\"a\":\"é\"}";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        let all = [
            text.as_bytes().to_vec(),
            marked(&[0xff, 0xfe], &le),
            marked(&[0xfe, 0xff], &be),
            le[..].to_vec(),
            be[..].to_vec(),
        ];
        for bytes in all {
            assert_eq!(*read(&bytes), text, "{bytes:?}");
        }
        assert_eq!(*read(b"a\xe9"), "a\u{fffd}");
    }
}
