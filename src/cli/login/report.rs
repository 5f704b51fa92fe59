//! What a person is told of a seller who is connected. The one rule: it ends with a line that can be used.

use crate::{
    accounts::consent::{Connected, Proof},
    cli::{
        Output, Place,
        run::{origin, sample_path},
        streams,
    },
    names::{AccountName, AccountRef},
};

pub(super) fn print(place: &Place, connected: &Connected, is_here: bool) {
    if place.output == Output::Json {
        // Strings and numbers always serialise.
        streams::data(serde_json::to_string_pretty(connected).unwrap_or_default());
        return;
    }
    streams::data(text(connected));
    if let Some(line) = is_here.then(|| usage(place, &connected.account)).flatten() {
        streams::data(format_args!("\nuse it:  {line}"));
    }
}

fn text(connected: &Connected) -> String {
    let mut lines = vec![match &connected.identity {
        Some(identity) => format!("{} is connected, to {identity}", connected.account),
        None => format!(
            "{} is connected; nothing says to whom, so a login as another seller would not be noticed",
            connected.account
        ),
    }];
    lines.extend(connected.proof.as_ref().map(proof));
    lines.push(format!("access token: until {}, and refreshed from now on", connected.token_expires_at));
    lines.extend(connected.login_required_by.as_ref().map(|by| format!("must log in again by: {by}")));
    lines.join("\n")
}

fn proof(proof: &Proof) -> String {
    match (proof.accepted, proof.status) {
        (true, Some(status)) => format!("first API call: {} answered {status}", proof.path),
        (false, Some(status)) => {
            format!(
                "first API call: {} answered {status}: the marketplace does not accept the token",
                proof.path
            )
        }
        (_, None) => format!("first API call: {} was not answered", proof.path),
    }
}

/// A request that now works, as far as this configuration says where.
fn usage(place: &Place, account: &str) -> Option<String> {
    let settings = place.outline().ok()?;
    let name: AccountRef = account.parse().ok()?;
    let app = settings.apps.get(&name.app)?;
    let listener = settings.proxy.listeners.iter().find(|listener| listener.fixed.is_none())?;
    let route =
        if name.account == Some(AccountName::implicit()) { name.app.to_string() } else { account.to_owned() };
    Some(format!("curl -i '{}/{route}{}'", origin(listener), sample_path(&app.profile.provider)))
}
