//! `marketgate login`: connects a seller. The one rule: whichever way the seller's browser comes back (here, to the program
//! behind the redirect address, to another Marketgate, by hand), the outcome is told once, by whoever serves the store.

mod callback;
mod paste;
mod report;

use std::time::{Duration, SystemTime};

use clap::Args;
use http::Method;
use serde::Deserialize;

use super::{
    Exit, Failure, Place,
    admin_client::{AdminClient, AskError, Body, Refusal},
    session::{self, ServerArguments},
    streams,
};
use crate::{
    accounts::consent::{Connected, ConsentBegun},
    names::{AccountId, AccountName, AccountRef},
    oauth::state,
    provider::values::duration,
    secret::Secret,
};
use callback::Landing;
use paste::Pasting;

/// Arguments of `login`.
#[derive(Debug, Args)]
pub struct LoginArguments {
    /// APP@ACCOUNT; APP alone connects its account `default`
    account: AccountRef,
    /// Open no browser here and listen for none: print the address, and take the one it leads to from stdin
    #[arg(long)]
    no_browser: bool,
    /// Connect the account to whoever consents, even if it was connected to somebody else
    #[arg(long)]
    replace_identity: bool,
    /// Connect the account even if another account belongs to the same seller
    #[arg(long)]
    again: bool,
    /// How long to wait for the seller
    #[arg(long, allow_hyphen_values = true, default_value = "10m", value_parser = parse_duration, value_name = "TIME")]
    timeout: Duration,
    #[command(flatten)]
    server: ServerArguments,
}

/// A length of time as the configuration writes it.
///
/// # Errors
/// What to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "write a number and a unit, such as 500ms, 30s or 2m".to_owned())
}

/// How long an answer may take that needs no marketplace.
const LIMIT: Duration = Duration::from_secs(30);
/// How long the exchange of a code, and what follows it, may take.
const COMPLETION: Duration = Duration::from_secs(120);
/// How long the server holds the question for the outcome.
const HELD: u64 = 20;

/// Connects a seller and says who it was.
///
/// # Errors
/// When the seller did not consent, or nobody came back in time.
pub fn run(place: &Place, arguments: &LoginArguments) -> Result<(), Failure> {
    let connected = session::with(place, &arguments.server, async |client| login(&client, arguments).await)?;
    report::print(place, &connected, arguments.server.server.is_none());
    Ok(())
}

async fn login(client: &AdminClient, arguments: &LoginArguments) -> Result<Connected, Failure> {
    let pending = Pending::begin(client, arguments).await?;
    let way = if arguments.no_browser { Way::Elsewhere } else { pending.listen() };
    let url = &pending.begun.authorize_url;
    streams::talk(format_args!("Open this address where the seller is logged in:\n\n  {url}\n"));
    if !matches!(way, Way::Elsewhere) {
        open_browser(url.clone());
    }
    let mut pasting = match &way {
        Way::Here(_) => Pasting::beside(),
        Way::Taken | Way::Elsewhere => Pasting::begin(&pending),
    };
    let outcome = tokio::select! {
        outcome = way.outcome() => outcome,
        outcome = pending.outcome() => outcome,
        outcome = pasting.outcome(&pending) => outcome,
        () = tokio::time::sleep(pending.left(arguments.timeout)) => Err(pending.late()),
    };
    if let Way::Here(landing) = way {
        landing.close().await;
    }
    outcome
}

/// How the seller's browser comes back.
enum Way {
    /// To this command.
    Here(Landing),
    /// To a port of this machine that somebody else has: the Marketgate that serves the store, or another program.
    Taken,
    /// To somebody else, or to nobody.
    Elsewhere,
}

impl Way {
    /// What became of the callback, if it comes this way.
    async fn outcome(&self) -> Result<Connected, Failure> {
        match self {
            Self::Here(landing) => landing.outcome().await,
            Self::Taken | Self::Elsewhere => std::future::pending().await,
        }
    }
}

/// A consent that was begun and waits for its seller.
struct Pending<'a> {
    client: &'a AdminClient,
    begun: ConsentBegun,
    /// By which its callback is known.
    state: Secret,
}

/// How a consent stands, as the API tells it.
#[derive(Debug, Deserialize)]
struct Standing {
    state: String,
    connected: Option<Connected>,
    error: Option<Refusal>,
}

