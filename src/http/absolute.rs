//! Targets in absolute form (RFC 9112 §3.2.2): a server takes them for its own address, and clients that take this one for a
//! forward proxy send them for others'.

use http::{HeaderMap, HeaderValue, Request, Uri, header::HOST, uri::PathAndQuery};

use super::{
    gate::Violation,
    problem::{Code, Problem},
};

/// Marks a request that came in absolute form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsoluteForm;

/// Makes a request of absolute form one of origin form, and marks it.
///
/// # Errors
/// When `Host` names another host than the target.
pub(super) fn to_origin_form<B>(request: &mut Request<B>) -> Result<(), Violation> {
    let Some(authority) = request.uri().authority() else { return Ok(()) };
    match request.headers().get(HOST) {
        Some(host) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            return Err(Violation::TwoHosts);
        }
        Some(_) => {}
        None => {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Violation::TargetForm)?;
            request.headers_mut().insert(HOST, host);
        }
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    request.extensions_mut().insert(AbsoluteForm);
    Ok(())
}

/// What somebody is told who sent what is meant for a forward proxy.
pub fn no_forward_proxy(headers: &HeaderMap) -> Problem {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("another host");
    let detail = format!("this is no forward proxy, and the request is for {host}");
    Problem::new(Code::NoForwardProxy, detail, Violation::Connect.help())
}
