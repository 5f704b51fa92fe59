//! `[proxy]`, `[[proxy.listener]]` and `[admin]`: where we can be talked to. The one rule: what is reachable from other
//! machines asks for a key.

use std::{net::SocketAddr, ops::Range};

use toml::{Spanned, de::DeValue};

use super::{
    DEFAULT_ADMIN,
    apps::Apps,
    grammar, keys,
    reader::{Misfit, Section, Text, nearest},
    schema,
    settings::{
        AdminSettings, App, Caller, FixedRoute, OWN_HOSTS, ProxyListener, ProxySettings, StoreSettings,
    },
};
use crate::names::{AccountName, AppName, NameError};

/// Addresses that are spoken for, those written in the file with their places.
type Addresses = Vec<(SocketAddr, Option<Range<usize>>)>;

/// The proxy door and the admin door.
pub(super) fn read(
    root: &Section<'_>,
    apps: &Apps,
    store: Option<&StoreSettings>,
    callers: &[Caller],
) -> (ProxySettings, AdminSettings) {
    let proxy = root.section("proxy", &schema::PROXY);
    let mut taken = Addresses::new();
    let mut listeners = open_listeners(&proxy, &mut taken);
    listeners.extend(fixed_listeners(&proxy, apps, store.is_some(), &mut taken));
    let keyless = root.names("callers").next().is_none();
    if keyless {
        for (address, span) in &taken {
            refuse_strangers(&proxy, *address, span.as_ref());
        }
    }
    let admin = admin(root, callers, &mut taken);
    let settings = ProxySettings {
        listeners,
        allowed_hosts: allowed_hosts(&proxy, keyless),
        allowed_origins: checked(&proxy, "allowed_origins", grammar::origin),
        access_log: proxy.flag("access_log").unwrap_or(false),
        drain_delay: proxy.parsed("drain_delay", grammar::drain_delay).unwrap_or_default(),
    };
    (settings, admin)
}

fn open_listeners(proxy: &Section<'_>, taken: &mut Addresses) -> Vec<ProxyListener> {
    if !proxy.has("listen") {
        let address = SocketAddr::from(([127, 0, 0, 1], 8080));
        taken.push((address, None));
        return vec![ProxyListener { address, fixed: None }];
    }
    let empty = |value: &Spanned<DeValue<'_>>| value.get_ref().as_array().is_some_and(|list| list.is_empty());
    if proxy.value("listen").is_some_and(empty) && !proxy.has("listener") {
        let hint = "remove the key for 127.0.0.1:8080, or write an address";
        proxy.mistake_at("listen", Misfit::mended_by("`listen` is an empty list", hint));
    }
    let address = |text: Text| Some(ProxyListener { address: claim(proxy, taken, &text)?, fixed: None });
    proxy.texts("listen").unwrap_or_default().into_iter().filter_map(address).collect()
}

/// Reads an address and notes when another listener has it already.
fn claim(section: &Section<'_>, taken: &mut Addresses, text: &Text) -> Option<SocketAddr> {
    let address = grammar::listen(&text.value).map_err(|misfit| section.mistake(&text.span, misfit)).ok()?;
    if let Some((other, _)) = taken.iter().find(|(other, _)| grammar::collide(*other, address)) {
        let message = format!("`{address}` collides with another listener on `{other}`");
        section.mistake(&text.span, Misfit::mended_by(message, "give each listener a port of its own"));
    }
    taken.push((address, Some(text.span.clone())));
    Some(address)
}

fn fixed_listeners(
    proxy: &Section<'_>,
    apps: &Apps,
    store: bool,
    taken: &mut Addresses,
) -> Vec<ProxyListener> {
    let mut listeners = Vec::new();
    for section in proxy.sections("listener", &schema::LISTENER) {
        let address = match section.text("listen") {
            Some(text) => claim(&section, taken, &text),
            None => required(&section, "listen", "listen = \"127.0.0.1:9001\""),
        };
        let fixed = fixed_route(&section, apps, store);
        if let (Some(address), Some(fixed)) = (address, fixed) {
            listeners.push(ProxyListener { address, fixed: Some(fixed) });
        }
    }
    listeners
}

fn required<T>(section: &Section<'_>, key: &str, example: &str) -> Option<T> {
    if !section.has(key) {
        section.absence(Misfit::mended_by(format!("`{key}` is missing"), format!("write {example}")));
    }
    None
}

fn fixed_route(section: &Section<'_>, apps: &Apps, store: bool) -> Option<FixedRoute> {
    let (name, account) = (section.text("app"), section.text("account"));
    let Some(name) = name else {
        return required(section, "app", "app = \"NAME\", one of the apps of this file");
    };
    let app = app_of(section, apps, &name)?;
    let Some(account) = account else { return Some(FixedRoute { app: app.name.clone(), account: None }) };
    let account = account_of(section, app, store, &account)?;
    Some(FixedRoute { app: app.name.clone(), account: Some(account) })
}

