//! Walmart's token endpoint: HTTP Basic, its own required headers, XML unless JSON is asked for. The one rule: what is
//! missing or doubled is refused before anybody looks at the client.

use hyper::Method;
use serde_json::json;

use super::{Call, error, gate, only, refusal, wrong_method};
use crate::sim::answer::Answer;
use crate::sim::arrival::Arrival;
use crate::sim::clients;
use crate::sim::form::Form;
use crate::sim::grants::{Asked, BadCode, BadRefresh, Entitled, InvalidGrant, Unasked, entitled};
use crate::sim::marketplace::Marketplace;
use crate::sim::tokens::Token;
use crate::sim::vendor::{issue, refused};
use crate::sim::world::World;

pub(super) fn answer(world: &World, arrival: &Arrival) -> Result<Answer, Answer> {
    if arrival.path != arrival.marketplace.token_path() {
        return Err(refusal(404, "no such resource"));
    }
    only(arrival, &Method::POST).map_err(|_| wrong_method("POST"))?;
    gate::singles(arrival)?;
    if !arrival.is_form() {
        return Err(refusal(415, "Content-Type must be application/x-www-form-urlencoded"));
    }
    gate::required(arrival)?;
    let form = Form::parse(&arrival.body.bytes).map_err(|mistake| invalid(&mistake))?;
    let client = authenticated(arrival, &form)?;
    let asked = asked(arrival, &form)?;
    let entitled = entitled(world, arrival, &client, &asked)
        .map_err(|why| refused(world, arrival, why, invalid_grant))?;
    let (token, lifetime) = issue(world, arrival, &entitled);
    Ok(granted(arrival, &entitled, &token, lifetime))
}

fn authenticated(arrival: &Arrival, form: &Form) -> Result<String, Answer> {
    let unknown = || refusal(401, "the client id or the client secret is wrong");
    let basic = arrival.header("authorization").ok_or_else(unknown)?;
    if clients::authenticates(form) {
        return Err(invalid("the client authenticates both in the header and in the body"));
    }
    let presented = clients::of_basic(basic).filter(clients::Presented::is_genuine);
    presented.map(|presented| presented.id).ok_or_else(unknown)
}

fn asked(arrival: &Arrival, form: &Form) -> Result<Asked, Answer> {
    let asked = Asked::of(form).map_err(|why| match why {
        Unasked::NoGrantType => invalid("grant_type is missing"),
        Unasked::Lacks(name) => invalid(&format!("{name} is missing")),
        Unasked::UnknownGrantType(_) => unsupported(),
    })?;
    match asked {
        Asked::ClientCredentials => Ok(asked),
        _ if arrival.marketplace == Marketplace::WalmartSuppliers => Err(unsupported()),
        _ if arrival.filled("wm_partner.id").is_none() => {
            Err(error(400, "MISSING_REQUEST_HEADER.GMP_GATEWAY_API", "WM_PARTNER.ID set blank or null"))
        }
        _ => Ok(asked),
    }
}

fn invalid(description: &str) -> Answer {
    error(400, "INVALID_REQUEST.GMP_GATEWAY_API", description)
}

fn unsupported() -> Answer {
    error(400, "UNSUPPORTED_GRANT_TYPE.GMP_GATEWAY_API", "unsupported grant type")
}

fn invalid_grant(why: InvalidGrant) -> Answer {
    match why {
        InvalidGrant::Code(BadCode::OtherSeller) | InvalidGrant::Refresh(BadRefresh::OtherSeller) => {
            let words = "WM_PARTNER.ID is not the seller that the grant belongs to";
            error(400, "INVALID_REQUEST_HEADER.GMP_GATEWAY_API", words)
        }
        _ => {
            let words = "invalid_grant: the code or refresh token is not valid";
            error(400, "INVALID_GRANT.GMP_GATEWAY_API", words)
        }
    }
}

fn granted(arrival: &Arrival, entitled: &Entitled, token: &str, lifetime: u64) -> Answer {
    let correlation = arrival.header("wm_qos.correlation_id").unwrap_or_default();
    let answer = if arrival.accepts("application/json") {
        let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime });
        Answer::json(200, &entitled.complete(answer))
    } else {
        let refresh = entitled.refresh_token.as_deref().unwrap_or_default();
        let refresh = match refresh {
            "" => String::new(),
            token => format!("<refreshToken>{token}</refreshToken>"),
        };
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><OAuthTokenDTO>\
             <accessToken>{token}</accessToken>{refresh}<tokenType>Bearer</tokenType>\
             <expiresIn>{lifetime}</expiresIn></OAuthTokenDTO>"
        );
        Answer::text(200, "application/xml", xml)
    };
    answer.headers(&[("wm_qos.correlation_id", correlation), ("cache-control", "no-store")])
}

/// `GET /v3/token/detail`: what the token is good for.
pub(super) fn detail(call: &Call<'_>, token: &Token) -> Answer {
    let since_epoch = |at: u64| (call.arrival.epoch - call.arrival.now + at).to_string();
    let areas = ["reports", "item", "price", "feeds", "returns", "orders", "inventory", "content"];
    let scopes: serde_json::Map<String, serde_json::Value> =
        areas.iter().map(|area| ((*area).to_owned(), json!("full_access"))).collect();
    Answer::json(
        200,
        &json!({
            "is_valid": true,
            "is_channel_match": true,
            "issued_at": since_epoch(token.issued_at),
            "expire_at": since_epoch(token.expires_at),
            "scopes": scopes,
        }),
    )
}
