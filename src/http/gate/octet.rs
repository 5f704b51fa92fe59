//! Which octets may stand where in a message. The rule: a run of allowed octets is measured here, in place and in
//! blocks, and nowhere else.

/// Octets looked at together: as many as fit the vector registers every machine has.
const BLOCK: usize = 16;

/// `tchar` of RFC 9110 §5.6.2.
static TOKEN: [bool; 256] = token_table();

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = is_tchar(octet as u8);
        octet += 1;
    }
    table
}

const fn is_tchar(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Length of the token at the start of `bytes`.
pub(super) fn token_run(bytes: &[u8]) -> usize {
    let plain = run(bytes, |octet| {
        let letter = (octet | 0x20).wrapping_sub(b'a') < 26;
        let digit = octet.wrapping_sub(b'0') < 10;
        !(letter | digit | (octet == b'-'))
    });
    // Most names have no other characters, and for them the table is not needed.
    let rest = &bytes[plain..];
    plain + rest.iter().position(|&octet| !TOKEN[usize::from(octet)]).unwrap_or(rest.len())
}

/// Length of the run that may stand in a request target: visible ASCII without `#` (RFC 3986 §4.3: a fragment is no
/// part of a request).
pub(super) fn target_run(bytes: &[u8]) -> usize {
    run(bytes, |octet| (octet <= b' ') | (octet >= 0x7f) | (octet == b'#'))
}

/// Where in a piece of a target an octet stands that must be percent-encoded there (RFC 3986 §3.3, §3.4) and that hyper would
/// refuse. It lets some others pass, which clients are known to send.
pub(super) fn unencoded(target: &[u8], in_query: &mut bool) -> Option<usize> {
    target.iter().position(|octet| match octet {
        b'<' | b'>' => true,
        b'`' => !*in_query,
        b'"' => *in_query,
        b'?' => {
            *in_query = true;
            false
        }
        _ => false,
    })
}

/// Length of the run that may stand in a field value: anything but control characters, tab excepted
/// (RFC 9110 §5.5; obs-text passes).
pub(super) fn value_run(bytes: &[u8]) -> usize {
    run(bytes, |octet| ((octet < b' ') & (octet != b'\t')) | (octet == 0x7f))
}

/// Length of the run of octets that are not `wrong`. Without a branch in the test of a block, the compiler makes it a few
/// vector instructions.
fn run(bytes: &[u8], wrong: impl Fn(u8) -> bool) -> usize {
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    for (index, block) in blocks.iter().enumerate() {
        let marks = u128::from_le_bytes(block.map(|octet| if wrong(octet) { u8::MAX } else { 0 }));
        if marks != 0 {
            return index * BLOCK + (marks.trailing_zeros() / 8) as usize;
        }
    }
    let whole = blocks.len() * BLOCK;
    let rest = &bytes[whole..];
    whole + rest.iter().position(|&octet| wrong(octet)).unwrap_or(rest.len())
}

/// Optional white space (RFC 9110 §5.6.3).
pub(super) fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_at_the_first_octet_that_is_not_allowed_wherever_it_stands() {
        for length in 0..50 {
            for at in 0..length {
                let mut bytes = vec![b'a'; length];
                bytes[at] = b'\r';
                assert_eq!(value_run(&bytes), at);
                assert_eq!(target_run(&bytes), at);
                assert_eq!(token_run(&bytes), at);
                bytes[at] = b'\t';
                assert_eq!(value_run(&bytes), length);
                assert_eq!(target_run(&bytes), at);
                bytes[length - 1] = 0x7f;
                assert_eq!(value_run(&bytes), length - 1);
            }
        }
    }

    #[test]
    fn every_octet_is_judged_as_the_grammar_says() {
        for octet in 0..=255u8 {
            let value = octet == b'\t' || (octet >= b' ' && octet != 0x7f);
            assert_eq!(value_run(&[octet; 40]) == 40, value, "{octet:#x} in a value");
            let target = octet.is_ascii_graphic() && octet != b'#';
            assert_eq!(target_run(&[octet; 40]) == 40, target, "{octet:#x} in a target");
            let separators = br#"(),/:;<=>?@[\]{}""#;
            let token = octet.is_ascii_graphic() && !separators.contains(&octet);
            assert_eq!(token_run(&[octet; 40]) == 40, token, "{octet:#x} in a token");
        }
    }
}
