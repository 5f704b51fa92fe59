//! The upstreams: real servers as their users install them. The rule: each runs from a folder and a configuration of its
//! own on a loopback port, and touches nothing of the machine's.

use std::{
    env, fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    application::{self, Interface},
    certificate::Certificate,
    files,
    process::{Process, free_addresses},
};

mod recipes;

pub(crate) use recipes::RECIPES;

/// How a server is started.
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    /// The path under which its API lies.
    pub(crate) base: &'static str,
    program: &'static str,
    /// Its configuration or application, and under which name it is written down.
    file: (&'static str, &'static str),
    /// With `{folder}`, `{port}` in them.
    arguments: &'static [&'static str],
    /// How it reaches its application, if that is not a part of it.
    pub(crate) interface: Option<Interface>,
    /// Where modules lie that it needs, if any.
    modules: Option<&'static str>,
    /// The gate reaches it by TLS and HTTP/2, on a port beside the one it is asked on directly.
    pub(crate) is_secured: bool,
    pub(crate) has_files: bool,
    /// Conditions that may be put on a request for a file.
    pub(crate) conditions: &'static [&'static str],
    pub(crate) own_pages: &'static [&'static str],
    /// Methods it takes beside the usual ones.
    pub(crate) methods: &'static [&'static str],
    /// Its application knows trailers and informational answers.
    pub(crate) has_extras: bool,
    /// The header in which the API wants its key, and what stands before the key.
    pub(crate) credential: (&'static str, &'static str),
}

/// A running server.
pub(crate) struct Server {
    pub(crate) recipe: &'static Recipe,
    /// Where it is asked directly.
    pub(crate) address: SocketAddr,
    /// The origin of its API for the gate.
    pub(crate) origin: String,
    _process: Process,
    _folder: TempDir,
}

impl Recipe {
    /// Why it cannot be started here, if so.
    pub(crate) fn missing(&self) -> Option<String> {
        let modules = self.modules.filter(|modules| !Path::new(modules).is_dir());
        match (find(self.program), modules) {
            (None, _) => Some(format!("`{}` is not installed", self.program)),
            (_, Some(modules)) => Some(format!("there is no {modules}")),
            _ => None,
        }
    }

    /// Starts it, and the application behind it.
    pub(crate) fn start(&'static self, certificate: &Certificate) -> Server {
        let application = self.interface.map(application::start);
        // A port that was free a moment ago may have been taken since.
        (0..5)
            .find_map(|_| self.try_start(application, certificate))
            .unwrap_or_else(|| panic!("{} does not start", self.name))
    }

    fn try_start(
        &'static self,
        application: Option<SocketAddr>,
        certificate: &Certificate,
    ) -> Option<Server> {
        let folder = tempfile::tempdir().unwrap();
        // Apache's workers are nobody, and shall read it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        files::write(folder.path());
        certificate.write_for_server(folder.path());
        let [address, secured] = free_addresses();
        let filled = |text: &str| {
            text.replace("{folder}", &folder.path().display().to_string())
                .replace("{port}", &address.port().to_string())
                .replace(
                    "{application}",
                    &application.map(|address| address.port().to_string()).unwrap_or_default(),
                )
                .replace("{secured}", &secured.port().to_string())
                // A redirect names the port that was asked, which differs between the two ways.
                .replace("{absolute}", if self.is_secured { "off" } else { "on" })
                .replace("{modules}", self.modules.unwrap_or_default())
        };
        let (name, content) = self.file;
        // Programs hold braces of their own, and nothing to fill in.
        let content = if name.ends_with(".conf") { filled(content) } else { content.to_owned() };
        fs::write(folder.path().join(name), content).unwrap();
        let mut command = Command::new(find(self.program)?);
        command.args(self.arguments.iter().map(|argument| filled(argument)));
        let process = Process::start(command, folder.path(), &[address])?;
        let origin = match self.is_secured {
            true => format!("https://localhost:{}", secured.port()),
            false => format!("http://{address}"),
        };
        Some(Server { recipe: self, address, origin, _process: process, _folder: folder })
    }
}

/// A program on the path, or where servers lie that are not for everybody.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}
