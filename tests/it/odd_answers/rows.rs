//! The table: every odd way in which a token endpoint may say what it granted, or fail to.

use super::reply::{Ending, Framing, Reply, Tokens, WHOLE_CHUNKS, brotli, deflate, gzip, raw_deflate, zstd};

/// Whether the successor is in what is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sees {
    /// It is, whatever it looks like.
    Successor,
    /// It is not.
    Nothing,
    /// It is not, and the answer looks like a refusal that the server did not mean.
    Refusal,
    /// It is if its text, quotes and all, is in the bytes that belong to the body.
    AsFarAsSent,
}

type Say = Box<dyn Fn(&Tokens) -> Reply + Send + Sync>;

/// One row.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) over_tls: bool,
    pub(super) sees: Sees,
    pub(super) reply: Say,
}

impl Row {
    pub(super) fn says_successor(&self, reply: &Reply, tokens: &Tokens) -> bool {
        match self.sees {
            Sees::Successor => true,
            Sees::Nothing | Sees::Refusal => false,
            Sees::AsFarAsSent => {
                let quoted = format!("\"{}\"", tokens.refresh).into_bytes();
                let sent = reply.sent();
                sent.windows(quoted.len()).any(|window| window == quoted)
            }
        }
    }
}

/// What a good answer says.
const GOOD: &str = r#"{"access_token":"ACCESS","token_type":"Bearer","expires_in":3600,"refresh_token":"REFRESH","scope":"a b"}"#;

/// The table. Rows of bodies, codings and statuses go over TLS and in the clear by turns, rows about framing both ways.
pub(super) fn rows() -> Vec<Row> {
    let mut table = Table::default();
    bodies(&mut table);
    lifetimes(&mut table);
    types(&mut table);
    surroundings(&mut table);
    statuses(&mut table);
    codings(&mut table);
    framings(&mut table);
    cuts(&mut table);
    empty(&mut table);
    table.rows
}

#[derive(Default)]
struct Table {
    rows: Vec<Row>,
}

impl Table {
    fn add(
        &mut self,
        name: impl Into<String>,
        sees: Sees,
        reply: impl Fn(&Tokens) -> Reply + Send + Sync + 'static,
    ) {
        let over_tls = self.rows.len() % 2 == 1;
        self.rows.push(Row { name: name.into(), over_tls, sees, reply: Box::new(reply) });
    }

    fn add_both(
        &mut self,
        name: &str,
        sees: Sees,
        reply: impl Fn(&Tokens) -> Reply + Send + Sync + Clone + 'static,
    ) {
        for over_tls in [false, true] {
            let name = format!("{name}{}", if over_tls { ", over TLS" } else { "" });
            self.rows.push(Row { name, over_tls, sees, reply: Box::new(reply.clone()) });
        }
    }

    /// A whole 200 with this body, in which `ACCESS`, `REFRESH` and `SHOWN` stand for the tokens.
    fn body(&mut self, name: &str, sees: Sees, body: &str) {
        let body = body.to_owned();
        self.add(name, sees, move |tokens| Reply::json(200, tokens.fill(&body)));
    }

    fn good(&mut self, name: &str, change: impl Fn(&mut Reply) + Send + Sync + 'static) {
        self.add(name, Sees::Successor, move |tokens| Reply::json(200, tokens.fill(GOOD)).with(&change));
    }
}