/// An account by its name: one of the file, or one that the store has or will have.
fn account_of(section: &Section<'_>, app: &App, store: bool, name: &Text) -> Option<AccountName> {
    if app.accounts.contains_key(name.value.as_str()) || (app.takes_accounts() && store) {
        let wrong = |error: NameError| section.mistake(&name.span, Misfit::new(error.to_string()));
        return name.value.parse().map_err(wrong).ok();
    }
    let known = app.accounts.keys().map(AccountName::as_str);
    let mut misfit = no_such(&format!("account of app `{}`:", app.name), &name.value, known);
    if app.takes_accounts() {
        let hint = misfit.hint.unwrap_or_default();
        misfit.hint =
            Some(format!("{hint}; for accounts that are added while marketgate runs, write [store]"));
    }
    section.mistake(&name.span, misfit);
    None
}

/// An app by its name. One that was refused for mistakes of its own is no mistake here.
fn app_of<'s>(section: &Section<'_>, apps: &'s Apps, name: &Text) -> Option<&'s App> {
    let app = apps.served.get(name.value.as_str());
    if app.is_none() && !apps.refused.contains(&name.value) {
        section.mistake(&name.span, no_such("app", &name.value, apps.served.keys().map(AppName::as_str)));
    }
    app.map(AsRef::as_ref)
}

fn no_such<'w>(what: &str, name: &str, known: impl Iterator<Item = &'w str>) -> Misfit {
    let known: Vec<&str> = known.collect();
    let message = match nearest(name, known.iter().copied()) {
        Some(guess) => format!("there is no {what} `{name}`, did you mean `{guess}`?"),
        None => format!("there is no {what} `{name}`"),
    };
    let hint = (!known.is_empty()).then(|| format!("there is: {}", known.join(", ")));
    Misfit { message, hint }
}

fn refuse_strangers(proxy: &Section<'_>, address: SocketAddr, span: Option<&Range<usize>>) {
    if let Some(span) = span.filter(|_| !grammar::is_loopback(address)) {
        let message = format!(
            "`{address}` is open to other machines, and no caller needs a key: marketgate refuses to start"
        );
        let hint = "`marketgate caller NAME` makes a key for [callers.NAME]; or listen on 127.0.0.1";
        proxy.mistake(span, Misfit::mended_by(message, hint));
    }
}

fn admin(root: &Section<'_>, callers: &[Caller], taken: &mut Addresses) -> AdminSettings {
    let admin = root.section("admin", &schema::ADMIN);
    let keys = keys::admin(&admin, callers);
    let Some(text) = admin.text("listen") else {
        if !admin.has("listen") {
            leave_room(root, taken);
        }
        return AdminSettings { address: DEFAULT_ADMIN, keys };
    };
    let address = claim(&admin, taken, &text).unwrap_or(DEFAULT_ADMIN);
    if !grammar::is_loopback(address) && admin.names("keys").next().is_none() {
        let message = format!(
            "`{address}` is open to other machines, and the admin door asks nobody for a key: marketgate refuses to start"
        );
        let hint = format!(
            "`marketgate caller NAME` makes a key for [admin.keys.NAME]; or listen on loopback: \"127.0.0.1:{}\"",
            address.port()
        );
        admin.mistake(&text.span, Misfit::mended_by(message, hint));
    }
    AdminSettings { address, keys }
}

/// Nothing may stand where the admin door is when the file does not say where that is.
fn leave_room(root: &Section<'_>, taken: &Addresses) {
    let Some((other, span)) = taken.iter().find(|(other, _)| grammar::collide(*other, DEFAULT_ADMIN)) else {
        return;
    };
    let message = format!("`{other}` is where the admin door listens unless the file says otherwise");
    let misfit =
        Misfit::mended_by(message, "write another port here, or [admin] listen = \"127.0.0.1:PORT\"");
    match span {
        Some(span) => root.mistake(span, misfit),
        None => root.absence(misfit),
    }
}

/// The names by which callers may address the proxy door. Without callers' keys, and as long as it speaks no TLS, none but
/// those of a loopback address: at all others browsers leave their marks out (Fetch Metadata, which they send to potentially
/// trustworthy origins only), and an image or a frame of any page could not be told from a program's request.
fn allowed_hosts(proxy: &Section<'_>, keyless: bool) -> Vec<String> {
    let texts = proxy.texts("allowed_hosts").unwrap_or_default();
    let hosts = checked(proxy, "allowed_hosts", grammar::host);
    let is_foreign = |host: &&String| !OWN_HOSTS.contains(&host.as_str());
    if keyless
        && hosts.len() == texts.len()
        && let Some((text, host)) = texts.iter().zip(&hosts).find(|(_, host)| is_foreign(host))
    {
        let message = format!(
            "`{host}` in `allowed_hosts` lets web pages in, as no caller needs a key: at a plain http:// name other than \
             localhost browsers do not mark what a page loads (no Fetch Metadata), so it looks like a program's request"
        );
        let hint = "`marketgate caller NAME` makes a key for [callers.NAME]; with one, callers may use this name. Or call by localhost";
        proxy.mistake(&text.span, Misfit::mended_by(message, hint));
    }
    hosts
}

fn checked(section: &Section<'_>, key: &str, check: fn(&str) -> Result<String, Misfit>) -> Vec<String> {
    let texts = section.texts(key).unwrap_or_default();
    let good = |text: Text| check(&text.value).map_err(|misfit| section.mistake(&text.span, misfit)).ok();
    texts.into_iter().filter_map(good).collect()
}
