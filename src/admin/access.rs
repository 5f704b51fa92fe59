//! Who may do what at the admin door. The one rule: localhost is not a boundary: any page makes a browser send requests
//! there, and any program of this machine may.
//!
//! Without keys the door listens on loopback only, and anybody there may look at accounts and change them; what leaves
//! with a grant or a token asks for a key or the control socket, which belongs to the user that serves the store.

use std::{fmt, hint::black_box, net::IpAddr};

use http::{HeaderMap, HeaderValue, header};

use crate::{
    config::settings::{AdminKey, OWN_HOSTS, Permission},
    http::{
        problem::{Code, Problem},
        socket::Peer,
    },
    proxy::guard::{host_name, shown_keys},
    secret::sha256,
};

/// By which way a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// The admin door's address.
    Door,
    /// The control socket.
    Control(Peer),
}

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing at all: probes call by any name, and are told nothing worth stealing.
    Nothing,
    /// To be called by an address or a name of this machine, or with a key: at a name that was made to resolve here, a page
    /// could read the answer.
    Address,
    /// Not to be a web page.
    NoPage,
    /// Something that must have been allowed.
    Permission(Permission),
    /// To be on this machine, as the user to whom the store belongs: the control socket alone.
    Control,
}

/// Who was let in, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visitor {
    /// Anybody on this machine.
    Anybody,
    /// The holder of a key.
    Key(String),
    /// Whoever may use the control socket.
    Control,
}

impl fmt::Display for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("a program of this machine"),
            Self::Key(name) => write!(f, "key {name}"),
            Self::Control => f.write_str("the control socket"),
        }
    }
}

/// The keys there are.
#[derive(Debug)]
pub struct Access {
    keys: Vec<AdminKey>,
    /// The user this process runs as.
    user: u32,
}

impl Access {
    /// Access by these keys.
    pub fn new(keys: Vec<AdminKey>) -> Self {
        Self { keys, user: rustix::process::geteuid().as_raw() }
    }

    /// Judges a request by its head.
    ///
    /// # Errors
    /// A problem that says what is missing.
    pub fn admit(&self, entrance: Entrance, needs: Needs, headers: &HeaderMap) -> Result<Visitor, Problem> {
        if let Entrance::Control(peer) = entrance {
            check_peer(peer, self.user)?;
            return refuse_pages(headers).map(|()| Visitor::Control);
        }
        if needs == Needs::Nothing {
            return Ok(Visitor::Anybody);
        }
        if needs == Needs::Address {
            return self.check_address(headers).map(|()| Visitor::Anybody);
        }
        refuse_pages(headers)?;
        if needs != Needs::NoPage {
            refuse_navigation(headers)?;
        }
        if self.keys.is_empty() {
            check_host(headers)?;
        }
        match needs {
            Needs::Permission(wanted) if self.keys.is_empty() => refuse_secrets(wanted),
            Needs::Permission(wanted) => self.check_key(wanted, headers),
            Needs::Control => Err(control_only()),
            Needs::Nothing | Needs::Address | Needs::NoPage => Ok(Visitor::Anybody),
        }
    }

    fn check_address(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let is_address = match headers.get(header::HOST) {
            // Browsers always send one.
            None => true,
            Some(host) => host
                .to_str()
                .ok()
                .and_then(host_name)
                .is_some_and(|host| is_own_host(host) || host.parse::<IpAddr>().is_ok()),
        };
        if is_address || self.known(headers).next().is_some() {
            return Ok(());
        }
        let action = "call by an IP address or localhost, or show an admin key";
        Err(Problem::new(
            Code::HostRefused,
            "the Host of this request may be anybody's name for this machine",
            action,
        ))
    }

    /// The keys a request shows.
    fn known(&self, headers: &HeaderMap) -> impl Iterator<Item = &AdminKey> {
        let digests: Vec<_> = shown_keys(headers).map(|key| sha256(&key)).collect();
        self.keys.iter().filter(move |key| is_among(&key.sha256, &digests))
    }

