//! Marketgate as its user runs it: the built program, a configuration file, one app for every server.

use std::{env, fs, net::SocketAddr, path::Path, process::Command};

use tempfile::TempDir;

use crate::{
    certificate::Certificate,
    process::{Process, free_addresses},
    request::Way,
    servers::Server,
};

/// The key every API wants.
const KEY: &str = "the-key-of-the-api";

/// The running program.
pub(crate) struct Gate {
    pub(crate) process: Process,
    /// How each server is reached, in their order.
    pub(crate) ways: Vec<Way>,
    _folder: TempDir,
}

impl Gate {
    /// Starts it before these servers.
    pub(crate) fn start(servers: &[Server], certificate: &Certificate) -> Self {
        // A port that was free a moment ago may have been taken since.
        (0..5).find_map(|_| Self::try_start(servers, certificate)).expect("marketgate starts")
    }

    fn try_start(servers: &[Server], certificate: &Certificate) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let [door, admin] = free_addresses();
        let listeners: [SocketAddr; 8] = free_addresses();
        let ways: Vec<Way> =
            servers.iter().zip(listeners).map(|(server, listener)| way(server, door, listener)).collect();
        let file = folder.path().join("proxy.toml");
        let apps: String = ways.iter().zip(servers).map(|(way, server)| app(way, server)).collect();
        let doors = format!("[proxy]\nlisten = \"{door}\"\n[admin]\nlisten = \"{admin}\"\n");
        certificate.write_for_caller(folder.path());
        let trust = "[upstream]\nca_file = \"authority.pem\"\n";
        fs::write(&file, format!("{doors}{trust}{apps}")).unwrap();
        let addresses: Vec<SocketAddr> = ways.iter().map(|way| way.listener).chain([door, admin]).collect();
        let process = Process::start(command(folder.path(), &file), folder.path(), &addresses)?;
        Some(Self { process, ways, _folder: folder })
    }
}

fn way(server: &Server, door: SocketAddr, listener: SocketAddr) -> Way {
    let recipe = server.recipe;
    let (header, prefix) = recipe.credential;
    Way {
        app: recipe.name,
        upstream: server.address,
        origin: server.origin.clone(),
        is_http2: recipe.is_secured,
        base: recipe.base,
        door,
        listener,
        credential: (header, format!("{prefix}{KEY}")),
    }
}

fn app(way: &Way, server: &Server) -> String {
    let Way { app, origin, base, listener, .. } = way;
    let (header, prefix) = server.recipe.credential;
    format!(
        "[apps.{app}]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"{origin}{base}\"\n\
         api_key = \"{KEY}\"\ntoken_header = \"{header}\"\ntoken_prefix = \"{prefix}\"\n\
         [[proxy.listener]]\nlisten = \"{listener}\"\napp = \"{app}\"\n"
    )
}

/// The program built beside this test, or another one: `DIFFERENTIAL_PROGRAM`.
fn command(folder: &Path, file: &Path) -> Command {
    let built = env!("CARGO_BIN_EXE_marketgate").into();
    let mut command = Command::new(env::var_os("DIFFERENTIAL_PROGRAM").unwrap_or(built));
    command.args(["run", "--config"]).arg(file).env("HOME", folder).env("XDG_CONFIG_HOME", folder);
    for name in ["MARKETGATE_CONFIG", "RUST_LOG", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}
