//! `[store]`: what survives the process, and where. The one rule: there is a store when one is asked for or an app cannot do
//! without, and every path of it is absolute.

use std::{path::PathBuf, time::Duration};

use super::{
    grammar,
    reader::{Misfit, Section},
    schema,
    secrets::Found,
    settings::{App, StoreKey, StoreSettings},
};
use crate::secret::SecretSource;

/// How long to wait for another process to let go of the store, unless the file says otherwise.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(60);

/// The store. `apps` are those that can be used.
pub(super) fn read<'a>(root: &Section<'_>, mut apps: impl Iterator<Item = &'a App>) -> Option<StoreSettings> {
    let section = root.section("store", &schema::STORE);
    let needed = apps.any(|app| app.takes_accounts() && app.accounts.is_empty());
    if !root.has("store") && !needed {
        return None;
    }
    let path = path(&section)
        .unwrap_or_else(|| state_directory(&|name| section.reading.surroundings(name)).join("marketgate.db"));
    let key = key(&section).unwrap_or_else(|| StoreKey::File(path.with_file_name("marketgate.key")));
    if let (StoreKey::File(file), Some(span)) = (&key, section.place("key"))
        && *file == path
    {
        let hint = "write another file: the key is made beside the database";
        section.mistake(&span, Misfit::mended_by("`key` names the database itself", hint));
    }
    Some(StoreSettings {
        path,
        key,
        old_keys: old_keys(&section),
        wait_for_lock: section.parsed("wait_for_lock", grammar::patience).unwrap_or(WAIT_FOR_LOCK),
    })
}

fn path(section: &Section<'_>) -> Option<PathBuf> {
    let text = section.text("path")?;
    let path = absolute(section.reading.path(&text.value));
    if text.value.is_empty() || text.value.ends_with('/') || path.is_dir() {
        let hint = format!("write a file, such as \"{}\"", path.join("marketgate.db").display());
        section.mistake(&text.span, Misfit::mended_by("`path` is a directory", hint));
        return None;
    }
    Some(path)
}

/// A name that SQLite would read as something else, such as `:memory:`, is a plain file below a directory.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn key(section: &Section<'_>) -> Option<StoreKey> {
    let found = section.secret_to_be("key")?;
    check(section, "key", &found)?;
    match found.source {
        SecretSource::Fixed(secret) => Some(StoreKey::Fixed(secret)),
        SecretSource::File(path) if path.is_dir() => {
            let message = format!("`key` names {}, which is a directory", path.display());
            section.mistake(&found.span, Misfit::mended_by(message, "write the path of a file"));
            None
        }
        SecretSource::File(path) => Some(StoreKey::File(absolute(path))),
    }
}

fn old_keys(section: &Section<'_>) -> Vec<SecretSource> {
    let found = section.secrets_if_any("old_keys").unwrap_or_default();
    let good = |found: Found| check(section, "old_keys", &found).map(|()| found.source);
    found.into_iter().filter_map(good).collect()
}

/// Whether it is a key, as far as it can be read now: a file may still have to be made, or be for other eyes only.
fn check(section: &Section<'_>, name: &str, found: &Found) -> Option<()> {
    let Ok(secret) = found.source.read() else { return Some(()) };
    let misfit = |misfit| section.mistake(&found.span, misfit);
    grammar::store_key(name, secret.expose()).map_err(misfit).ok()
}

/// Where this machine keeps what programs leave behind: systemd's `StateDirectory=`, else the user's (XDG Base Directory
/// Specification, which ignores relative paths), else the machine's.
fn state_directory(env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let directory = |text: &str| Some(PathBuf::from(text)).filter(|path| path.is_absolute());
    // systemd.exec(5): several directories are joined by colons.
    let systemd = env("STATE_DIRECTORY").and_then(|all| directory(all.split(':').next()?));
    let xdg = || Some(directory(&env("XDG_STATE_HOME")?)?.join("marketgate"));
    let home = || Some(directory(&env("HOME")?)?.join(".local/state/marketgate"));
    systemd.or_else(xdg).or_else(home).unwrap_or_else(|| PathBuf::from("/var/lib/marketgate"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn found(env: &[(&str, &str)]) -> PathBuf {
        state_directory(&|name| env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_state_directory_is_systemds_else_the_users_else_the_machines() {
        let (home, xdg) = (("HOME", "/home/a"), ("XDG_STATE_HOME", "/xdg"));
        let systemd = ("STATE_DIRECTORY", "/var/lib/gate:/var/lib/other");
        assert_eq!(found(&[home, xdg, systemd]), Path::new("/var/lib/gate"));
        assert_eq!(found(&[home, xdg, ("STATE_DIRECTORY", "")]), Path::new("/xdg/marketgate"));
        assert_eq!(found(&[home, ("XDG_STATE_HOME", "state")]), Path::new("/home/a/.local/state/marketgate"));
        assert_eq!(found(&[("HOME", "")]), Path::new("/var/lib/marketgate"));
        assert_eq!(found(&[]), Path::new("/var/lib/marketgate"));
    }
}