impl<'a> Pending<'a> {
    async fn begin(client: &'a AdminClient, arguments: &LoginArguments) -> Result<Self, Failure> {
        let account = arguments.account.account.clone().unwrap_or_else(AccountName::implicit);
        let id = AccountId { app: arguments.account.app.clone(), account };
        let mut wanted =
            serde_json::json!({ "account": id.to_string(), "replace_identity": arguments.replace_identity });
        if arguments.again {
            wanted["again"] = true.into();
        }
        let begun: ConsentBegun =
            client.ask(Method::POST, "/api/consents", Body::Json(wanted), LIMIT).await?;
        let state = state_of(&begun.authorize_url).ok_or_else(|| {
            Failure::new(Exit::Failure, "the address to open holds no `state` of Marketgate's")
                .mend("look at `authorize_url` of the app")
        })?;
        Ok(Self { client, begun, state })
    }

    /// Listens at the redirect address, if that is here and free.
    fn listen(&self) -> Way {
        let address = &self.begun.redirect_uri;
        if self.begun.answered_here {
            streams::talk(format_args!(
                "The Marketgate that serves the store takes the answer, at {address}.\n"
            ));
            return Way::Taken;
        }
        let error = match Landing::open(self) {
            Ok(Some(landing)) => return Way::Here(landing),
            Ok(None) => return Way::Elsewhere,
            Err(error) => error,
        };
        if error.kind() == std::io::ErrorKind::AddrInUse {
            streams::talk(format_args!(
                "Another program has the port of {address}: end it and start again, or paste the address here at which the \
                 browser ends up.\n"
            ));
        } else {
            streams::talk(format_args!("Cannot listen at {address}: {error}.\n"));
        }
        Way::Taken
    }

    async fn standing(&self, held: u64) -> Result<Standing, AskError> {
        let path = format!("/api/consents/{}?wait={held}", self.begun.id);
        self.client.document(&path, LIMIT).await
    }

    /// What became of it, whoever completed it.
    async fn outcome(&self) -> Result<Connected, Failure> {
        loop {
            let standing = self.standing(HELD).await?;
            match (standing.connected, standing.error) {
                (Some(connected), _) => return Ok(connected),
                (None, Some(refusal)) => return Err(refusal.into()),
                (None, None) if standing.state == "pending" => {}
                (None, None) => {
                    return Err(Failure::new(Exit::Failure, format!("the login is {}", standing.state)));
                }
            }
        }
    }

    async fn complete(&self, url: &str) -> Result<Connected, AskError> {
        let body = Body::Json(serde_json::json!({ "url": url }));
        self.client.ask(Method::POST, "/api/consents/complete", body, COMPLETION).await
    }

    /// Whether another callback could still complete it.
    async fn is_open(&self) -> bool {
        self.standing(0).await.is_ok_and(|standing| standing.state == "pending")
    }

    fn left(&self, timeout: Duration) -> Duration {
        let ends_at = self.begun.ends_at.parse::<jiff::Timestamp>().ok().map(SystemTime::from);
        let left = ends_at.and_then(|at| at.duration_since(SystemTime::now()).ok());
        timeout.min(left.unwrap_or(timeout))
    }

    fn late(&self) -> Failure {
        let account = &self.begun.account;
        Failure::new(Exit::Failure, format!("the login of {account} ended before anybody answered")).mend(
            format!(
                "start again: `marketgate login {account}`, and longer with --timeout (10 minutes at most)"
            ),
        )
    }
}

/// The `state` within the address to open.
fn state_of(url: &str) -> Option<Secret> {
    let url = url::Url::parse(url).ok()?;
    let ours = url.query_pairs().find(|(_, value)| state::is_ours(value))?;
    Some(Secret::new(ours.1.into_owned()))
}

/// Opens the person's browser, or not: the address stands on the terminal.
fn open_browser(url: String) {
    let mut options = webbrowser::BrowserOptions::new();
    options.with_suppress_output(true);
    // A text browser stays in the foreground until it is closed, and nobody need wait for that.
    let open =
        move || drop(webbrowser::open_browser_with_options(webbrowser::Browser::Default, &url, &options));
    drop(std::thread::Builder::new().name("browser".to_owned()).spawn(open));
}