    fn check_key(&self, wanted: Permission, headers: &HeaderMap) -> Result<Visitor, Problem> {
        let known: Vec<_> = self.known(headers).collect();
        if let Some(key) = known.iter().find(|key| key.may(wanted)) {
            return Ok(Visitor::Key(key.name.clone()));
        }
        let wanted = wanted.as_str();
        Err(match known.first() {
            Some(key) => Problem::new(
                Code::NotAllowed,
                format!("admin key `{}` is not allowed {wanted}", key.name),
                format!("add \"{wanted}\" to `allow` in [admin.keys.{}], or use another key", key.name),
            ),
            None => Problem::new(
                Code::CallerUnknown,
                if shown_keys(headers).next().is_none() {
                    "no key"
                } else {
                    "the key is not one of [admin.keys]"
                },
                "send a key as `Authorization: Bearer KEY` or `Marketgate-Key: KEY`",
            ),
        })
    }
}

/// Looks at all of them, and at every byte: how long that takes says nothing about what was right.
fn is_among(key: &[u8; 32], shown: &[[u8; 32]]) -> bool {
    let differs = |one: &[u8; 32]| one.iter().zip(key).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    shown.iter().fold(false, |found, one| found | (differs(one) == 0))
}

/// The file's mode lets nobody else connect; this holds where a file system knows no modes.
fn check_peer(peer: Peer, own: u32) -> Result<(), Problem> {
    if matches!(peer, Peer::Process { user } if user == own || user == 0) {
        return Ok(());
    }
    let detail = format!("the control socket belongs to user {own}, and this is {peer}");
    let action = format!("run the command as user {own}, or use the admin door with --server URL");
    Err(Problem::new(Code::NotAllowed, detail, action))
}

fn control_only() -> Problem {
    let action = "run the `marketgate` command on the machine of the store, as the user to whom it belongs";
    Problem::new(Code::NotAllowed, "this is done through the control socket only", action)
}

fn refuse_secrets(wanted: Permission) -> Result<Visitor, Problem> {
    if wanted != Permission::AccountsExport {
        return Ok(Visitor::Anybody);
    }
    let detail =
        "without a key, grants and tokens do not leave by this door: any program of this machine could ask";
    let action = "use the control socket, as any `marketgate` command on this machine does, or configure an admin key \
        with accounts:export";
    Err(Problem::new(Code::NotAllowed, detail, action))
}

fn is_own_host(host: &str) -> bool {
    OWN_HOSTS.iter().any(|own| own.eq_ignore_ascii_case(host))
}

/// A name that resolves to this machine makes a page look like the door's own.
fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(host_name);
    if host.is_some_and(is_own_host) {
        return Ok(());
    }
    let action = "call by localhost, 127.0.0.1 or [::1], or configure an admin key";
    Err(Problem::new(Code::HostRefused, "the Host of this request is not the admin door's", action))
}

/// Either mark alone gives a page away, whatever it asks for.
fn refuse_pages(headers: &HeaderMap) -> Result<(), Problem> {
    let own = |site: &HeaderValue| matches!(site.as_bytes(), b"none" | b"same-origin");
    if !headers.contains_key(header::ORIGIN) && headers.get_all("sec-fetch-site").iter().all(own) {
        return Ok(());
    }
    let action = "open the admin door itself, or call it from a program";
    Err(Problem::new(Code::BrowserRefused, "a web page caused this request", action))
}

