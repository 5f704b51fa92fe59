//! Where the running Marketgate's admin door is. The one rule: nothing else of the file need be right for that, so that a
//! health check in a container works without the secrets.

use std::{net::SocketAddr, path::Path};

use super::{grammar, read_file};

/// Where the admin door listens unless the configuration says otherwise.
pub const DEFAULT_ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8081);

/// `admin.listen` of a configuration file, nothing else looked at.
///
/// # Errors
/// A file that cannot be read, is no TOML, or whose `admin.listen` is no address.
pub fn admin_address(path: &Path) -> Result<SocketAddr, String> {
    let name = path.display();
    let text = read_file(path).map_err(|(reason, _)| format!("{name} cannot be read: {reason}"))?;
    // The parser's own message would show a line of the file, and a line may hold a secret.
    let tree: toml::Table = text.parse().map_err(|_| format!("{name} is no well-formed TOML"))?;
    let Some(listen) = tree.get("admin").and_then(|admin| admin.get("listen")) else {
        return Ok(DEFAULT_ADMIN);
    };
    let written = listen.as_str().map(str::to_owned);
    let variable = || std::env::var(listen.get("env")?.as_str()?).ok();
    let address = written.or_else(variable).and_then(|text| grammar::listen(&text).ok());
    address.ok_or_else(|| format!("`admin.listen` in {name} is no address of a door"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_door_is_found_in_a_file_whose_secrets_are_missing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            admin_address(file.path())
        };
        let elsewhere =
            read("[admin]\nlisten = \"127.0.0.1:9\"\n[apps.x]\nclient_secret = { env = \"NOWHERE\" }\n");
        assert_eq!(elsewhere, Ok("127.0.0.1:9".parse().unwrap()));
        assert_eq!(read("[apps.x]\n"), Ok(DEFAULT_ADMIN));
        assert!(read("[admin]\nlisten = \"nowhere\"\n").is_err());
        assert!(!read("[apps.x]\nclient_secret = \"marker\n").unwrap_err().contains("marker"));
    }
}
