//! The way through a forward proxy: `CONNECT` (RFC 9110 §9.3.6). The one rule: after the proxy's answer not one byte has
//! been read that belongs to the upstream.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::DialError;
use crate::config::settings::ForwardProxy;

/// Longest answer to `CONNECT`, in bytes: what proxies write there is a handful of fields.
const MAX_HEAD: usize = 16 * 1024;

/// Asks for a tunnel to `destination` (`host:port`). Afterwards the stream is the upstream's.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &ForwardProxy,
    destination: &str,
) -> Result<(), DialError> {
    let broken = |reason: String| failure(proxy, None, reason);
    stream.write_all(request(proxy, destination).as_bytes()).await.map_err(|e| broken(e.to_string()))?;
    let head = read_head(stream).await.map_err(|e| broken(e.to_string()))?;
    match status(&head) {
        Some(200..=299) => Ok(()),
        Some(status) => Err(failure(proxy, Some(status), String::new())),
        None => Err(broken("it does not speak HTTP".to_owned())),
    }
}

fn failure(proxy: &ForwardProxy, status: Option<u16>, reason: String) -> DialError {
    DialError::ForwardProxy { proxy: format!("{}:{}", proxy.host, proxy.port), status, reason }
}

fn request(proxy: &ForwardProxy, destination: &str) -> zeroize::Zeroizing<String> {
    let credentials = proxy
        .authorization
        .as_ref()
        .map_or(String::new(), |value| format!("Proxy-Authorization: {}\r\n", value.expose()));
    format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n{credentials}\r\n").into()
}

/// Reads to the empty line and not further. Byte by byte: nothing follows before we speak, and it happens once a connection.
/// A line may end with LF alone (RFC 9112 §2.2).
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(256);
    while ![b"\n\r\n".as_slice(), b"\n\n"].iter().any(|end| head.ends_with(end)) {
        if head.len() >= MAX_HEAD {
            return Err(std::io::Error::other("its answer to CONNECT is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// The status of `HTTP/1.1 200 …` (RFC 9112 §4).
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    let (digits, rest) = rest.split_at_checked(3)?;
    let ends = rest.first().is_some_and(|b| matches!(b, b' ' | b'\r' | b'\n'));
    std::str::from_utf8(digits).ok().filter(|d| ends && d.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_three_digits_after_the_version() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        for bad in
            ["", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 2000 x", "SSH-2.0-x", "HTTP/2 200 ", "HTTP/1.1 +20 x"]
        {
            assert_eq!(status(bad.as_bytes()), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn nothing_behind_the_proxys_answer_is_read() {
        for head in ["HTTP/1.1 200 OK\r\nVia: x\r\n\r\n", "HTTP/1.1 200 OK\nVia: x\n\n", "HTTP/1.0 200\n\r\n"]
        {
            let (mut near, mut far) = tokio::io::duplex(1024);
            far.write_all(format!("{head}TLS").as_bytes()).await.unwrap();
            let proxy =
                ForwardProxy { host: "egress".into(), port: 3128, authorization: None, except: Vec::new() };
            open(&mut near, &proxy, "api.test:443").await.unwrap();
            drop(far);
            let mut rest = String::new();
            near.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "TLS", "{head:?}");
        }
    }
}
