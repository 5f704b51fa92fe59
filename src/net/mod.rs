//! Connections opened to servers, for requests and for token calls: [`dial`] opens them, [`resolve`] knows addresses, `tunnel`
//! the way through a forward proxy, [`secured`] is the stream after its TLS handshake, and [`gather`] writes in one piece.

pub mod dial;
pub mod error;
pub mod gather;
pub mod resolve;
pub mod secured;
mod tunnel;

pub use dial::{Destination, Dialer};
pub use error::{DialError, TlsFault};
pub use resolve::{Resolve, Resolving};
pub use secured::Secured;
