//! `marketgate init`.

use std::{
    io::{BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{Exit, Failure, Place, streams};
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
    /// What to call the app, where there is one: callers write it in their URLs
    #[arg(long, value_name = "APP")]
    name: Option<AppName>,
    /// Print it and write no file
    #[arg(long, conflicts_with = "file")]
    stdout: bool,
    /// File to write [default: that of --config, else proxy.toml]
    file: Option<PathBuf>,
}

/// Writes a commented configuration; an existing file is never touched.
///
/// # Errors
/// An unknown provider, or a file that is there already.
pub fn run(place: &Place, arguments: &InitArguments) -> Result<(), Failure> {
    let file = target(place, arguments)?;
    if !arguments.stdout && file.exists() {
        return Err(already_there(&file));
    }
    let mut choices = match arguments.provider.as_slice() {
        [] => ask(arguments)?,
        named => named.iter().map(|text| choice(text, arguments.grant)).collect::<Result<Vec<_>, _>>()?,
    };
    if let Some(name) = &arguments.name {
        let [only] = choices.as_mut_slice() else {
            return Err(Failure::new(Exit::Usage, "--name is for one marketplace, and there are several")
                .mend("run it once for each, or change the names in the file"));
        };
        only.app_name = name.clone();
    }
    refuse_repetition(&choices)?;
    let text = config::starter(&choices);
    if arguments.stdout {
        streams::data(text.trim_end());
        return Ok(());
    }
    write(&file, &text)?;
    streams::talk(next_steps(&file.display().to_string(), &text, &choices));
    Ok(())
}

fn target(place: &Place, arguments: &InitArguments) -> Result<PathBuf, Failure> {
    match (&arguments.file, &place.config) {
        (Some(file), Some(config)) if file != config => {
            let message = format!("two files are named: {} and {}", file.display(), config.display());
            Err(Failure::new(Exit::Usage, message).mend("name one of them"))
        }
        (Some(file), _) | (None, Some(file)) => Ok(file.clone()),
        (None, None) => Ok(PathBuf::from("proxy.toml")),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => already_there(path),
        _ => Failure::new(Exit::Failure, format!("{}: {e}", path.display()))
            .mend("name a file in a directory that you may write to, or print it with --stdout"),
    })?;
    file.write_all(text.as_bytes())
        .map_err(|e| Failure::new(Exit::Failure, format!("{}: {e}", path.display())))
}

fn next_steps(file: &str, text: &str, choices: &[ProviderChoice]) -> String {
    let mut steps = format!("wrote {file}; next:\n");
    for variable in variables(text) {
        steps.push_str(&format!("  export {variable}=…\n"));
    }
    steps.push_str(&format!("  marketgate check --config {file}\n"));
    for choice in choices.iter().filter(|choice| choice.grant() == GrantKind::AuthorizationCode) {
        steps.push_str(&format!("  marketgate login {} --config {file}\n", choice.app_name));
    }
    steps + &format!("  marketgate run --config {file}")
}

/// The variables that a configuration names, in its order.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split("env = \"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0))
}

fn grant(text: &str) -> Result<GrantKind, String> {
    let all = [GrantKind::ClientCredentials, GrantKind::AuthorizationCode, GrantKind::Static];
    let known = || all.map(GrantKind::as_str).join(", ");
    all.into_iter().find(|grant| grant.as_str() == text).ok_or_else(|| format!("known are: {}", known()))
}

fn already_there(file: &Path) -> Failure {
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
        Err(Failure::new(Exit::Usage, format!("two apps would be called `{}`", choice.app_name))
            .mend("name each marketplace once; copy its section in the file and give the copy another name"))
    })
}

