//! Why a byte stream is not a request we take. The rule: one variant, one sentence, and no byte of the stream in it.

use std::fmt;

macro_rules! violations {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal, $sentence:literal, $help:literal;)+) => {
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

            /// What is wrong, as a part of a sentence.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)+ }
            }

            /// What the caller can do about it.
            pub fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)+ }
            }
        }
    };
}

violations! {
    /// A line of the head ends in LF alone, or LF stands where no line ends (RFC 9112 §2.2).
    BareLf = "bare_lf", "a line feed stands without a carriage return before it",
        "end every line of the head with CR LF; a client library does so by itself";
    /// CR is not followed by LF (RFC 9112 §2.2).
    BareCr = "bare_cr", "a carriage return stands without a line feed after it",
        "end every line of the head with CR LF; a client library does so by itself";
    /// More than one empty line, or white space, before the request line (RFC 9112 §2.2 asks for one to be ignored).
    LeadingBlank = "leading_blank", "something other than one empty line stands before the request line",
        "begin with the request line";
    /// The method is not a token, or longer than 32 bytes (RFC 9110 §9.1).
    Method = "method", "the method is not a token of at most 32 characters",
        "write a method such as GET or POST, then a space and the path";
    /// The method is CONNECT: this is no tunnel (RFC 9110 §9.3.6).
    Connect = "connect", "CONNECT asks for a tunnel",
        "call http://HOST:PORT/APP/… of Marketgate directly, and take its address out of HTTPS_PROXY and of the proxy setting of your client";
    /// The connection preface of HTTP/2 (RFC 9113 §3.4).
    Http2 = "http2", "it is HTTP/2, and HTTP/1.1 is spoken here",
        "use HTTP/1.1: leave HTTP/2 with prior knowledge, and gRPC, off";
    /// A TLS handshake.
    Tls = "tls", "it is TLS, and plain HTTP is spoken here",
        "write http:// in place of https://";
    /// The target is longer than the limit: answered 414.
    TargetTooLong = "target_too_long", "the request target is longer than 8 KiB",
        "send less in path and query, or send it as a body where the marketplace takes it";
    /// The target is neither a path nor `http://` and a host before one: https, authority or asterisk form (RFC 9112 §3.2).
    TargetForm = "target_form", "the request target is not a path that begins with `/`",
        "write a path that begins with `/`, such as /APP/v1/orders";
    /// The target holds a character it must not: control, space, non-ASCII, or `#`.
    TargetCharacter = "target_character", "the request target holds a character that must be percent-encoded",
        "percent-encode spaces, quotes, angle brackets, accents and the like in path and query; client libraries do so when they are given the parts of a URL";
    /// The request line does not end in `HTTP/1.0` or `HTTP/1.1` and CRLF.
    Version = "version", "the request line does not end in HTTP/1.0 or HTTP/1.1",
        "write HTTP/1.1 at the end of the request line; a space within the path must be %20";
    /// A field line begins with white space: obs-fold, or white space before the first field (RFC 9112 §2.2, §5.2).
    Folding = "folding", "a field line begins with white space",
        "write each header on one line, without white space before its name";
    /// A field name is empty, not a token, too long, or not directly followed by a colon (RFC 9112 §5.1).
    FieldName = "field_name", "a field name is not a token directly followed by a colon",
        "write `Name: value`, without white space before the colon";
    /// `Content-Length` or `Transfer-Encoding` spelt with `_` or `.`: some servers read them as the real ones.
    DisguisedFraming = "disguised_framing", "a field name imitates Content-Length or Transfer-Encoding",
        "call the header Content-Length or Transfer-Encoding, or leave it out";
    /// A control character in a field value (RFC 9110 §5.5).
    FieldValue = "field_value", "a field value holds a control character",
        "leave control characters out of header values; a value read from a file may end in a line break";
    /// No `Host` on HTTP/1.1 (RFC 9112 §3.2).
    HostMissing = "host_missing", "there is no Host field",
        "send Host, which every HTTP/1.1 client sends by itself";
    /// More than one `Host` (RFC 9112 §3.2).
    HostRepeated = "host_repeated", "there is more than one Host field",
        "send one Host: where your client sets it, do not add another";
    /// `Host` is not a name or address with an optional port.
    Host = "host", "the Host field is not a host with an optional port",
        "send a host name or address, with a port if it is not 80, such as localhost:8080";
    /// The target is in absolute form, and `Host` names another host (RFC 9112 §3.2.2).
    TwoHosts = "two_hosts", "target and Host name two different hosts",
        "write a path that begins with `/`, such as /APP/v1/orders";
    /// `Content-Length` and `Transfer-Encoding` in one message (RFC 9112 §6.1).
    TwoFramings = "two_framings", "Content-Length and Transfer-Encoding stand in one request",
        "send one of the two: where you set Content-Length yourself, leave that to your client";
    /// More than one `Content-Length`, even if equal (RFC 9110 §8.6 lets a recipient refuse them).
    LengthRepeated = "length_repeated", "there is more than one Content-Length field",
        "send one: where you set Content-Length yourself, leave that to your client";
    /// `Content-Length` is not 1*DIGIT, or beyond 2^63 - 1.
    Length = "length", "Content-Length is not a number below 2^63",
        "send the body's number of bytes, or leave Content-Length to your client";
    /// `Transfer-Encoding` is not exactly one `chunked` (RFC 9112 §6.1).
    TransferCoding = "transfer_coding", "Transfer-Encoding is not exactly: chunked",
        "send no Transfer-Encoding, or chunked alone; compress with Content-Encoding";
    /// `Transfer-Encoding` on HTTP/1.0 (RFC 9112 §6.1).
    TransferCodingOnHttp10 = "transfer_coding_on_http10", "Transfer-Encoding stands in an HTTP/1.0 request",
        "use HTTP/1.1, or send a Content-Length";
    /// `Expect` is not exactly one `100-continue` (RFC 9110 §10.1.1).
    Expect = "expect", "Expect is not exactly: 100-continue",
        "send no Expect, or 100-continue";
    /// More header fields than the limit: answered 431.
    TooManyFields = "too_many_fields", "there are more header fields than allowed",
        "send fewer headers, or raise limits.headers";
    /// The head is longer than the limit: answered 431.
    HeadTooLong = "head_too_long", "the head is longer than allowed",
        "send shorter headers, or raise limits.head; cookies go no further than here in any case";
    /// A chunk size is not 1 to 16 hexadecimal digits, or beyond 2^63 - 1 (RFC 9112 §7.1).
    ChunkSize = "chunk_size", "a chunk size is not a hexadecimal number below 2^63",
        "leave the chunks to your client, or send a Content-Length";
    /// A chunk extension holds a control character or is longer than 256 bytes (RFC 9112 §7.1.1).
    ChunkExtension = "chunk_extension", "a chunk extension holds a control character or is too long",
        "leave the chunks to your client, or send a Content-Length";
    /// Chunk data is not followed by CRLF.
    ChunkEnd = "chunk_end", "chunk data is not followed by CRLF",
        "leave the chunks to your client, or send a Content-Length";
    /// A trailer field is malformed, or the section longer than 8 KiB (RFC 9112 §7.1.2).
    Trailer = "trailer", "the trailer section is malformed or too long",
        "send no trailers: they are not passed on";
    /// Bytes after a message that was to be the last (`Connection: close`), or sent before an `Upgrade` was answered.
    AfterLast = "after_last", "bytes follow a request that was to be the last on its connection",
        "wait for the answer, or leave out Connection: close and Upgrade";
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
