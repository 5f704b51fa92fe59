//! From a host's name to its addresses. The one rule: the name is asked for anew with every connection, so that a changed
//! answer is seen as soon as one is opened; what is cached is the operating system's to say.

use std::{future::Future, io, net::SocketAddr, pin::Pin};

use tokio::net::lookup_host;

/// Knows the addresses of hosts.
pub trait Resolve: Send + Sync {
    /// The addresses of a host, the preferred one first, each with this port. Fails as the operating system's look-up does.
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// A look-up under way.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// The operating system, with whatever it is configured to ask.
pub struct System;

impl Resolve for System {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }
}
