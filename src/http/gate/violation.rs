//! Why a byte stream is not a request we take. The rule: one variant, one sentence, and no byte of the stream in it.

use std::fmt;

macro_rules! violations {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal, $sentence:literal;)+) => {
        /// The first thing wrong with what a caller sent.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Violation {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Violation {
            /// Every violation there is, in order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// A short, stable name: the value of a metric's label.
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }

            /// One sentence for a log line.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)+ }
            }
        }
    };
}

violations! {
    /// A line of the head ends in LF alone, or LF stands where no line ends (RFC 9112 §2.2).
    BareLf = "bare_lf", "a line feed stands without a carriage return before it";
    /// CR is not followed by LF (RFC 9112 §2.2).
    BareCr = "bare_cr", "a carriage return stands without a line feed after it";
    /// More than one empty line, or white space, before the request line (RFC 9112 §2.2 asks for one to be ignored).
    LeadingBlank = "leading_blank", "something other than one empty line stands before the request line";
    /// The method is not a token, or longer than 32 bytes (RFC 9110 §9.1).
    Method = "method", "the method is not a token of at most 32 characters";
    /// The method is CONNECT: this is no tunnel (RFC 9110 §9.3.6).
    Connect = "connect", "CONNECT asks for a tunnel";
    /// The target does not begin with `/`: absolute, authority or asterisk form (RFC 9112 §3.2).
    TargetForm = "target_form", "the request target is not a path";
    /// The target holds a character it must not: control, space, non-ASCII, or `#`.
    TargetCharacter = "target_character", "the request target holds a character that must be percent-encoded";
    /// The request line does not end in `HTTP/1.0` or `HTTP/1.1` and CRLF.
    Version = "version", "the request line does not end in HTTP/1.0 or HTTP/1.1";
    /// A field line begins with white space: obs-fold, or white space before the first field (RFC 9112 §2.2, §5.2).
    Folding = "folding", "a field line begins with white space";
    /// A field name is empty, not a token, too long, or not directly followed by a colon (RFC 9112 §5.1).
    FieldName = "field_name", "a field name is not a token directly followed by a colon";
    /// `Content-Length` or `Transfer-Encoding` spelt with `_` or `.`: some servers read them as the real ones.
    DisguisedFraming = "disguised_framing", "a field name imitates Content-Length or Transfer-Encoding";
    /// A control character in a field value (RFC 9110 §5.5).
    FieldValue = "field_value", "a field value holds a control character";
    /// No `Host` on HTTP/1.1 (RFC 9112 §3.2).
    HostMissing = "host_missing", "there is no Host field";
    /// More than one `Host` (RFC 9112 §3.2).
    HostRepeated = "host_repeated", "there is more than one Host field";
    /// `Host` is not a name or address with an optional port.
    Host = "host", "the Host field is not a host with an optional port";
    /// `Content-Length` and `Transfer-Encoding` in one message (RFC 9112 §6.1).
    TwoFramings = "two_framings", "Content-Length and Transfer-Encoding stand in one request";
    /// More than one `Content-Length`, even if equal (RFC 9110 §8.6 lets a recipient refuse them).
    LengthRepeated = "length_repeated", "there is more than one Content-Length field";
    /// `Content-Length` is not 1*DIGIT, or beyond 2^63 - 1.
    Length = "length", "Content-Length is not a number below 2^63";
    /// `Transfer-Encoding` is not exactly one `chunked` (RFC 9112 §6.1).
    TransferCoding = "transfer_coding", "Transfer-Encoding is not exactly: chunked";
    /// `Transfer-Encoding` on HTTP/1.0 (RFC 9112 §6.1).
    TransferCodingOnHttp10 = "transfer_coding_on_http10", "Transfer-Encoding stands in an HTTP/1.0 request";
    /// `Expect` is not exactly one `100-continue` (RFC 9110 §10.1.1).
    Expect = "expect", "Expect is not exactly: 100-continue";
    /// More header fields than the limit: answered 431.
    TooManyFields = "too_many_fields", "there are more header fields than allowed";
    /// The head is longer than the limit: answered 431.
    HeadTooLong = "head_too_long", "the head is longer than allowed";
    /// A chunk size is not 1 to 16 hexadecimal digits, or beyond 2^63 - 1 (RFC 9112 §7.1).
    ChunkSize = "chunk_size", "a chunk size is not a hexadecimal number below 2^63";
    /// A chunk extension holds a control character or is longer than 256 bytes (RFC 9112 §7.1.1).
    ChunkExtension = "chunk_extension", "a chunk extension holds a control character or is too long";
    /// Chunk data is not followed by CRLF.
    ChunkEnd = "chunk_end", "chunk data is not followed by CRLF";
    /// A trailer field is malformed, or the section longer than 8 KiB (RFC 9112 §7.1.2).
    Trailer = "trailer", "the trailer section is malformed or too long";
    /// Bytes after a message that was to be the last (`Connection: close`), or sent before an `Upgrade` was answered.
    AfterLast = "after_last", "bytes follow a request that was to be the last on its connection";
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn labels_tell_violations_apart() {
        let labels: BTreeSet<_> = Violation::ALL.iter().map(|violation| violation.label()).collect();
        assert_eq!(labels.len(), Violation::ALL.len());
    }
}
