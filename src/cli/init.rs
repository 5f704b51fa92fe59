//! `marketgate init`.

use std::{
    io::{BufRead, IsTerminal, Write},
    path::PathBuf,
};

use clap::Args;

use super::{Exit, Failure, streams};
use crate::{
    config::{self, ProviderChoice},
    names::AppName,
    provider::{GrantKind, Preset, preset::SIMULATOR},
};

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// A marketplace to configure, as PROVIDER or PROVIDER:ENVIRONMENT; may be repeated. Asked for when left out
    #[arg(long, value_name = "PROVIDER[:ENVIRONMENT]")]
    provider: Vec<String>,
    /// How tokens are got, where a marketplace offers several ways: authorization_code asks sellers for their consent
    #[arg(long, value_name = "GRANT", value_parser = grant)]
    grant: Option<GrantKind>,
    /// File to write
    #[arg(default_value = "proxy.toml")]
    file: PathBuf,
}

/// Writes a commented configuration; an existing file is never touched.
///
/// # Errors
/// An unknown provider, or a file that is there already.
pub fn run(arguments: &InitArguments) -> Result<(), Failure> {
    if arguments.file.exists() {
        return Err(already_there(&arguments.file));
    }
    let wanted = if arguments.provider.is_empty() { ask()? } else { arguments.provider.clone() };
    let choices = wanted.iter().map(|text| choice(text, arguments.grant)).collect::<Result<Vec<_>, _>>()?;
    refuse_repetition(&choices)?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&arguments.file);
    let mut file = file.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => already_there(&arguments.file),
        _ => Failure::new(Exit::Failure, format!("{}: {e}", arguments.file.display())),
    })?;
    file.write_all(config::starter(&choices).as_bytes()).map_err(|e| Failure::new(Exit::Failure, e))?;
    streams::talk(next_steps(&arguments.file.display().to_string(), &choices));
    Ok(())
}

fn next_steps(file: &str, choices: &[ProviderChoice]) -> String {
    let mut steps =
        format!("wrote {file}; set the variables it names, then:\n  marketgate check --config {file}\n");
    for choice in choices.iter().filter(|choice| choice.grant() == GrantKind::AuthorizationCode) {
        steps.push_str(&format!("  marketgate login {} --config {file}\n", choice.app_name));
    }
    steps + &format!("  marketgate run --config {file}")
}

fn grant(text: &str) -> Result<GrantKind, String> {
    let all = [GrantKind::ClientCredentials, GrantKind::AuthorizationCode, GrantKind::Static];
    let known = || all.map(GrantKind::as_str).join(", ");
    all.into_iter().find(|grant| grant.as_str() == text).ok_or_else(|| format!("known are: {}", known()))
}

fn already_there(file: &std::path::Path) -> Failure {
    Failure::new(Exit::Failure, format!("{} is there already and stays as it is", file.display()))
        .mend("name another file: marketgate init --provider depop other.toml")
}

fn choice(text: &str, grant: Option<GrantKind>) -> Result<ProviderChoice, Failure> {
    let (provider, environment) = text.split_once(':').unwrap_or((text, ""));
    let preset = Preset::named(provider).ok_or_else(|| {
        let known = Preset::names().collect::<Vec<_>>().join(", ");
        Failure::new(Exit::Usage, format!("there is no provider `{provider}`"))
            .mend(format!("known are: {known}"))
    })?;
    if let Some(grant) = grant.filter(|grant| !preset.grants.contains(grant)) {
        let offered = preset.grants.iter().map(|grant| grant.as_str()).collect::<Vec<_>>().join(", ");
        let why = format!("{} does not offer grant `{}`", preset.title, grant.as_str());
        return Err(Failure::new(Exit::Usage, why).mend(format!("it offers: {offered}")));
    }
    let environments: Vec<&str> = preset.environments.keys().map(String::as_str).chain([SIMULATOR]).collect();
    let usual = preset.environments.keys().find(|name| *name == "production").map_or("", String::as_str);
    let environment = if environment.is_empty() { usual } else { environment };
    // The generic provider has no environments: its URLs are written out.
    if !environment.is_empty() && !environments.contains(&environment) {
        let failure =
            Failure::new(Exit::Usage, format!("{} has no environment `{environment}`", preset.title));
        return Err(failure.mend(format!("write one of: {}", environments.join(", "))));
    }
    Ok(ProviderChoice {
        provider: provider.to_owned(),
        environment: environment.to_owned(),
        grant,
        app_name: app_name(provider)?,
    })
}

/// What the app is called in local URLs: short, and the marketplace's own word.
fn app_name(provider: &str) -> Result<AppName, Failure> {
    let name = match provider {
        "walmart-marketplace" => "walmart",
        "walmart-supplier" => "supplier",
        "walmart-golocal" => "golocal",
        "generic" => "my-api",
        other => other,
    };
    name.parse().map_err(|e| Failure::new(Exit::Failure, e))
}

fn refuse_repetition(choices: &[ProviderChoice]) -> Result<(), Failure> {
    let repeated =
        choices.iter().enumerate().find(|(at, c)| choices[..*at].iter().any(|d| d.app_name == c.app_name));
    repeated.map_or(Ok(()), |(_, choice)| {
        Err(Failure::new(Exit::Usage, format!("`{}` is named twice", choice.provider))
            .mend("name it once; copy its section in the file and give the copy another name"))
    })
}

fn ask() -> Result<Vec<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "no provider was named")
            .mend("marketgate init --provider walmart-marketplace"));
    }
    streams::talk("Which marketplaces? Numbers or names, separated by spaces.");
    for (number, name) in Preset::names().enumerate() {
        let title = Preset::named(name).map_or("", |preset| &preset.title);
        streams::talk(format_args!("  {}  {name:<22} {title}", number + 1));
    }
    streams::ask("> ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|e| Failure::new(Exit::Failure, e))?;
    let by_number =
        |word: &str| word.parse::<usize>().ok().and_then(|n| Preset::names().nth(n.checked_sub(1)?));
    let words: Vec<String> =
        line.split_whitespace().map(|word| by_number(word).unwrap_or(word).to_owned()).collect();
    if words.is_empty() {
        return Err(
            Failure::new(Exit::Usage, "no provider was named").mend("answer with a number, such as 1")
        );
    }
    Ok(words)
}
