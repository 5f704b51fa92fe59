//! Takes in one account's grant from stdin. The one rule: what is missing is asked for where a person sits, and told where
//! none does.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{ImportArguments, Outcome, Sender};
use crate::{
    accounts::import::{CREDENTIALS, Imported},
    cli::{
        Exit, Failure, Output, Place,
        admin_client::AdminClient,
        keyboard::{self, Hidden, Lines},
        streams,
    },
    names::AccountName,
    provider::GrantKind,
};

pub(super) async fn import(
    place: &Place,
    client: &AdminClient,
    arguments: &ImportArguments,
    account: &AccountName,
) -> Result<(), Failure> {
    let app = &arguments.account.app;
    let kind = kind(place, arguments);
    let secret = if keyboard::is_a_person() { ask(kind).await? } else { read().await };
    let mut members = members(kind, &secret)?;
    members.insert("account".to_owned(), account.as_str().into());
    let written = [
        ("consented_at", &arguments.consented_at),
        ("refresh_token_expires_at", &arguments.refresh_token_expires_at),
        ("identity", &arguments.identity),
    ];
    let written = written.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let settings = arguments.set.iter().map(|(name, value)| (name.as_str(), value));
    members.extend(written.chain(settings).map(|(name, value)| (name.to_owned(), value.as_str().into())));
    let line = Value::Object(members).to_string() + "\n";
    let outcomes = Sender::new(client, app, arguments).send(line.into_bytes()).await?;
    let silence = || Failure::new(Exit::Failure, "the answer tells nothing of the account");
    let told = outcomes.first().ok_or_else(silence)?;
    tell(place, arguments, account, told.sorted()?);
    told.failed().map_or(Ok(()), |refusal| Err(refusal.into()))
}

fn tell(place: &Place, arguments: &ImportArguments, account: &AccountName, outcome: Imported) {
    let app = &arguments.account.app;
    if place.output == Output::Json {
        let account = Some(account.to_string());
        let told = Outcome { line: 1, account, outcome: Some(outcome), ..Outcome::default() };
        // Strings and numbers always serialise.
        return streams::data(serde_json::to_string(&told).unwrap_or_default());
    }
    let done = match outcome {
        Imported::Created => "created",
        Imported::Replaced => "replaced: it had another grant",
        Imported::Unchanged => "unchanged: it had this grant already, or a successor of it",
    };
    let would_be = if arguments.dry_run { "would be " } else { "" };
    streams::data(format_args!("{app}@{account} {would_be}{done}"));
}

/// What a secret of this app consists of, as far as this machine's configuration says so.
fn kind(place: &Place, arguments: &ImportArguments) -> Option<GrantKind> {
    let settings = place.outline().ok()?;
    settings.apps.get(&arguments.account.app).map(|app| app.profile.grant)
}

async fn read() -> Vec<Zeroizing<String>> {
    let mut lines = Lines::begin().rest().await;
    lines.retain(|line| !line.trim().is_empty());
    lines
}

/// Asks for each part, the secret ones without showing them.
async fn ask(kind: Option<GrantKind>) -> Result<Vec<Zeroizing<String>>, Failure> {
    let questions: &[(&str, bool)] = match kind {
        Some(GrantKind::AuthorizationCode) => &[("refresh token", true)],
        Some(GrantKind::ClientCredentials) => &[("client id", false), ("client secret", true)],
        Some(GrantKind::Static) => &[("API key", true)],
        None => &[("JSON object", true)],
    };
    let mut lines = Lines::begin();
    let mut answers = Vec::new();
    for (question, is_secret) in questions {
        let _hidden = is_secret.then(Hidden::begin);
        streams::ask(format_args!("{question}: "));
        answers.push(lines.next().await.ok_or_else(|| nothing(kind))?);
    }
    Ok(answers)
}