/// Asks a person: which marketplaces, and of each what it leaves open.
fn ask(arguments: &InitArguments) -> Result<Vec<ProviderChoice>, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "no provider was named")
            .mend("marketgate init --provider walmart-marketplace"));
    }
    let presets: Vec<(&str, &str)> = Preset::names()
        .map(|name| (name, Preset::named(name).map_or("", |preset| preset.title.as_str())))
        .collect();
    streams::talk("Which marketplaces? Numbers or names, separated by spaces.");
    let line = answer(&presets)?;
    let words: Vec<&str> = line.split_whitespace().map(|word| by_number(word, &presets)).collect();
    if words.is_empty() {
        return Err(
            Failure::new(Exit::Usage, "no provider was named").mend("answer with a number, such as 1")
        );
    }
    words.into_iter().map(|word| ask_about(word, arguments)).collect()
}

/// The environment, the grant and the name, as far as there is a choice. An empty answer takes what stands first.
fn ask_about(provider: &str, arguments: &InitArguments) -> Result<ProviderChoice, Failure> {
    let grant = arguments.grant;
    let mut chosen = choice(provider, grant)?;
    let Some(preset) = Preset::named(&chosen.provider) else { return Ok(chosen) };
    let environments = std::iter::once(chosen.environment.as_str())
        .chain(preset.environments.keys().map(String::as_str).filter(|name| *name != chosen.environment));
    let mut environments: Vec<(&str, &str)> = environments.map(|name| (name, "")).collect();
    environments.push((SIMULATOR, "the simulated marketplaces of `marketgate sim`"));
    if !provider.contains(':') && !preset.environments.is_empty() {
        streams::talk(format_args!("{}: which environment? [{}]", preset.title, environments[0].0));
        let word = answer(&environments)?;
        let word = by_number(word.trim(), &environments).to_owned();
        if !word.is_empty() {
            chosen = choice(&format!("{}:{word}", chosen.provider), grant)?;
        }
    }
    let usual = chosen.grant();
    let grants = std::iter::once(usual).chain(preset.grants.iter().copied().filter(|other| *other != usual));
    let grants: Vec<(&str, &str)> = grants.map(|grant| (grant.as_str(), of_grant(grant))).collect();
    if grant.is_none() && grants.len() > 1 {
        streams::talk(format_args!("{}: how are tokens got? [{}]", preset.title, grants[0].0));
        let word = answer(&grants)?;
        let word = by_number(word.trim(), &grants);
        if !word.is_empty() {
            let wanted = self::grant(word)
                .map_err(|why| Failure::new(Exit::Usage, format!("no grant `{word}`")).mend(why))?;
            chosen.grant = Some(wanted);
        }
    }
    if arguments.name.is_some() {
        return Ok(chosen);
    }
    streams::talk(format_args!("What shall programs call it in their URLs? [{}]", chosen.app_name));
    let name = answer(&[])?;
    if !name.trim().is_empty() {
        let wrong = |e: crate::names::NameError| Failure::new(Exit::Usage, format!("`{}`: {e}", name.trim()));
        chosen.app_name = name.trim().parse().map_err(wrong)?;
    }
    Ok(chosen)
}

fn of_grant(grant: GrantKind) -> &'static str {
    match grant {
        GrantKind::ClientCredentials => "with a client id and a secret",
        GrantKind::AuthorizationCode => "sellers give their consent in a browser",
        GrantKind::Static => "with a key that does not change",
    }
}

/// Shows what there is to choose from, and reads a line.
fn answer(choices: &[(&str, &str)]) -> Result<String, Failure> {
    for (number, (name, words)) in choices.iter().enumerate() {
        streams::talk(format!("  {}  {name:<22} {words}", number + 1).trim_end());
    }
    streams::ask("> ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|e| Failure::new(Exit::Failure, e))?;
    Ok(line)
}

/// A choice by its number, or the word itself.
fn by_number<'a>(word: &'a str, choices: &[(&'a str, &str)]) -> &'a str {
    let number = word.parse::<usize>().ok().and_then(|number| choices.get(number.checked_sub(1)?));
    number.map_or(word, |(name, _)| name)
}