fn bodies(table: &mut Table) {
    let tokens =
        r#""access_token":"ACCESS","refresh_token":"REFRESH","expires_in":3600,"token_type":"Bearer""#;
    for (name, body) in [
        ("as it should be", GOOD.to_owned()),
        ("a trailing comma", format!("{{{tokens},}}")),
        ("two trailing commas", format!("{{{tokens},,}}")),
        ("a comment", format!("{{ /* granted */ {tokens} }}")),
        ("a scope twice", format!("{{\"scope\":\"a\",{tokens},\"scope\":\"b\"}}")),
        ("a message twice", format!("{{\"message\":\"a\",{tokens},\"message\":\"b\"}}")),
        ("an access token twice", format!("{{\"access_token\":\"other\",{tokens}}}")),
        ("a lifetime in two spellings", format!("{{\"expiresIn\":60,{tokens}}}")),
        ("the refresh token twice, the same", format!("{{\"refresh_token\":\"REFRESH\",{tokens}}}")),
        ("an error beside the tokens", format!("{{\"error\":\"server_error\",{tokens}}}")),
        ("an echo of what was shown", format!("{{\"request\":{{\"refresh_token\":\"SHOWN\"}},{tokens}}}")),
        ("an echo after the tokens", format!("{{{tokens},\"request\":{{\"refresh_token\":\"SHOWN\"}}}}")),
        ("a byte order mark", format!("\u{feff}{{{tokens}}}")),
        ("line breaks around it", format!("\r\n\r\n {{{tokens}}}\r\n\r\n")),
        ("many lines", format!("{{\n  {}\n}}\n", tokens.replace(',', ",\n  ").replace(':', " : "))),
        ("zeros after it", format!("{{{tokens}}}\0\0\0")),
        ("a page after it", format!("{{{tokens}}}<!-- served by node 7 -->")),
        ("a warning before it", format!("Warning: date() in token.php on line 7\n{{{tokens}}}")),
        ("a page around it", format!("<html><body><pre>{{{tokens}}}</pre></body></html>")),
        ("a prefix against scripts", format!(")]}}',\n{{{tokens}}}")),
        ("a call around it", format!("callback({{{tokens}}});")),
        ("a list around it", format!("[{{{tokens}}}]")),
        ("below data", format!("{{\"data\":{{{tokens}}}}}")),
        ("below result.data", format!("{{\"status\":\"ok\",\"result\":{{\"data\":{{{tokens}}}}}}}")),
        ("in a list below data", format!("{{\"data\":[{{{tokens}}}]}}")),
        ("eight levels down", format!("{}{{{tokens}}}{}", "{\"a\":".repeat(8), "}".repeat(8))),
        (
            "the refresh token apart",
            r#"{"access_token":"ACCESS","expires_in":3600,"refresh":{"refresh_token":"REFRESH"}}"#.to_owned(),
        ),
        (
            "no access token",
            r#"{"token_type":"Bearer","expires_in":3600,"refresh_token":"REFRESH"}"#.to_owned(),
        ),
        ("an access token of null", r#"{"access_token":null,"refresh_token":"REFRESH"}"#.to_owned()),
        ("an empty access token", r#"{"access_token":"","refresh_token":"REFRESH"}"#.to_owned()),
        ("a number for an access token", r#"{"access_token":7,"refresh_token":"REFRESH"}"#.to_owned()),
        (
            "an object for an access token",
            r#"{"access_token":{"v":"ACCESS"},"refresh_token":"REFRESH"}"#.to_owned(),
        ),
        ("a list of access tokens", r#"{"access_token":["ACCESS"],"refresh_token":"REFRESH"}"#.to_owned()),
        (
            "an access token with a line break",
            r#"{"access_token":"ACC\r\nX-Evil: 1","refresh_token":"REFRESH"}"#.to_owned(),
        ),
        (
            "an access token no header can carry",
            "{\"access_token\":\"t\u{f6}ken\",\"refresh_token\":\"REFRESH\"}".to_owned(),
        ),
        ("only the refresh token", r#"{"refresh_token":"REFRESH"}"#.to_owned()),
        (
            "members in camel case",
            r#"{"accessToken":"ACCESS","refreshToken":"REFRESH","expiresIn":3600}"#.to_owned(),
        ),
        ("a null beside the successor", format!("{{\"refresh_token\":null,\"data\":{{{tokens}}}}}")),
        ("a scope of null", format!("{{\"scope\":null,{tokens}}}")),
        ("a list of scopes", format!("{{\"scope\":[\"a\",\"b\"],{tokens}}}")),
        ("an unpaired surrogate beside it", format!("{{\"name\":\"\\ud800\",{tokens}}}")),
        ("an infinite number beside it", format!("{{\"score\":1e999,{tokens}}}")),
        ("NaN beside it", format!("{{\"score\":NaN,{tokens}}}")),
        ("single quotes beside it", format!("{{'note':'x',{tokens}}}")),
        ("no brace at the end", format!("{{{tokens}")),
        ("one brace too many", format!("{{{tokens}}}}}")),
    ] {
        table.body(name, Sees::Successor, &body);
    }
    table.body(
        "as a form",
        Sees::Successor,
        "access_token=ACCESS&token_type=bearer&expires_in=3600&refresh_token=REFRESH",
    );
    table.add("escapes in the refresh token", Sees::Successor, |tokens| {
        let body = String::from_utf8(tokens.fill(GOOD)).unwrap();
        Reply::json(200, body.replace("\"grt_", "\"\\u0067\\u0072t_").into_bytes())
    });
    table.add("bytes beside it that are no UTF-8", Sees::Successor, |tokens| {
        let body = [b"{\"shop\":\"caf\xe9\",", &tokens.fill(GOOD)[1..]].concat();
        Reply::json(200, body)
    });
    for (name, before, after) in [
        ("70 KiB before it", 70 << 10, 0),
        ("70 KiB after it", 0, 70 << 10),
        ("half a MiB after it", 0, 512 << 10),
    ] {
        table.add(name, Sees::Successor, move |tokens| {
            let (before, after) = ("x".repeat(before), "y".repeat(after));
            let body = format!("{{\"a\":\"{before}\",\"refresh_token\":\"REFRESH\",\"access_token\":\"ACCESS\",\"z\":\"{after}\"}}");
            Reply::json(200, tokens.fill(&body))
        });
    }
}

fn lifetimes(table: &mut Table) {
    for said in [
        "\"3600\"",
        "3600.0",
        "3.6e3",
        "0",
        "\"0\"",
        "-1",
        "null",
        "1e18",
        "99999999999999999999999",
        "\"soon\"",
        "{}",
        "[3600]",
        "true",
        "\"PT1H\"",
    ] {
        let body =
            format!("{{\"access_token\":\"ACCESS\",\"refresh_token\":\"REFRESH\",\"expires_in\":{said}}}");
        table.body(&format!("expires_in {said}"), Sees::Successor, &body);
    }
    table.body("no expires_in", Sees::Successor, r#"{"access_token":"ACCESS","refresh_token":"REFRESH"}"#);
    for said in ["0", "-1", "\"never\"", "1e300", "null"] {
        let body = format!(
            "{{\"access_token\":\"ACCESS\",\"refresh_token\":\"REFRESH\",\"refresh_expires_in\":{said},\"expires_in\":3600}}"
        );
        table.body(&format!("refresh_expires_in {said}"), Sees::Successor, &body);
    }
}

fn types(table: &mut Table) {
    for said in [
        "\"bearer\"",
        "\"BEARER\"",
        "\"User Access Token\"",
        "\"Application Access Token\"",
        "\"BearerToken\"",
        "\"\"",
        "null",
        "7",
        "\"mac\"",
        "\"DPoP\"",
        "\"N_A\"",
    ] {
        let body = format!(
            "{{\"access_token\":\"ACCESS\",\"refresh_token\":\"REFRESH\",\"expires_in\":3600,\"token_type\":{said}}}"
        );
        table.body(&format!("token_type {said}"), Sees::Successor, &body);
    }
}

fn surroundings(table: &mut Table) {
    for said in [
        "text/html; charset=utf-8",
        "text/plain",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "json",
        "application/json; charset=utf-16",
        "*/*",
    ] {
        table.good(&format!("Content-Type {said}"), move |reply| {
            reply.fields = vec![("Content-Type", said.to_owned())];
        });
    }
    table.good("no Content-Type", |reply| reply.fields.clear());
    table.good("Content-Type twice", |reply| reply.fields.push(("Content-Type", "text/html".to_owned())));
    table.good("many cookies", |reply| {
        reply.fields.extend((0..80).map(|number| ("Set-Cookie", format!("c{number}={}", "x".repeat(100)))));
    });
    table.good("a Location beside it", |reply| reply.fields.push(("Location", "/elsewhere".to_owned())));
    table.good("100 Continue before it", |reply| reply.before = "HTTP/1.1 100 Continue\r\n\r\n");
    table.good("103 Early Hints before it", |reply| {
        reply.before = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    });
    table.good("HTTP/1.0", |reply| (reply.version, reply.framing) = ("HTTP/1.0", Framing::Close));
}

/// What a status says does not matter where a successor is in the answer.
fn statuses(table: &mut Table) {
    for status in [
        201, 202, 203, 206, 226, 300, 302, 307, 400, 401, 403, 404, 409, 418, 422, 429, 500, 501, 502, 503,
        504, 520,
    ] {
        table.add(format!("status {status}"), Sees::Successor, move |tokens| {
            Reply::json(status, tokens.fill(GOOD))
        });
        if status >= 400 {
            table.add(
                format!("status {status} with an error and the refresh token"),
                Sees::Successor,
                move |tokens| {
                    let body =
                        r#"{"error":"server_error","error_description":"late","refresh_token":"REFRESH"}"#;
                    Reply::json(status, tokens.fill(body))
                },
            );
        }
    }
}

type Coding = fn(&[u8]) -> Vec<u8>;

fn codings(table: &mut Table) {
    let codings: [(&str, Coding); 9] = [
        ("gzip", gzip),
        ("x-gzip", gzip),
        ("GZIP", gzip),
        ("deflate", deflate),
        ("deflate", raw_deflate),
        ("br", brotli),
        ("zstd", zstd),
        ("gzip, gzip", |bytes| gzip(&gzip(bytes))),
        ("deflate, gzip", |bytes| gzip(&deflate(bytes))),
    ];
    for (number, (coding, encode)) in codings.into_iter().enumerate() {
        for status in [200, 400, 503] {
            coded(table, &format!("coding {number} ({coding}), status {status}"), status, coding, encode);
        }
    }
    coded(table, "identity, said", 200, "identity", <[u8]>::to_vec);
    coded(table, "an empty coding", 200, "", <[u8]>::to_vec);
    coded(table, "gzip said and not done", 200, "gzip", <[u8]>::to_vec);
    coded(table, "br said and not done", 200, "br", <[u8]>::to_vec);
    coded(table, "an unknown coding said and not done", 200, "aws-chunked", <[u8]>::to_vec);
    coded(table, "gzip with bytes after it", 200, "gzip", |bytes| [&gzip(bytes)[..], b"trailing"].concat());
    coded(table, "gzip in two members", 200, "gzip", |bytes| {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        [gzip(first), gzip(second)].concat()
    });
    coded(table, "gzip without its checksum", 200, "gzip", |bytes| {
        let whole = gzip(bytes);
        whole[..whole.len() - 8].to_vec()
    });
    coded(table, "gzip with a wrong checksum", 200, "gzip", |bytes| {
        let mut whole = gzip(bytes);
        let at = whole.len() - 6;
        whole[at] ^= 0xff;
        whole
    });
    coded(table, "8 MiB of spaces after it, in gzip", 200, "gzip", |bytes| {
        gzip(&[bytes, &vec![b' '; 8 << 20]].concat())
    });
    table.add("gzip, and nobody says so", Sees::Successor, |tokens| {
        Reply::json(200, gzip(&tokens.fill(GOOD)))
    });
    for (name, coding) in [("compress", "compress"), ("a coding nobody knows", "aes128gcm")] {
        table.add(name, Sees::Nothing, move |tokens| {
            let body: Vec<u8> = tokens.fill(GOOD).iter().map(|byte| byte ^ 0xa5).collect();
            Reply::json(200, body).with(|reply| reply.fields.push(("Content-Encoding", coding.to_owned())))
        });
    }
    table.add("gzip that ends within its first bytes", Sees::Nothing, |tokens| {
        Reply::json(200, gzip(&tokens.fill(GOOD))[..14].to_vec())
            .with(|reply| reply.fields.push(("Content-Encoding", "gzip".to_owned())))
    });
}

fn coded(table: &mut Table, name: &str, status: u16, coding: &'static str, encode: Coding) {
    table.add(name, Sees::Successor, move |tokens| {
        Reply::json(status, encode(&tokens.fill(GOOD)))
            .with(|reply| reply.fields.push(("Content-Encoding", coding.to_owned())))
    });
}

fn framings(table: &mut Table) {
    let chunks = |last| Framing::Chunked { size: 4096, last, extension: "" };
    let framings = [
        ("chunks", WHOLE_CHUNKS),
        ("chunks of one byte", Framing::Chunked { size: 1, last: "0\r\n\r\n", extension: "" }),
        ("chunks with extensions", Framing::Chunked { size: 64, last: "0\r\n\r\n", extension: ";a=\"b\"" }),
        ("chunks and a trailer", chunks("0\r\nX-Checksum: 7\r\n\r\n")),
        ("chunks without a last one", chunks("")),
        ("chunks that end within the last one", chunks("0\r\n")),
        ("chunks and then something else", chunks("zz\r\n")),
        ("no length", Framing::Close),
        ("a length and chunks", Framing::Both),
        ("a length 7 too long", Framing::Length(7)),
        ("a length far too long", Framing::Length(1 << 30)),
        ("a length 3 too short", Framing::Length(-3)),
        ("a length 16 too short", Framing::Length(-16)),
        ("a length that ends within the refresh token", Framing::Length(-40)),
        ("a length of half", Framing::Length(-70)),
    ];
    for (name, framing) in framings {
        for ending in [Ending::Close, Ending::Vanish, Ending::Reset] {
            let name = format!("{name}, then {ending:?}");
            table.add_both(&name, Sees::AsFarAsSent, move |tokens| {
                let reply = Reply::json(200, tokens.fill(GOOD));
                reply.with(|reply| (reply.framing, reply.ending) = (framing, ending))
            });
        }
    }
    for (coding, encode) in [("gzip", gzip as Coding), ("br", brotli), ("zstd", zstd)] {
        for (name, framing) in
            [("without a last chunk", chunks("")), ("a length too long", Framing::Length(9))]
        {
            table.add_both(&format!("{coding}, {name}"), Sees::Successor, move |tokens| {
                Reply::json(200, encode(&tokens.fill(GOOD))).with(|reply| {
                    reply.fields.push(("Content-Encoding", coding.to_owned()));
                    (reply.framing, reply.ending) = (framing, Ending::Vanish);
                })
            });
        }
    }
}

/// The body, cut after so many bytes.
fn cuts(table: &mut Table) {
    for length in (0..180).step_by(9) {
        table.add_both(&format!("{length} bytes of the body"), Sees::AsFarAsSent, move |tokens| {
            let reply = Reply::json(200, tokens.fill(GOOD));
            let head = reply.head_length();
            reply.with(|reply| (reply.cut, reply.ending) = (Some(head + length), Ending::Vanish))
        });
    }
    for length in [0, 1, 9, 12, 20, 60] {
        table.add(format!("{length} bytes of the head"), Sees::Nothing, move |tokens| {
            Reply::json(200, tokens.fill(GOOD)).with(|reply| reply.cut = Some(length))
        });
    }
}

/// No successor at all.
fn empty(table: &mut Table) {
    for (name, body) in [
        ("an empty body", ""),
        ("a page", "<html><body>Down for maintenance</body></html>"),
        ("null", "null"),
        ("an empty object", "{}"),
        ("an empty list", "[]"),
        ("a word", "OK"),
        ("a string", "\"granted\""),
        ("an echo and nothing else", r#"{"request":{"refresh_token":"SHOWN"}}"#),
        ("an empty refresh token and no access token", r#"{"refresh_token":""}"#),
        ("a number for a refresh token and no access token", r#"{"refresh_token":7}"#),
    ] {
        table.body(name, Sees::Nothing, body);
    }
    for status in [500, 502, 503, 504] {
        table.add(format!("status {status} and a page"), Sees::Nothing, move |_| {
            Reply::json(status, b"<html>Bad gateway</html>".to_vec())
        });
    }
    for status in [400, 401, 403, 404, 405] {
        table.add(format!("status {status} and a page"), Sees::Refusal, move |_| {
            Reply::json(status, b"<html>No</html>".to_vec())
        });
        table.add(format!("status {status} and nothing"), Sees::Refusal, move |_| {
            Reply::json(status, Vec::new())
        });
    }
    table.add("204", Sees::Nothing, |_| Reply::json(204, Vec::new()));
    table.add("a redirect", Sees::Nothing, |_| {
        Reply::json(302, Vec::new()).with(|reply| reply.fields.push(("Location", "/login".to_owned())))
    });
}
