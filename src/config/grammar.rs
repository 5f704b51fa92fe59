//! The small languages of single values: addresses, sizes, durations, host names, filters. The one rule: each is a pure
//! function from a text to a checked value or to what is wrong with it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD as STANDARD};
use zeroize::Zeroizing;

use super::{later, reader::Misfit};
use crate::{
    provider::{Exception, values},
    secret::Secret,
};

/// `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Misfit> {
    if let Some(later) = later::find(later::LISTEN, "unix:").filter(|_| text.starts_with("unix:")) {
        return Err(Misfit::mended_by(later.what, later.mend));
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.parse::<IpAddr>().is_ok() || !text.contains(':') {
        let hint = "write host and port, such as \"127.0.0.1:8080\"";
        return Err(Misfit::mended_by(format!("`{text}` has no port"), hint));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    match (host, port.parse::<u16>()) {
        ("localhost", Ok(port)) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        ("" | "*", Ok(port)) => Err(Misfit::mended_by(
            format!("`{text}` does not say on which address to listen"),
            format!(
                "write \"127.0.0.1:{port}\" for this machine alone, or \"0.0.0.0:{port}\" for every interface"
            ),
        )),
        (_, Err(_)) => Err(Misfit::mended_by(
            format!("`{text}` is no address to listen on"),
            "a port is a number from 0 to 65535, as in \"127.0.0.1:8080\"",
        )),
        (_, Ok(port)) => Err(Misfit::mended_by(
            format!("`{text}` is no address to listen on"),
            format!("write an IP address and a port, such as \"127.0.0.1:{port}\""),
        )),
    }
}

/// Whether two listeners cannot both stand: one address twice, or one of them covers the other.
pub(super) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |a: IpAddr, b: IpAddr| a.is_unspecified() && a.is_ipv4() == b.is_ipv4();
    let same_place = a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip());
    a.port() != 0 && a.port() == b.port() && same_place
}

/// Whether only this machine reaches the address.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// `64KiB`, `1MiB`, `2GiB` or `512B`, in bytes.
pub(super) fn size(text: &str) -> Result<u64, Misfit> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (text[..digits].parse::<u64>().ok(), text[digits..].trim());
    let factor = match unit {
        "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.ok_or_else(|| {
        Misfit::mended_by(
            format!("`{text}` is no size"),
            "write a number and B, KiB, MiB or GiB, such as \"64KiB\"",
        )
    })
}

/// A time limit: more than nothing, and not more than an hour.
pub(super) fn time_limit(text: &str) -> Result<Duration, Misfit> {
    let hint = "write a whole number and ms, s or m, such as \"500ms\", \"5s\" or \"2m\"";
    let duration =
        values::duration(text).ok_or_else(|| Misfit::mended_by(format!("`{text}` is no duration"), hint))?;
    if duration.is_zero() || duration > Duration::from_secs(3600) {
        let message = format!("`{text}` is no time limit: it must be more than 0 and at most 1h");
        return Err(Misfit::mended_by(message, hint));
    }
    Ok(duration)
}

/// How long to wait for something, from not at all to an hour.
pub(super) fn patience(text: &str) -> Result<Duration, Misfit> {
    let hint = "write a whole number and ms, s or m, such as \"60s\"; \"0s\" does not wait";
    let wrong = |message: String| Misfit::mended_by(message, hint);
    let duration = values::duration(text).ok_or_else(|| wrong(format!("`{text}` is no duration")))?;
    let short = duration <= Duration::from_secs(3600);
    short.then_some(duration).ok_or_else(|| wrong(format!("`{text}` is longer than 1h")))
}

/// How long connections are still accepted once the program was told to stop.
pub(super) fn drain_delay(text: &str) -> Result<Duration, Misfit> {
    let delay = patience(text)?;
    if delay > Duration::from_secs(600) {
        let message = format!("`{text}` is longer than 10m: whatever stops the program kills it before that");
        return Err(Misfit::mended_by(
            message,
            "write the seconds that a load balancer needs to notice, such as \"10s\"",
        ));
    }
    Ok(delay)
}

/// A host name or IP address without scheme and port, in lower case.
pub(super) fn host(text: &str) -> Result<String, Misfit> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if !text.is_empty() && text.bytes().all(legal) {
        return Ok(text.trim_end_matches('.').to_ascii_lowercase());
    }
    let hint = if text.contains('*') {
        "there are no wildcards: write each name"
    } else {
        "write the name alone, without scheme, port and path, such as \"gate.internal\""
    };
    Err(Misfit::mended_by(format!("`{text}` is no host name"), hint))
}

/// A web origin (RFC 6454 §6.2) as browsers send it.
pub(super) fn origin(text: &str) -> Result<String, Misfit> {
    let hint = "write scheme and host, and the port if it is unusual, such as \"https://app.example.com\"";
    let wrong = || Misfit::mended_by(format!("`{text}` is no web origin"), hint);
    let url: url::Url = text.parse().map_err(|_| wrong())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    if !(matches!(url.scheme(), "http" | "https") && bare && anonymous) {
        return Err(wrong());
    }
    Ok(url.origin().ascii_serialization())
}

/// A log level, or a filter of `TARGET=LEVEL` parts.
pub(super) fn log_filter(text: &str) -> Result<String, Misfit> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let level = |part: &str| LEVELS.iter().any(|level| part.eq_ignore_ascii_case(level));
    let part = |part: &str| level(part) || part.split_once('=').is_some_and(|(_, right)| level(right));
    let stands = text.split(',').all(|each| part(each.trim()))
        && text.parse::<tracing_subscriber::filter::Targets>().is_ok();
    stands.then(|| text.to_owned()).ok_or_else(|| {
        Misfit::mended_by(
            format!("`{text}` is no log level"),
            "write error, warn, info, debug or trace, or parts such as \"info,marketgate=debug\"",
        )
    })
}

