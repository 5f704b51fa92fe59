//! `[upstream]`, `[limits]`, `[metrics]` and `[log]`. The one rule: an absent key has the default that stands in
//! [`super::settings`].

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use toml::de::DeValue;

use super::{
    grammar,
    reader::{Misfit, Section, Text},
    schema,
    settings::{
        ForwardProxy, Limits, LogFormat, LogSettings, MetricsSettings, Timeouts, UpstreamLimits,
        UpstreamSettings,
    },
    transport,
};
use crate::{provider::Exception, tls};

/// hyper's HTTP/1 reader does not work with a smaller buffer.
const SMALLEST_HEAD: u64 = 8 << 10;

/// Beyond a mebibyte a request head is an attack, not a request.
const LARGEST_HEAD: u64 = 1 << 20;

/// What a body that is kept for a repeat may cost, for each request under way.
const LARGEST_REPLAY: u64 = 64 << 20;

/// `[upstream]`.
pub(super) fn upstream(root: &Section<'_>) -> UpstreamSettings {
    let section = root.section("upstream", &schema::UPSTREAM);
    UpstreamSettings {
        ca_file: ca_file(&section),
        proxy_url: forward_proxy(&section),
        timeouts: timeouts(&section),
        limits: upstream_limits(&section),
    }
}

fn ca_file(section: &Section<'_>) -> Option<PathBuf> {
    let text = section.text("ca_file")?;
    let path = section.reading.path(&text.value);
    let complaint = transport::regular_file(&path).err();
    let complaint = complaint.or_else(|| Some(tls::client_config(Some(&path)).err()?.to_string()));
    if let Some(complaint) = complaint {
        let hint = "write the path of a PEM file, absolute or relative to this file's directory";
        section.mistake(&text.span, Misfit::mended_by(complaint, hint));
        return None;
    }
    Some(path)
}

fn forward_proxy(section: &Section<'_>) -> Option<ForwardProxy> {
    let except = no_proxy(section);
    if except.is_some() && !section.has("proxy_url") {
        let hint = "write proxy_url = \"http://HOST:PORT\" beside it, or remove it";
        section
            .mistake_at("no_proxy", Misfit::mended_by("`no_proxy` has no effect without `proxy_url`", hint));
    }
    Some(ForwardProxy { except: except.unwrap_or_default(), ..proxy_url(section)? })
}

fn no_proxy(section: &Section<'_>) -> Option<Vec<Exception>> {
    let read = |text: Text| {
        let exception = grammar::proxy_exception(&text.value);
        exception.map_err(|misfit| section.mistake(&text.span, misfit)).ok()
    };
    Some(section.texts("no_proxy")?.into_iter().filter_map(read).collect())
}

/// `proxy_url`, of all or of one app.
pub(super) fn proxy_url(section: &Section<'_>) -> Option<ForwardProxy> {
    let text = section.text("proxy_url")?;
    let proxy =
        grammar::forward_proxy(&text.value).map_err(|misfit| section.mistake(&text.span, misfit)).ok()?;
    let literal = section.value("proxy_url").is_some_and(|value| value.get_ref().is_str());
    if literal && proxy.authorization.is_some() {
        let message = "`proxy_url` holds a password that stands in the file for everyone who reads it";
        section.warning(&text.span, Misfit::mended_by(message, "write proxy_url = { env = \"NAME\" }"));
    }
    Some(proxy)
}

fn timeouts(upstream: &Section<'_>) -> Timeouts {
    let section = upstream.section("timeouts", &schema::TIMEOUTS);
    let default = Timeouts::default();
    let limit = |key: &str, default: Duration| section.parsed(key, grammar::time_limit).unwrap_or(default);
    Timeouts {
        connect: limit("connect", default.connect),
        head: limit("head", default.head),
        stall: limit("stall", default.stall),
        token_wait: limit("token_wait", default.token_wait),
        idle: limit("idle", default.idle),
    }
}

fn upstream_limits(upstream: &Section<'_>) -> UpstreamLimits {
    let section = upstream.section("limits", &schema::UPSTREAM_LIMITS);
    let default = UpstreamLimits::default();
    UpstreamLimits {
        connections: count(&section, "connections", 1..=100_000, default.connections),
        queue: count(&section, "queue", 0..=1_000_000, default.queue),
        replay_body: bytes(&section, "replay_body", 0..=LARGEST_REPLAY).map_or(default.replay_body, narrowed),
    }
}

/// `[limits]`.
pub(super) fn limits(root: &Section<'_>) -> Limits {
    let section = root.section("limits", &schema::LIMITS);
    let default = Limits::default();
    Limits {
        head: bytes(&section, "head", SMALLEST_HEAD..=LARGEST_HEAD).map_or(default.head, narrowed),
        headers: count(&section, "headers", 1..=1000, default.headers),
        body: body(&section),
        connections: count(&section, "connections", 1..=1_000_000, default.connections),
    }
}

fn body(section: &Section<'_>) -> Option<u64> {
    let unlimited = section.value("body").is_some_and(|value| value.get_ref().as_str() == Some("none"));
    if unlimited { None } else { bytes(section, "body", 0..=u64::MAX) }
}

fn count(section: &Section<'_>, key: &str, bounds: RangeInclusive<u64>, default: usize) -> usize {
    section.count(key, bounds).map_or(default, narrowed)
}

/// Bounds above keep every number far below the smallest `usize`.
fn narrowed(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A size in bytes: `"64KiB"` or a plain number.
fn bytes(section: &Section<'_>, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
    if matches!(section.value(key)?.get_ref(), DeValue::Integer(_)) {
        return section.count(key, bounds);
    }
    section.parsed(key, |text| {
        let size = grammar::size(text)?;
        let message = || format!("`{key}` must be between {} and {} bytes", bounds.start(), bounds.end());
        if bounds.contains(&size) { Ok(size) } else { Err(Misfit::new(message())) }
    })
}

/// `[metrics]`.
pub(super) fn metrics(root: &Section<'_>) -> MetricsSettings {
    let section = root.section("metrics", &schema::METRICS);
    MetricsSettings { per_account: section.flag("per_account").unwrap_or(false) }
}

/// `[log]`.
pub(super) fn log(root: &Section<'_>) -> LogSettings {
    let section = root.section("log", &schema::LOG);
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    LogSettings {
        level: section.parsed("level", grammar::log_filter).unwrap_or_else(|| "info".to_owned()),
        format: section.choice("format", &formats).unwrap_or(LogFormat::Auto),
    }
}