/// The members of the grant: a JSON object, or the bare secret in as many lines as its kind has.
fn members(kind: Option<GrantKind>, lines: &[Zeroizing<String>]) -> Result<Map<String, Value>, Failure> {
    if lines.first().is_some_and(|line| line.trim_start().starts_with('{')) {
        let text = Zeroizing::new(lines.iter().map(|line| line.as_str()).collect::<Vec<_>>().join("\n"));
        // The parser's message would not show the text, but where it breaks says little as well.
        let members = serde_json::from_str(&text)
            .map_err(|_| Failure::new(Exit::Usage, "stdin holds no JSON object").mend(wanted(kind)))?;
        return misspelt(&members).map_or(Ok(members), Err);
    }
    if let [line, ..] = lines
        && line.trim_start().starts_with('[')
    {
        return Err(Failure::new(Exit::Usage, "stdin holds a list, not one grant")
            .mend("`marketgate import APP --file -` takes many, one JSON object a line"));
    }
    let names: &[&str] = match kind {
        Some(GrantKind::AuthorizationCode) => &["refresh_token"],
        Some(GrantKind::ClientCredentials) => &["client_id", "client_secret"],
        Some(GrantKind::Static) => &["api_key"],
        None => &[],
    };
    if lines.is_empty() {
        return Err(nothing(kind));
    }
    if names.len() != lines.len() {
        let found = format!("stdin holds {} lines", lines.len());
        return Err(Failure::new(Exit::Usage, found).mend(wanted(kind)));
    }
    let pair = |(name, line): (&&str, &Zeroizing<String>)| ((*name).to_owned(), Value::from(line.trim()));
    Ok(names.iter().zip(lines).map(pair).collect())
}

/// A credential whose name is nearly one that is known. Settings may have any name.
fn misspelt(members: &Map<String, Value>) -> Option<Failure> {
    if CREDENTIALS.iter().any(|known| members.contains_key(*known)) {
        return None;
    }
    let near = |name: &String| CREDENTIALS.into_iter().find(|known| strsim::jaro_winkler(known, name) > 0.9);
    let (name, meant) = members.keys().find_map(|name| Some((name, near(name)?)))?;
    let message = format!("stdin has a member `{name}`, which is none that is known");
    Some(Failure::new(Exit::Usage, message).mend(format!("did you mean `{meant}`?")))
}

fn nothing(kind: Option<GrantKind>) -> Failure {
    Failure::new(Exit::Usage, "stdin is empty").mend(wanted(kind))
}

fn wanted(kind: Option<GrantKind>) -> &'static str {
    match kind {
        Some(GrantKind::AuthorizationCode) => {
            "give it one line, the refresh token: marketgate import APP@ACCOUNT < token.txt"
        }
        Some(GrantKind::ClientCredentials) => "give it two lines, client id and client secret",
        Some(GrantKind::Static) => "give it one line, the API key",
        None => {
            "this configuration does not know the app: give it a JSON object, such as {\"refresh_token\": \"…\"}"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Option<GrantKind>, lines: &[&str]) -> Option<Value> {
        let lines: Vec<_> = lines.iter().map(|line| Zeroizing::new((*line).to_owned())).collect();
        members(kind, &lines).ok().map(Value::Object)
    }

    #[test]
    fn a_secret_is_as_many_lines_as_its_kind_has_or_a_json_object() {
        use serde_json::json;
        let (code, client, key) =
            (Some(GrantKind::AuthorizationCode), Some(GrantKind::ClientCredentials), Some(GrantKind::Static));
        assert_eq!(read(code, &[" rt-1 "]), Some(json!({ "refresh_token": "rt-1" })));
        assert_eq!(
            read(client, &["id", "secret"]),
            Some(json!({ "client_id": "id", "client_secret": "secret" }))
        );
        assert_eq!(read(key, &["pak_1"]), Some(json!({ "api_key": "pak_1" })));
        assert_eq!(read(None, &["{\"api_key\":", " \"k\"}"]), Some(json!({ "api_key": "k" })));
        assert_eq!(read(None, &["{\"refresh_tok\": \"rt\"}"]), None);
        assert_eq!(read(None, &["{\"refreshToken\": \"rt\"}"]), None);
        assert!(read(code, &["{\"refresh_token\": \"rt\", \"market\": \"us\"}"]).is_some());
        for (kind, lines) in
            [(code, &[][..]), (code, &["a", "b"]), (client, &["a"]), (None, &["a"]), (key, &["{\"a\"", "b"])]
        {
            assert_eq!(read(kind, lines), None, "{kind:?} {lines:?}");
        }
    }
}