/// 64 hexadecimal digits.
pub(super) fn sha256(text: &str) -> Result<[u8; 32], Misfit> {
    let wrong = || {
        Misfit::mended_by(
            "`sha256` must be 64 hexadecimal digits",
            "`marketgate caller NAME` makes a key and prints its digest",
        )
    };
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

/// 32 bytes in base64 (RFC 4648 §4, padded). `name` is the key that holds them.
pub(super) fn store_key(name: &str, text: &str) -> Result<(), Misfit> {
    let decoded = STANDARD.decode(text).map(Zeroizing::new);
    if decoded.is_ok_and(|bytes| bytes.len() == 32) {
        return Ok(());
    }
    let hint =
        "`openssl rand -base64 32` prints such a key; a store is opened only by the one it was sealed with";
    Err(Misfit::mended_by(format!("`{name}` must hold 32 bytes in base64"), hint))
}

/// A redirect address (RFC 6749 §3.1.2) as it is registered with the marketplace, kept byte for byte. The messages do not
/// repeat it.
pub(super) fn redirect_uri(text: &str) -> Result<String, Misfit> {
    let hint = "write it as it is registered, such as \"http://localhost:8082/callback\" or \"https://yourapp.com/callback\"";
    let wrong = |message: &str| Err(Misfit::mended_by(message, hint));
    let visible = text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let url = text.parse::<url::Url>().ok().filter(|url| visible && authority(text, url).is_some());
    let Some((url, host)) = url.as_ref().and_then(|url| Some((url, url.host()?))) else {
        return wrong("`redirect_uri` must be an absolute URL that begins with http:// or https://");
    };
    if authority(text, url).is_some_and(|authority| authority.contains('@')) {
        return wrong("`redirect_uri` must hold no user and no password");
    }
    if url.fragment().is_some() {
        return wrong("`redirect_uri` must hold no fragment: nothing behind a `#` reaches a server");
    }
    if url.scheme() == "http" && !is_this_machine(&host) {
        return wrong(
            "`redirect_uri` with http:// is for this machine alone: a code must not travel unencrypted",
        );
    }
    Ok(text.to_owned())
}

/// What stands between `//` and the path, for the two schemes of the web.
fn authority<'t>(text: &'t str, url: &url::Url) -> Option<&'t str> {
    let rest = text.get(url.scheme().len()..)?.strip_prefix("://")?;
    matches!(url.scheme(), "http" | "https").then(|| rest.split(['/', '?', '#']).next().unwrap_or_default())
}

fn is_this_machine(host: &url::Host<&str>) -> bool {
    match host {
        url::Host::Domain(name) => *name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    }
}

/// `http://[user:password@]host:port`. The messages do not repeat the URL, which may hold a password.
pub(super) fn forward_proxy(text: &str) -> Result<super::settings::ForwardProxy, Misfit> {
    let hint = "write \"http://host:port\"";
    let wrong = |message: &str| Misfit::mended_by(message, hint);
    let url: url::Url = text.parse().map_err(|_| wrong("`proxy_url` is no URL"))?;
    if url.scheme() != "http" {
        return Err(wrong(
            "`proxy_url` must begin with http://: proxies that speak TLS or SOCKS are not served yet",
        ));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("`proxy_url` must end with its port: no path, no query"));
    }
    let host = url.host_str().ok_or_else(|| wrong("`proxy_url` names no host"))?;
    let authorization = proxy_authorization(&url).map_err(wrong)?;
    Ok(super::settings::ForwardProxy {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: url.port_or_known_default().unwrap_or(80),
        authorization,
        except: Vec::new(),
    })
}

/// A host that is reached without the forward proxy: a name, which stands for all below it too, an address, or a network as
/// `10.0.0.0/8`.
pub(super) fn proxy_exception(text: &str) -> Result<Exception, Misfit> {
    let hint = "write a host such as \"api.internal\", which stands for all below it too, an address, or a network such as \
                \"10.0.0.0/8\"";
    let wrong = || Misfit::mended_by(format!("`{text}` is no host"), hint);
    if text == "*" {
        return Err(Misfit::mended_by(
            "`*` would leave nothing for the forward proxy",
            "remove `proxy_url` instead",
        ));
    }
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    if let Ok(address) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most));
        return bits.map(|bits| Exception::Network(address, bits)).ok_or_else(wrong);
    }
    let domain = host(text.trim_start_matches("*.").trim_start_matches('.')).map_err(|_| wrong())?;
    Ok(Exception::Domain(domain))
}

/// RFC 7617 §2: user and password joined by a colon, so a user's name holds none.
fn proxy_authorization(url: &url::Url) -> Result<Option<Secret>, &'static str> {
    let decoded = |part: &str| {
        percent_encoding::percent_decode_str(part).decode_utf8().map(std::borrow::Cow::into_owned)
    };
    let unreadable = "the user or password in `proxy_url` is no text: percent-encode it as UTF-8";
    let user = decoded(url.username()).map_err(|_| unreadable)?;
    let password = decoded(url.password().unwrap_or_default()).map_err(|_| unreadable)?;
    if user.is_empty() && password.is_empty() {
        return Ok(None);
    }
    if user.contains(':') || format!("{user}{password}").chars().any(char::is_control) {
        return Err("the user or password in `proxy_url` holds a character that cannot be sent");
    }
    let joined = Zeroizing::new(format!("{user}:{password}"));
    let encoded = STANDARD.encode(joined.as_bytes());
    Ok(Some(Secret::new(format!("Basic {encoded}"))))
}
