//! What must never reach a marketplace: a caller's own credentials, a proxy's placeholders, fields that belong to
//! one hop. The one rule: such a request is still answered as the vendor would; that it happened is written down.

use hyper::HeaderMap;

use super::marketplace::{Kind, Marketplace};

/// Credential headers, without the marks by which they are disguised.
const CREDENTIALS: [&str; 5] =
    ["authorization", "proxyauthorization", "authentication", "cookie", "wmsecaccesstoken"];
const ONE_HOP: [&str; 5] = ["keep-alive", "proxy-connection", "te", "trailer", "upgrade"];

/// Everything wrong with these header or trailer fields.
pub(super) fn violations(marketplace: Marketplace, kind: Kind, fields: &HeaderMap) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in fields {
        let name = name.as_str();
        if CREDENTIALS.iter().any(|credential| is_spelling_of(name, credential))
            && !belongs(marketplace, kind, name)
        {
            found.push(format!("{name}: a credential header that has no place here"));
        }
        if ONE_HOP.contains(&name) || (name == "connection" && nominates(value.as_bytes())) {
            found.push(format!("{name}: belongs to one hop only"));
        }
        if name.starts_with("marketgate-") {
            found.push(format!("{name}: meant for a proxy, not for a marketplace"));
        }
        if value.as_bytes().to_ascii_lowercase().windows(11).any(|text| text == b"placeholder") {
            found.push(format!("{name}: carries a placeholder"));
        }
    }
    found
}

/// A trailer field may carry no credential at all.
pub(super) fn violations_of_trailers(fields: &HeaderMap) -> Vec<String> {
    let names = fields.keys().map(hyper::header::HeaderName::as_str);
    let credentials = names.filter(|name| CREDENTIALS.iter().any(|known| is_spelling_of(name, known)));
    credentials.map(|name| format!("{name}: a credential in a trailer")).collect()
}

fn belongs(marketplace: Marketplace, kind: Kind, name: &str) -> bool {
    match (marketplace, kind) {
        (Marketplace::WalmartSellers | Marketplace::WalmartSuppliers, Kind::Api) => {
            name == "wm_sec.access_token"
        }
        (Marketplace::Generic, Kind::Api) => name == "authorization" || name == "wm_sec.access_token",
        (Marketplace::Nowhere, _) | (_, Kind::Discovery) => false,
        // A browser shows what it has; other programs on this machine may have given it cookies.
        (_, Kind::Consent) => name == "cookie",
        _ => name == "authorization",
    }
}

fn is_spelling_of(name: &str, credential: &str) -> bool {
    let letters = name.bytes().filter(|byte| !b"-_.".contains(byte));
    letters.eq(credential.bytes())
}

fn nominates(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    text.split(',').map(str::trim).any(|option| !matches!(option, "" | "keep-alive" | "close"))
}

#[cfg(test)]
mod tests {
    use super::{Kind, Marketplace, violations};
    use hyper::HeaderMap;
    use hyper::header::{HeaderName, HeaderValue};

    fn fields(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn disguised_credentials_placeholders_and_hop_by_hop_fields_are_found() {
        for wrong in [
            ("cookie", "a=b"),
            ("proxy-authorization", "Basic x"),
            ("wm-sec_access.token", "x"),
            ("authorization", "Bearer x"),
            ("connection", "keep-alive, x-secret"),
            ("upgrade", "h2c"),
            ("marketgate-app", "walmart"),
            ("wm_sec.access_token", "marketgate-PLACEHOLDER"),
        ] {
            let found = violations(Marketplace::WalmartSellers, Kind::Api, &fields(&[wrong]));
            assert_eq!(found.len(), 1, "{wrong:?}: {found:?}");
        }
    }

    #[test]
    fn what_belongs_is_no_violation() {
        let walmart = fields(&[("wm_sec.access_token", "x"), ("connection", "close"), ("accept", "*/*")]);
        assert!(violations(Marketplace::WalmartSellers, Kind::Api, &walmart).is_empty());
        let bearer = fields(&[("authorization", "Bearer x")]);
        assert!(violations(Marketplace::Depop, Kind::Api, &bearer).is_empty());
        assert!(violations(Marketplace::WalmartSellers, Kind::Token, &bearer).is_empty());
    }
}
