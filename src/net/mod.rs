//! Connections opened to servers, for requests and for token calls: [`dial`] opens them, [`call`] sends one request on one of its own, [`resolve`] knows addresses, `tunnel`
//! the way through a forward proxy, [`secured`] is the stream after its TLS handshake, [`gather`] writes in one piece,
//! and [`unsent`] bounds what the kernel keeps for a peer who does not read.

pub mod call;
pub mod dial;
pub mod error;
pub mod gather;
pub mod resolve;
pub mod secured;
mod tunnel;
pub mod unsent;

pub use dial::{Connected, Destination, Dialer, speaks_h2};
pub use error::{DialError, TlsFault, is_refused_certificate};
pub use resolve::{Resolve, Resolving};
pub use secured::Secured;
