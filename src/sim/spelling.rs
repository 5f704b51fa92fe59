//! How tokens and codes look. The one rule: as the vendor's do, long ones long, so that buffers and limits are tried in
//! earnest; and never the same twice, in any simulator.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::hash::hex;
use super::marketplace::Marketplace;

/// What a token that can be read says of itself.
pub(super) struct Claims<'a> {
    pub(super) account: &'a str,
    pub(super) client: &'a str,
    pub(super) scope: &'a str,
    /// Seconds since 1970.
    pub(super) issued_at: u64,
    pub(super) expires_at: u64,
}

pub(super) fn access_token(marketplace: Marketplace, claims: &Claims<'_>) -> String {
    match marketplace {
        Marketplace::WalmartSellers | Marketplace::WalmartSuppliers => jwe(),
        Marketplace::Wallapop => jwt(&spelled_out(claims, "Bearer")),
        Marketplace::WalmartGolocal => jwt(&json!({ "jti": hex(&noise(16)), "typ": "Bearer" })),
        Marketplace::Depop => format!("pat_{}", hex(&noise(20))),
        Marketplace::Generic | Marketplace::Nowhere => format!("gat_{}", text(32)),
    }
}

pub(super) fn refresh_token(marketplace: Marketplace, claims: &Claims<'_>) -> String {
    match marketplace {
        Marketplace::Wallapop => jwt(&spelled_out(claims, "Offline")),
        Marketplace::Depop => format!("prt_{}", hex(&noise(20))),
        Marketplace::Generic => format!("grt_{}", text(32)),
        _ => format!("AP{}", text(96)),
    }
}

pub(super) fn code(marketplace: Marketplace) -> String {
    match marketplace {
        Marketplace::Wallapop => format!("{}.{}.{}", uuid(), uuid(), uuid()),
        Marketplace::WalmartSellers => hex(&noise(16)).to_ascii_uppercase(),
        _ => text(32),
    }
}

/// A random UUID (RFC 9562 §5.4).
pub(super) fn uuid() -> String {
    let mut bytes = noise(16);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    let [a, b, c, d, e] = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    format!("{a}-{b}-{c}-{d}-{e}")
}

fn spelled_out(claims: &Claims<'_>, typ: &str) -> Value {
    json!({
        "exp": claims.expires_at,
        "iat": claims.issued_at,
        "jti": uuid(),
        "sub": claims.account,
        "typ": typ,
        "azp": claims.client,
        "scope": claims.scope,
    })
}

fn jwe() -> String {
    let header = br#"{"kid":"simulated","enc":"A256GCM","alg":"dir"}"#;
    let [header, iv, cipher, tag] =
        [header.to_vec(), noise(12), noise(612), noise(16)].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}..{iv}.{cipher}.{tag}")
}

/// Three parts, the last of them noise: nobody but the simulator is meant to check it.
fn jwt(claims: &Value) -> String {
    let header = br#"{"alg":"RS256","typ":"JWT","kid":"simulated"}"#;
    let [header, claims, signature] = [header.to_vec(), claims.to_string().into_bytes(), noise(256)]
        .map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.{signature}")
}

fn text(bytes: usize) -> String {
    URL_SAFE_NO_PAD.encode(noise(bytes))
}

fn noise(length: usize) -> Vec<u8> {
    let mut noise = vec![0; length];
    rand::fill(&mut noise[..]);
    noise
}
