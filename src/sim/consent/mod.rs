//! The authorization endpoint (RFC 6749 §3.1): a page on which a seller says yes or no, or an answer without asking. The
//! one rule: nobody is sent to an address before the client and the address are known to belong together.

mod page;
mod redirect;
mod request;
mod standing;

pub(super) use redirect::{Redirects, may_be_registered};
pub use standing::AutoConsent;
pub(super) use standing::Standing;

use hyper::Method;

use super::answer::Answer;
use super::arrival::Arrival;
use super::clients::is_client_id;
use super::form::Form;
use super::grants::Authorized;
use super::lock::locked;
use super::marketplace::Marketplace;
use super::spelling;
use super::world::World;
use redirect::{Callback, issuer};
use request::{Refusal, Request};

pub(super) use request::{client, granted_scope, violations};

/// The realm of Wallapop's authorization server, below its origin.
pub(super) fn wallapop_issuer(arrival: &Arrival) -> String {
    issuer(arrival)
}

pub(super) fn answer(world: &World, arrival: &Arrival) -> Answer {
    if Some(arrival.path.as_str()) != arrival.marketplace.endpoint(arrival.kind) {
        return page::refused(404, "There is no such page. Look at the slash at its end.");
    }
    let request = match Request::of(world, arrival) {
        Ok(request) => request,
        Err(Refusal::Page(words)) => return page::refused(400, &words),
        Err(Refusal::Redirect(callback)) => return callback.answer(302),
    };
    match arrival.method {
        Method::GET => ask(world, arrival, &request),
        Method::POST => {
            decide(world, arrival, &request).unwrap_or_else(|mistake| page::refused(400, &mistake))
        }
        _ => page::refused(405, "This page takes GET and POST.").header("allow", "GET, POST"),
    }
}

/// A refusal that has no cause in the request.
pub(super) fn refused(status: u16, words: &str) -> Answer {
    page::refused(status, words)
}

/// The page, or what a seller would have answered to it.
fn ask(world: &World, arrival: &Arrival, request: &Request) -> Answer {
    let standing = locked(&world.consent).clone();
    let seller = standing.seller.as_deref().or(request.seller.as_deref()).unwrap_or("shop-1");
    match standing.auto {
        AutoConsent::Off => page::question(arrival.marketplace, request, seller),
        AutoConsent::Allow => allow(world, arrival, request, seller).answer(302),
        AutoConsent::Deny => deny(arrival, request).answer(302),
    }
}

/// What the seller said on the page.
fn decide(world: &World, arrival: &Arrival, request: &Request) -> Result<Answer, String> {
    if !arrival.is_form() {
        return Err("The decision is not a form.".to_owned());
    }
    let form = Form::parse(&arrival.body.bytes)?;
    match form.value("decision") {
        Some("deny") => Ok(deny(arrival, request).answer(303)),
        Some("allow") => {
            let seller = form.value("seller").filter(|seller| is_client_id(seller));
            let seller = seller.ok_or("The form names no seller.")?;
            Ok(allow(world, arrival, request, seller).answer(303))
        }
        _ => Err("The decision is \"allow\" or \"deny\".".to_owned()),
    }
}

fn allow(world: &World, arrival: &Arrival, request: &Request, seller: &str) -> Callback {
    let authorized = Authorized {
        marketplace: arrival.marketplace,
        client: request.client.clone(),
        redirect_uri: request.redirect_uri.clone(),
        challenge: request.challenge.clone(),
        scope: request.scope.clone(),
        seller: seller.to_owned(),
        session: locked(&world.consent).session.clone(),
    };
    let policy = world.policies.of(arrival.marketplace);
    let code = locked(&world.grants).codes.issue(authorized, &policy, arrival.now);
    let callback = Callback::to(arrival, &request.redirect_uri).with("code", &code);
    let callback = match arrival.marketplace {
        Marketplace::WalmartSellers => {
            callback.with("type", "auth").with("clientId", &request.client).with("sellerId", seller)
        }
        Marketplace::Wallapop => callback.with("session_state", &spelling::uuid()),
        _ => callback,
    };
    callback.with("state", &request.state)
}

fn deny(arrival: &Arrival, request: &Request) -> Callback {
    Callback::error(arrival, &request.redirect_uri, "access_denied", "The seller said no")
        .with("state", &request.state)
}
