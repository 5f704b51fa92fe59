//! The proxies, each configured to do the same: `/api/…` becomes `https://localhost:PORT/v1/…` with a credential.

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{process::Process, upstream::Upstream};

/// One way to get the job done.
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    program: fn() -> Option<PathBuf>,
    /// The file it reads, of its own port, another one, the upstream and the upstream's authority.
    configuration: fn(&Site<'_>) -> String,
    arguments: &'static [&'static str],
    h2: bool,
}

struct Site<'a> {
    port: u16,
    admin: u16,
    upstream: u16,
    authority: &'a Path,
    folder: &'a Path,
}

pub(crate) const ALL: [Proxy; 7] = [
    Proxy {
        name: "marketgate",
        title: "**Marketgate**, HTTP/1.1 to the upstream",
        program: own,
        configuration: marketgate,
        arguments: &["run", "--config", "configuration"],
        h2: false,
    },
    Proxy {
        name: "marketgate-h2",
        title: "**Marketgate**, HTTP/2 to the upstream",
        program: own,
        configuration: marketgate,
        arguments: &["run", "--config", "configuration"],
        h2: true,
    },
    Proxy {
        name: "nginx",
        title: "nginx, static header, one worker",
        program: || installed("nginx"),
        configuration: nginx,
        arguments: &["-c", "configuration", "-p", "."],
        h2: false,
    },
    Proxy {
        name: "haproxy",
        title: "HAProxy, static header, one thread",
        program: || installed("haproxy"),
        configuration: haproxy,
        arguments: &["-f", "configuration"],
        h2: false,
    },
    Proxy {
        name: "envoy",
        title: "Envoy, `credential_injector`, HTTP/1.1",
        program: || installed("envoy"),
        configuration: envoy,
        arguments: &[
            "-c",
            "configuration.yaml",
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "-l",
            "error",
        ],
        h2: false,
    },
    Proxy {
        name: "other",
        title: "another build of Marketgate (`MARKETGATE_OTHER`)",
        program: other,
        configuration: marketgate,
        arguments: &["run", "--config", "configuration"],
        h2: false,
    },
    Proxy {
        name: "other-h2",
        title: "the same, HTTP/2 to the upstream",
        program: other,
        configuration: marketgate,
        arguments: &["run", "--config", "configuration"],
        h2: true,
    },
];

/// This build, or what `--program` names.
fn own() -> Option<PathBuf> {
    let named = env::args_os().skip_while(|argument| argument != "--program").nth(1);
    Some(named.map_or_else(|| env!("CARGO_BIN_EXE_marketgate").into(), PathBuf::from))
}

fn other() -> Option<PathBuf> {
    env::var_os("MARKETGATE_OTHER").map(PathBuf::from)
}

/// A proxy that answers.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// Where it is asked whether it lives, if it can be.
    #[allow(dead_code, reason = "for the bench `fair`")]
    pub(crate) admin: Option<SocketAddr>,
    /// The path of an account other than that of `/api`, where there are such.
    #[allow(dead_code, reason = "for the bench `fair`")]
    pub(crate) other_account: &'static str,
    pub(crate) process: Process,
    _folder: tempfile::TempDir,
}

impl Proxy {
    pub(crate) fn is_installed(&self) -> bool {
        (self.program)().is_some()
    }

    /// Starts it and waits until it gets an answer: for a token, that may take more than an open door.
    pub(crate) fn start(&self, upstream: &Upstream) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let to = if self.h2 { upstream.h2 } else { upstream.h1 };
        let site = Site {
            port: address.port(),
            admin: free_address().port(),
            upstream: to.port(),
            authority: &upstream.authority(),
            folder: folder.path(),
        };
        // Envoy goes by the ending.
        let named = |argument: &&&str| argument.starts_with("configuration");
        let file = self.arguments.iter().find(named).unwrap();
        fs::write(folder.path().join(file), (self.configuration)(&site)).unwrap();
        let mut process = Process::start(&(self.program)().unwrap(), self.arguments, folder.path());
        let begun = Instant::now();
        while !answers(address, "/api/1") {
            let log = || fs::read_to_string(folder.path().join("log")).unwrap();
            assert!(!process.is_over(), "{} ended: {}", self.name, log());
            assert!(begun.elapsed() < Duration::from_secs(20), "{} does not answer: {}", self.name, log());
            std::thread::sleep(Duration::from_millis(10));
        }
        let is_ours = (self.configuration)(&site).starts_with("[proxy]");
        let admin = is_ours.then(|| SocketAddr::from(([127, 0, 0, 1], site.admin)));
        let other_account = if is_ours { "/other" } else { "/api" };
        Running { address, admin, other_account, process, _folder: folder }
    }
}

