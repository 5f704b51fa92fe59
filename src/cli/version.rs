//! `marketgate version`: of this program, and of the one that runs.

use std::time::Duration;

use super::{
    Failure, Output, Place, admin_client::AdminClient, run::block_on, session::ServerArguments, streams,
};

/// How long the running one may take to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Prints the version, and that of the running Marketgate where one answers.
///
/// # Errors
/// When a server is named that cannot be asked.
pub fn run(place: &Place, server: &ServerArguments) -> Result<(), Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let client = match server.named()? {
        Some(client) => Some(client),
        None => place.server(None).ok().and_then(|server| AdminClient::new(&server).ok()),
    };
    let running = match &client {
        Some(client) => block_on(async { Ok(running(client).await) })?,
        None => None,
    };
    let text = match (place.output, &running) {
        (Output::Json, _) => serde_json::json!({ "version": own, "running": running }).to_string(),
        (Output::Text, Some(running)) => format!("marketgate {own}, and {running} is running"),
        (Output::Text, None) => format!("marketgate {own}"),
    };
    streams::data(text);
    Ok(())
}

/// What the running one says of itself among its metrics.
async fn running(client: &AdminClient) -> Option<String> {
    let metrics = client.text("/metrics", LIMIT).await.ok()?;
    let line = metrics.lines().find(|line| line.starts_with("marketgate_build_info{"))?;
    let (_, rest) = line.split_once("version=\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}
