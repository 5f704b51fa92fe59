//! Finds the configuration file. The one rule: the first place that is named wins, whether a file is there or not; of the
//! usual places the first that holds one.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// The variable that names the configuration file.
pub(super) const VARIABLE: &str = "MARKETGATE_CONFIG";

/// No configuration file stands in any of the usual places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    /// Where one was looked for, in that order.
    pub looked: Vec<PathBuf>,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no configuration file; looked for it here, in this order:")?;
        self.looked.iter().try_for_each(|path| write!(f, "\n  {}", path.display()))?;
        write!(f, "\n`marketgate init` writes one; --config or {VARIABLE} names one elsewhere; ")?;
        f.write_str("`marketgate demo` needs none")
    }
}

impl std::error::Error for NotFound {}

/// The configuration file to use: `explicit` (`--config`), else `MARKETGATE_CONFIG`, else the first that exists of
/// `./proxy.toml`, `$XDG_CONFIG_HOME/marketgate/proxy.toml` (by default `~/.config/…`) and `/etc/marketgate/proxy.toml`.
///
/// # Errors
/// When none is named and none exists. A named file that does not exist is for [`load`](super::load) to report.
pub fn find(explicit: Option<&Path>) -> Result<PathBuf, NotFound> {
    find_with(explicit, &|name| std::env::var_os(name), &Path::is_file)
}

fn find_with(
    explicit: Option<&Path>,
    env: &dyn Fn(&str) -> Option<OsString>,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<PathBuf, NotFound> {
    let variable = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(named) = explicit.map(Path::to_owned).or_else(|| variable(VARIABLE)) {
        return Ok(named);
    }
    // XDG Base Directory Specification: a relative path there is to be ignored.
    let xdg = variable("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let personal = xdg.or_else(|| variable("HOME").map(|home| home.join(".config")));
    let looked: Vec<PathBuf> = [
        Some(PathBuf::from("proxy.toml")),
        personal.map(|directory| directory.join("marketgate/proxy.toml")),
        Some(PathBuf::from("/etc/marketgate/proxy.toml")),
    ]
    .into_iter()
    .flatten()
    .collect();
    looked.iter().find(|path| exists(path)).cloned().ok_or(NotFound { looked: looked.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_here(explicit: Option<&str>, env: &[(&str, &str)], files: &[&str]) -> Result<PathBuf, NotFound> {
        let variable = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into());
        find_with(explicit.map(Path::new), &variable, &|path| {
            files.iter().any(|file| Path::new(file) == path)
        })
    }

    #[test]
    fn a_named_file_wins_over_every_usual_place() {
        let env = [(VARIABLE, "/named.toml"), ("HOME", "/home/a")];
        assert_eq!(find_here(Some("x.toml"), &env, &["proxy.toml"]).unwrap(), Path::new("x.toml"));
        assert_eq!(find_here(None, &env, &["proxy.toml"]).unwrap(), Path::new("/named.toml"));
    }

    #[test]
    fn the_usual_places_are_tried_in_their_order() {
        let home = [("HOME", "/home/a"), (VARIABLE, "")];
        let xdg = [("HOME", "/home/a"), ("XDG_CONFIG_HOME", "/xdg")];
        let files = [
            "/etc/marketgate/proxy.toml",
            "/home/a/.config/marketgate/proxy.toml",
            "/xdg/marketgate/proxy.toml",
        ];
        let found = |env: &[(&str, &str)], files: &[&str]| find_here(None, env, files).unwrap();
        assert_eq!(found(&home, &["/etc/marketgate/proxy.toml", "proxy.toml"]), Path::new("proxy.toml"));
        assert_eq!(found(&home, &files), Path::new("/home/a/.config/marketgate/proxy.toml"));
        assert_eq!(found(&xdg, &files), Path::new("/xdg/marketgate/proxy.toml"));
        assert_eq!(found(&xdg, &files[..2]), Path::new("/etc/marketgate/proxy.toml"));
    }

    #[test]
    fn nothing_found_says_where_it_was_looked_for_and_what_to_do() {
        let text = find_here(None, &[("HOME", "/home/a")], &[]).unwrap_err().to_string();
        assert!(text.contains("  proxy.toml\n  /home/a/.config/marketgate/proxy.toml\n  /etc/"), "{text}");
        assert!(text.contains("`marketgate init`"), "{text}");
    }
}
