//! Connections opened to servers, for requests and for token calls: [`dial`] opens them, [`call`] sends one request on one of its own, [`resolve`] knows addresses, `tunnel`
//! the way through a forward proxy, [`secured`] is the stream after its TLS handshake, and [`gather`] writes in one piece.

pub mod call;
pub mod dial;
pub mod error;
pub mod gather;
pub mod resolve;
pub mod secured;
mod tunnel;

pub use dial::{Connected, Destination, Dialer, speaks_h2};
pub use error::{DialError, TlsFault};
pub use resolve::{Resolve, Resolving};
pub use secured::Secured;
