//! Callers of every seller, asking all the time, and what they heard.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::sellers::Sellers;

/// What the callers of one seller heard last before the program died.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    /// Answers of the marketplace for this seller.
    pub(crate) served: u64,
    /// Answers that belong to another seller.
    pub(crate) mixed: u64,
    /// Answers of ours by code; a request cut off by the kill is none.
    pub(crate) refused: HashMap<String, u64>,
}

/// Callers at work.
pub(crate) struct Load {
    callers: JoinSet<(String, Heard)>,
    stop: CancellationToken,
}

impl Load {
    pub(crate) fn begin(sellers: &Sellers, proxy: SocketAddr) -> Self {
        let (mut callers, stop) = (JoinSet::new(), CancellationToken::new());
        let client = client();
        for name in sellers.names.clone() {
            let (client, stop) = (client.clone(), stop.clone());
            callers.spawn(async move {
                let heard = call(&client, proxy, &name, &stop).await;
                (name, heard)
            });
        }
        Self { callers, stop }
    }

    pub(crate) async fn end(self) -> HashMap<String, Heard> {
        self.stop.cancel();
        self.callers.join_all().await.into_iter().collect()
    }
}

async fn call(client: &reqwest::Client, proxy: SocketAddr, name: &str, stop: &CancellationToken) -> Heard {
    let mut heard = Heard::default();
    while !stop.is_cancelled() {
        let request = client.get(format!("http://{proxy}/any@{name}/x")).send();
        let Some(Ok(answer)) = stop.run_until_cancelled(request).await else { return heard };
        let status = answer.status().as_u16();
        let Ok(body) = answer.bytes().await else { return heard };
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        match (status, body["account"].as_str()) {
            (200, Some(account)) if account == name => heard.served += 1,
            (200, _) => heard.mixed += 1,
            _ => *heard.refused.entry(body["code"].as_str().unwrap_or("?").to_owned()).or_default() += 1,
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    heard
}

/// A client that takes nothing from its environment.
pub(crate) fn client() -> reqwest::Client {
    let tls = marketgate::tls::client_config(None).unwrap();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap()
}
