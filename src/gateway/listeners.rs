//! The sockets of a program that serves. An address that another process has is told at once, and by whom it is found.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use tokio::sync::oneshot;

use crate::{
    admin::ControlSocket,
    config::{Settings, settings::FixedRoute},
    net::unsent,
};

/// Sockets to serve, already bound.
#[derive(Debug)]
pub struct Listeners {
    /// The proxy door's, each with what it stands for.
    pub proxy: Vec<(TcpListener, Option<FixedRoute>)>,
    /// The admin door's.
    pub admin: TcpListener,
    /// The control socket; to be bound once the store's lock is held, see [`ControlSocket::bind`].
    pub control: Option<ControlSocket>,
    /// The same where another process still has the store: it comes when that has let go of it.
    pub control_later: Option<oneshot::Receiver<ControlSocket>>,
}

/// A socket that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({door}): {source}")]
pub struct BindError {
    /// Its address.
    pub address: SocketAddr,
    /// The key it was configured with.
    pub door: &'static str,
    /// What the operating system said.
    pub source: io::Error,
}

impl BindError {
    /// What mends it.
    pub fn action(&self) -> String {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => format!(
                "another process has port {}: end it (`ss -ltnp 'sport = :{}'` names it) or change `{}`",
                self.address.port(),
                self.address.port(),
                self.door
            ),
            io::ErrorKind::PermissionDenied => format!("choose a port above 1023 in `{}`", self.door),
            io::ErrorKind::AddrNotAvailable => {
                format!("choose an address of this machine in `{}`", self.door)
            }
            _ => format!("choose another address in `{}`", self.door),
        }
    }
}

impl Listeners {
    /// Binds what the settings ask for.
    ///
    /// # Errors
    /// The first socket that cannot be had.
    pub fn bind(settings: &Settings) -> Result<Self, BindError> {
        let proxy = settings.proxy.listeners.iter().map(|wanted| {
            let door = if wanted.fixed.is_some() { "proxy.listener.listen" } else { "proxy.listen" };
            Ok((bind(wanted.address, door)?, wanted.fixed.clone()))
        });
        Ok(Self {
            proxy: proxy.collect::<Result<_, _>>()?,
            admin: bind(settings.admin.address, "admin.listen")?,
            control: None,
            control_later: None,
        })
    }
}

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`. The standard library's 128 would have a
/// sudden crowd make others wait for a second, until the kernel repeats a lost handshake.
const BACKLOG: i32 = 4096;

fn bind(address: SocketAddr, door: &'static str) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        rustix::net::listen(&listener, BACKLOG)?;
        listener.set_nonblocking(true)?;
        unsent::bound(&listener);
        Ok(listener)
    });
    bound.map_err(|source| BindError { address, door, source })
}
