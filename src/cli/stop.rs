//! `marketgate stop`: ends the running Marketgate in order.

use std::time::Duration;

use clap::Args;
use http::Method;
use tokio::time::{Instant, sleep};

use super::{
    Exit, Failure, Place,
    admin_client::{AdminClient, AskError, Body},
    login::parse_duration,
    run::block_on,
    session::{self, ServerArguments},
    streams,
};

/// Arguments of `stop`.
#[derive(Debug, Args)]
pub struct StopArguments {
    /// How long to wait for its end; 0s: not at all
    #[arg(long, allow_hyphen_values = true, default_value = "120s", value_parser = parse_duration, value_name = "TIME")]
    timeout: Duration,
    #[command(flatten)]
    server: ServerArguments,
}

const BETWEEN: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(5);

/// Asks the running Marketgate to end, as SIGTERM does, and waits until it has.
///
/// # Errors
/// When none runs, it refuses, or it still runs when the time is over.
pub fn run(place: &Place, arguments: &StopArguments) -> Result<(), Failure> {
    block_on(async {
        let client = running(place, &arguments.server).await?;
        let stopped = instance(&client).await.ok().flatten();
        client.send(Method::POST, "/api/stop", Body::Empty, LIMIT).await?;
        let begun = Instant::now();
        while is_there(&client, stopped.as_deref()).await {
            if begun.elapsed() >= arguments.timeout {
                return still_running(arguments.timeout);
            }
            sleep(BETWEEN).await;
        }
        streams::talk("it has ended");
        Ok(())
    })
}

/// When the process began that answers, as its metrics tell.
async fn instance(client: &AdminClient) -> Result<Option<String>, AskError> {
    let metrics = client.text("/metrics", LIMIT).await?;
    Ok(metrics.lines().find(|line| line.starts_with("process_start_time_seconds ")).map(str::to_owned))
}

/// Whether it still runs. Somebody may have started another one in its place.
async fn is_there(client: &AdminClient, stopped: Option<&str>) -> bool {
    match instance(client).await {
        Err(error) => !matches!(error, AskError::NotRunning { .. }),
        Ok(now) => now.is_none() || stopped.is_none() || now.as_deref() == stopped,
    }
}

/// Whoever serves this configuration; a command never begins to serve only to be stopped.
async fn running(place: &Place, server: &ServerArguments) -> Result<AdminClient, Failure> {
    if let Some(client) = server.named()? {
        return Ok(client);
    }
    match session::serving(place.outline().ok().as_ref()).await? {
        Some(client) => Ok(client),
        None => AdminClient::new(&place.server(None)?),
    }
}

fn still_running(timeout: Duration) -> Result<(), Failure> {
    if timeout.is_zero() {
        return Ok(());
    }
    let detail = format!("it is stopping, and was still there after {} s", timeout.as_secs());
    Err(Failure::new(Exit::Failure, detail)
        .mend("its log says what it waits for; wait longer with --timeout"))
}
