//! How an app's hosts are reached: `http2`, `proxy_url` and `client_certificate`. The one rule: files that are named here can be
//! used when they are read.

use std::path::Path;

use super::{
    limits,
    reader::{Misfit, Section},
    schema,
};
use crate::{
    provider::{ClientCertificate, Transport, WayOut},
    tls,
};

/// What an app says of its connections.
pub(super) fn read(app: &Section<'_>) -> Transport {
    Transport {
        http1_only: app.flag("http2") == Some(false),
        way_out: way_out(app),
        client_certificate: client_certificate(app),
        spellings: Vec::new(),
    }
}

/// `proxy_url`; `"none"` for no forward proxy.
fn way_out(app: &Section<'_>) -> Option<WayOut> {
    let is_none = app.value("proxy_url").is_some_and(|value| value.get_ref().as_str() == Some("none"));
    if is_none { Some(WayOut::Direct) } else { limits::proxy_url(app).map(WayOut::Proxy) }
}

fn client_certificate(app: &Section<'_>) -> Option<ClientCertificate> {
    if !app.has("client_certificate") {
        return None;
    }
    let section = app.section("client_certificate", &schema::CLIENT_CERTIFICATE);
    let file = |key: &'static str| {
        if !section.has(key) {
            let hint = "write both: client_certificate = { cert = \"client.pem\", key = \"client.key\" }";
            section.absence(Misfit::mended_by(format!("`client_certificate` has no `{key}`"), hint));
        }
        section.text(key).map(|text| section.reading.path(&text.value))
    };
    let (cert, key) = (file("cert"), file("key"));
    let certificate = ClientCertificate { cert: cert?, key: key? };
    usable(&certificate).map_err(|misfit| app.mistake_at("client_certificate", misfit)).ok()?;
    Some(certificate)
}

fn usable(certificate: &ClientCertificate) -> Result<(), Misfit> {
    let hint = "write the paths of two PEM files, absolute or relative to this file's directory: the certificate with those \
                between it and an authority, and its private key without a password";
    regular_file(&certificate.cert)
        .and_then(|()| regular_file(&certificate.key))
        .and_then(|()| tls::check_certificate(certificate).map_err(|error| error.to_string()))
        .map_err(|complaint| Misfit::mended_by(complaint, hint))
}

/// Whether there is a file that can be read to its end.
///
/// # Errors
/// A sentence that names it.
pub(super) fn regular_file(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(found) if found.is_dir() => Err(format!("{} is a directory", path.display())),
        Ok(_) => Err(format!("{} is no regular file", path.display())),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}