/// Whether a request for this path is answered with success.
pub(crate) fn answers(address: SocketAddr, path: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut answer = String::new();
    let asked = write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    // One that breaks off is asked again.
    asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.starts_with("HTTP/1.1 200")
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

fn marketgate(site: &Site<'_>) -> String {
    let Site { port, admin, upstream, authority, .. } = site;
    format!(
        "[proxy]\nlisten = \"127.0.0.1:{port}\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n[log]\nlevel = \"warn\"\n\
         [upstream]\nca_file = \"{}\"\n{}{}",
        authority.display(),
        app("api", *upstream),
        app("other", *upstream)
    )
}

fn app(name: &str, upstream: u16) -> String {
    format!(
        "[apps.{name}]\nprovider = \"generic\"\napi = \"https://localhost:{upstream}/v1\"\n\
         token_url = \"https://localhost:{upstream}/token\"\nclient_id = \"peers-{name}\"\n\
         client_secret = {{ env = \"PEERS_SECRET\" }}\n"
    )
}

fn nginx(site: &Site<'_>) -> String {
    let Site { port, upstream, authority, folder, .. } = site;
    let (authority, folder) = (authority.display(), folder.display());
    format!(
        "daemon off; worker_processes 1; pid {folder}/pid; error_log stderr error; user root;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off; keepalive_requests 1000000000; client_max_body_size 0;\n\
         \x20 client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};\n\
         \x20 uwsgi_temp_path {folder}; scgi_temp_path {folder};\n\
         \x20 upstream api {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}\n\
         \x20 server {{ listen 127.0.0.1:{port};\n    location /api/ {{\n      proxy_pass https://api/v1/;\n\
         \x20     proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host localhost;\n\
         \x20     proxy_set_header Authorization \"Bearer peers-static\"; proxy_request_buffering off;\n\
         \x20     proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority};\n\
         \x20     proxy_ssl_name localhost; proxy_ssl_server_name on;\n    }}\n  }}\n}}\n"
    )
}

fn haproxy(site: &Site<'_>) -> String {
    let Site { port, upstream, authority, .. } = site;
    format!(
        "global\n  nbthread 1\n  maxconn 5000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         frontend in\n  bind 127.0.0.1:{port}\n  default_backend out\n\
         backend out\n  http-reuse always\n  http-request replace-path /api/(.*) /v1/\\1\n\
         \x20 http-request set-header Authorization \"Bearer peers-static\"\n\
         \x20 server up 127.0.0.1:{upstream} ssl verify required ca-file {} sni str(localhost) verifyhost localhost \
         ssl-min-ver TLSv1.3 pool-max-conn 256\n",
        authority.display()
    )
}

/// Its OAuth filter takes token and secret from files ("secret discovery") and makes client-credentials calls itself.
fn envoy(site: &Site<'_>) -> String {
    let Site { port, admin, upstream, authority, folder } = site;
    let secret = folder.join("secret.yaml");
    fs::write(
        &secret,
        "resources:\n- \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret\n  name: client\n  \
         generic_secret: { secret: { inline_string: peers-secret } }\n",
    )
    .unwrap();
    format!(
        r#"node: {{ id: peers, cluster: peers }}
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin} }} }} }}
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: peers
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/api/" }}
                route: {{ cluster: api, prefix_rewrite: "/v1/", timeout: 0s }}
          http_filters:
          - name: credential
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector
              overwrite: true
              credential:
                name: oauth2
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.http.injected_credentials.oauth2.v3.OAuth2
                  token_endpoint: {{ cluster: api, uri: "https://localhost:{upstream}/token", timeout: 3s }}
                  client_credentials:
                    client_id: peers
                    client_secret: {{ name: client, sds_config: {{ path_config_source: {{ path: "{}" }} }} }}
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: api
    type: STATIC
    load_assignment:
      cluster_name: api
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {upstream} }} }} }} }}] }}]
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
          validation_context: {{ trusted_ca: {{ filename: "{}" }} }}
"#,
        secret.display(),
        authority.display()
    )
}
