//! The credential of an API call: where each marketplace looks for it, and whose it is. The one rule: a credential in
//! any other place is none.

use super::arrival::Arrival;
use super::clients::is_client_id;
use super::grants::User;
use super::marketplace::Marketplace;
use super::tokens::{Dead, Token};
use super::world::World;

/// The headers in which the generic API takes a credential, for vendors that invented their own.
pub(super) const GENERIC_HEADERS: [&str; 7] = [
    "authorization",
    "x-access-token",
    "x-api-key",
    "x-amz-access-token",
    "x-shopify-access-token",
    "wm_sec.access_token",
    "api-key",
];

/// The credential itself, without scheme, as the marketplace finds it.
pub(super) fn presented(arrival: &Arrival) -> Option<&str> {
    match arrival.marketplace {
        Marketplace::WalmartSellers | Marketplace::WalmartSuppliers => arrival.header("wm_sec.access_token"),
        Marketplace::WalmartGolocal | Marketplace::Depop | Marketplace::Wallapop => bearer(arrival),
        Marketplace::Generic => {
            let values = GENERIC_HEADERS.iter().filter_map(|name| arrival.header(name));
            values.map(without_scheme).next()
        }
        Marketplace::Nowhere => None,
    }
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1), read strictly.
pub(super) fn bearer(arrival: &Arrival) -> Option<&str> {
    let token = arrival.header("authorization")?.strip_prefix("Bearer ")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    Some(token).filter(|token| !token.is_empty() && token.bytes().all(allowed))
}

pub(super) fn without_scheme(value: &str) -> &str {
    value.split_once(' ').map_or(value, |(_, credential)| credential)
}

/// The shop or name of a static key: `pak_SHOP` at Depop, `key-NAME` at the generic API.
pub(super) fn static_key(marketplace: Marketplace, credential: &str) -> Option<&str> {
    let prefix = match marketplace {
        Marketplace::Depop => "pak_",
        Marketplace::Generic => "key-",
        _ => return None,
    };
    credential.strip_prefix(prefix).filter(|name| is_client_id(name))
}

/// The live token behind a credential.
pub(super) fn look_up(world: &World, arrival: &Arrival, credential: &str) -> Result<Token, Dead> {
    let token = world.tokens.look_up(arrival.marketplace, credential, arrival.now)?;
    if arrival.now < token.issued_at + world.policies.of(arrival.marketplace).access_token_young_ms {
        return Err(Dead::Unknown);
    }
    match world.users.of(arrival.marketplace, &token.account) {
        User::Disabled => Err(Dead::Revoked),
        User::Enabled | User::Broken => Ok(token),
    }
}

/// The account behind the credential of an API call, live or not.
pub(super) fn account_of(world: &World, arrival: &Arrival) -> Option<String> {
    let credential = presented(arrival)?;
    let key = static_key(arrival.marketplace, credential).map(str::to_owned);
    key.or_else(|| Some(world.tokens.remembered(arrival.marketplace, credential)?.account.to_string()))
}

/// The token that was presented is dead from now on.
pub(super) fn end(world: &World, arrival: &Arrival) {
    if let Some(credential) = presented(arrival) {
        world.tokens.revoke(credential);
    }
}
