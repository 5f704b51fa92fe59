//! Has a marketplace take a grant back. The one rule: it is forgotten here first, so that nothing spends it meanwhile.

use std::time::Duration;

use super::Accounts;
use crate::{config::Credentials, names::AccountId, oauth::revoke::RevocationRequest, secret::Secret};

const LIMIT: Duration = Duration::from_secs(20);

impl Accounts {
    /// Revokes a refresh token; says why that was not possible.
    pub(super) async fn revoke(&self, id: &AccountId, refresh_token: &Secret) -> Result<(), String> {
        let app = self.app(&id.app).map_err(|error| error.to_string())?;
        let (Some(url), Some(endpoint), Some(client)) =
            (&app.profile.revoke_url, &app.profile.token_endpoint, &app.client)
        else {
            return Err(
                "the marketplace has no way to revoke it: the seller withdraws it in his account there"
                    .to_owned(),
            );
        };
        let account = app.account_with(id.account.clone(), client.credentials(), Default::default())?;
        let Credentials::Client { id: client_id, secrets } = &account.credentials else {
            return Err("the app has no client".to_owned());
        };
        let mut outcome = Err("the app has no client secret".to_owned());
        for secret in secrets {
            let client_secret = &secret.read().map_err(|error| error.to_string())?;
            let settings = |name: &str| account.setting(name);
            let request = RevocationRequest {
                url,
                endpoint,
                client_id,
                client_secret,
                refresh_token,
                settings: &settings,
                limit: LIMIT,
            };
            match self.client.revoke(&request).await {
                Ok(()) => return Ok(()),
                Err(error) => outcome = Err(error.to_string()),
            }
        }
        outcome
    }
}