/// A page can have a browser navigate here unmarked: a redirect of a page that another program opened says
/// `Sec-Fetch-Site: none`.
fn refuse_navigation(headers: &HeaderMap) -> Result<(), Problem> {
    if !headers.get_all("sec-fetch-mode").iter().any(|mode| mode.as_bytes() == b"navigate") {
        return Ok(());
    }
    let action = "call it from a program, or use the `marketgate` command";
    Err(Problem::new(Code::BrowserRefused, "a browser was led here, perhaps by a web page", action))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, allow: &[Permission]) -> AdminKey {
        AdminKey { name: name.into(), sha256: sha256(&format!("{name}-key")), allow: allow.to_vec() }
    }

    fn refusal(access: &Access, entrance: Entrance, needs: Needs, headers: &[(&str, &str)]) -> &'static str {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        access.admit(entrance, needs, &map).map_or_else(|problem| problem.code.as_str(), |_| "")
    }

    #[test]
    fn without_keys_loopback_may_do_all_but_take_secrets_out() {
        let access = Access::new(Vec::new());
        for permission in Permission::ALL {
            let expected = if permission == Permission::AccountsExport { "not_allowed" } else { "" };
            let needs = Needs::Permission(permission);
            assert_eq!(refusal(&access, Entrance::Door, needs, &[("host", "localhost:1")]), expected);
            assert_eq!(refusal(&access, Entrance::Door, needs, &[("host", "evil.test")]), "host_refused");
        }
        assert_eq!(refusal(&access, Entrance::Door, Needs::Nothing, &[("origin", "null")]), "");
    }

    #[test]
    fn what_needs_no_key_is_told_at_addresses_but_at_no_strangers_name() {
        let access = Access::new(vec![key("scraper", &[Permission::AccountsRead])]);
        let at = |host: &str| refusal(&access, Entrance::Door, Needs::Address, &[("host", host)]);
        for host in ["localhost:8081", "127.0.0.1", "10.1.2.3:8081", "[fd00::1]:8081"] {
            assert_eq!(at(host), "", "{host}");
        }
        for host in ["evil.test", "10.1.2.3.evil.test", "marketgate:8081", "127.1", "", "a,b"] {
            assert_eq!(at(host), "host_refused", "{host}");
        }
        let shown = [("host", "marketgate:8081"), ("authorization", "Bearer scraper-key")];
        assert_eq!(refusal(&access, Entrance::Door, Needs::Address, &shown), "");
        assert_eq!(refusal(&access, Entrance::Door, Needs::Address, &[]), "");
    }

    #[test]
    fn a_browser_may_be_led_to_the_list_but_not_to_accounts() {
        let access = Access::new(Vec::new());
        let led = [("host", "localhost"), ("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")];
        for needs in [Needs::Nothing, Needs::Address, Needs::NoPage] {
            assert_eq!(refusal(&access, Entrance::Door, needs, &led), "", "{needs:?}");
        }
        let read = Needs::Permission(Permission::AccountsRead);
        assert_eq!(refusal(&access, Entrance::Door, read, &led), "browser_refused");
    }

    #[test]
    fn with_keys_each_holder_may_what_his_key_allows() {
        use Permission::{AccountsExport, AccountsRead, AccountsWrite, ConsentsWrite};
        let access = Access::new(vec![key("reader", &[AccountsRead]), key("writer", &[AccountsWrite])]);
        let judge = |name: &str, wanted| {
            let bearer = format!("Bearer {name}-key");
            refusal(&access, Entrance::Door, Needs::Permission(wanted), &[("authorization", &bearer)])
        };
        for (name, allowed) in
            [("reader", &[AccountsRead][..]), ("writer", &[AccountsRead, AccountsWrite, ConsentsWrite])]
        {
            for wanted in Permission::ALL {
                let expected = if allowed.contains(&wanted) { "" } else { "not_allowed" };
                assert_eq!(judge(name, wanted), expected, "{name} {wanted:?}");
            }
        }
        assert_eq!(judge("nobody", AccountsRead), "caller_unknown");
        let both = [("marketgate-key", "reader-key"), ("authorization", "Bearer writer-key")];
        assert_eq!(refusal(&access, Entrance::Door, Needs::Permission(AccountsWrite), &both), "");
        assert_eq!(refusal(&access, Entrance::Door, Needs::Permission(AccountsExport), &both), "not_allowed");
        assert_eq!(
            refusal(&access, Entrance::Door, Needs::Permission(AccountsRead), &[("host", "localhost")]),
            "caller_unknown"
        );
    }

    #[test]
    fn no_key_lets_a_web_page_in() {
        let access = Access::new(vec![key("all", &Permission::ALL)]);
        for mark in [("origin", "http://localhost:1"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
            let headers = [("authorization", "Bearer all-key"), mark];
            let needs = Needs::Permission(Permission::AccountsRead);
            assert_eq!(refusal(&access, Entrance::Door, needs, &headers), "browser_refused");
            assert_eq!(refusal(&access, Entrance::Door, Needs::NoPage, &[mark]), "browser_refused");
        }
    }

    #[test]
    fn the_control_socket_serves_its_own_user_and_root() {
        let access = Access { keys: vec![key("all", &Permission::ALL)], user: 7 };
        let needs = Needs::Permission(Permission::AccountsExport);
        let by = |user| refusal(&access, Entrance::Control(Peer::Process { user }), needs, &[]);
        assert_eq!((by(7), by(0), by(8)), ("", "", "not_allowed"));
        let stranger = Entrance::Control(Peer::Process { user: 8 });
        assert_eq!(refusal(&access, stranger, Needs::Nothing, &[]), "not_allowed");
    }
}
