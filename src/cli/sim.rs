//! `marketgate sim`.

use std::net::SocketAddr;

use clap::Args;

use super::{
    Exit, Failure,
    run::block_on,
    signals::{self, Hangup},
    streams,
};
use crate::sim::{AutoConsent, Simulator};

/// Arguments of `sim`.
#[derive(Debug, Args)]
pub struct SimArguments {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// What the simulated shops, items and orders follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Sellers consent at once, without a page
    #[arg(long)]
    auto_consent: bool,
    /// Forgive a refresh token that is shown again within so many seconds of its rotation; 0 ends its family
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    grace: u64,
}

impl SimArguments {
    fn simulator(&self) -> Simulator {
        let auto = if self.auto_consent { AutoConsent::Allow } else { AutoConsent::Off };
        Simulator::with_leniency(self.seed, auto, self.grace)
    }
}

/// Serves the simulated marketplaces until SIGTERM or Ctrl-C.
///
/// # Errors
/// When the address cannot be had.
pub fn run(arguments: &SimArguments) -> Result<(), Failure> {
    if !arguments.listen.ip().is_loopback() {
        let failure = Failure::new(Exit::Usage, format!("{} is not a loopback address", arguments.listen));
        return Err(failure.mend("the simulator gives tokens to anybody: listen on 127.0.0.1 or [::1]"));
    }
    block_on(async {
        let stop = signals::watch(Hangup::Ends)?;
        let listener = tokio::net::TcpListener::bind(arguments.listen).await.map_err(|e| {
            Failure::new(Exit::Failure, format!("cannot listen on {}: {e}", arguments.listen))
                .mend("choose another port with --listen, or 127.0.0.1:0 for a free one")
        })?;
        let address = listener.local_addr().map_err(|e| Failure::new(Exit::Failure, e))?;
        streams::data(format_args!("http://{address}"));
        streams::talk(format_args!(
            "simulated marketplaces below http://{address}/ (GET /sim explains them); Ctrl-C ends"
        ));
        let serve = arguments.simulator().serve(listener, stop.asked().clone().cancelled_owned());
        // Nothing here has to survive.
        stop.hurried().run_until_cancelled(serve).await;
        Ok(())
    })
}
