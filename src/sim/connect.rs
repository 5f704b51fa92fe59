//! Consents without a browser, and what tests may ask about them: the typed twins of the controls in `control::consents`.
//! The one rule: a grant made here is the same as one that a code brought.

use std::fmt;

use super::Simulator;
use super::consent::{AutoConsent, granted_scope};
use super::grants::{Consented, Ended, Family, Policy, User};
use super::lock::locked;
use super::marketplace::{Kind, Marketplace};
use super::tokens::Holder;
use super::world::World;

/// A consent to be made.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The marketplace's name.
    pub marketplace: String,
    /// The client that is given consent.
    pub client_id: String,
    /// The seller who gives it.
    pub seller: String,
    /// The browser session that it shares with other consents: they end together.
    pub session: Option<String>,
    /// What is granted: names with spaces between.
    pub scope: String,
    /// How long its access tokens live where that is not the policy's to say, seconds.
    pub lifetime: Option<u64>,
    /// How long it lasts where that is not the policy's to say, seconds.
    pub consent_lifetime: Option<u64>,
}

impl Connect {
    /// As the marketplace's policy has it.
    pub fn new(marketplace: &str, client_id: &str, seller: &str) -> Self {
        Self {
            marketplace: marketplace.to_owned(),
            client_id: client_id.to_owned(),
            seller: seller.to_owned(),
            session: None,
            scope: String::new(),
            lifetime: None,
            consent_lifetime: None,
        }
    }
}

/// What a consent brought.
#[derive(Clone)]
pub struct Grant {
    /// The number of its family.
    pub family: u64,
    /// Good now.
    pub access_token: String,
    /// Seconds.
    pub expires_in: u64,
    /// The first of its family.
    pub refresh_token: String,
    /// When refresh tokens stop working, milliseconds on the simulator's clock.
    pub ends_at_ms: u64,
}

impl fmt::Debug for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Grant").field("family", &self.family).finish_non_exhaustive()
    }
}

pub(super) fn connect_one(world: &World, marketplace: Marketplace, connect: Connect) -> Grant {
    let (policy, moment) = (world.policies.of(marketplace), world.clock.moment());
    let consented = Consented {
        marketplace,
        client: connect.client_id,
        seller: connect.seller,
        session: connect.session,
        scope: granted_scope(marketplace, connect.scope.split_ascii_whitespace().collect()),
        lifetime: connect.lifetime,
        lasts: connect.consent_lifetime.unwrap_or(policy.consent_seconds),
    };
    let mut grants = locked(&world.grants);
    let entitled = grants.families.found(consented, &policy, moment);
    let lifetime = entitled.lifetime.unwrap_or(policy.access_token_seconds);
    let holder = Holder {
        account: &entitled.account,
        client: &entitled.client,
        scope: &entitled.scope,
        bond: entitled.bond.as_ref(),
    };
    let access_token = world.tokens.issue(marketplace, &holder, lifetime, moment);
    let family = entitled.bond.as_ref().map_or(0, |bond| bond.family);
    grants.families.note_access_token(family, &access_token);
    Grant {
        family,
        access_token,
        expires_in: lifetime,
        refresh_token: entitled.refresh_token.unwrap_or_default(),
        ends_at_ms: entitled.ends_at.unwrap_or(moment.now),
    }
}

impl Simulator {
    /// A connected grant that no browser was needed for.
    ///
    /// # Panics
    ///
    /// At a marketplace where no seller gives consent.
    pub fn connect(&self, connect: Connect) -> Grant {
        let marketplace = Marketplace::named(&connect.marketplace)
            .filter(|marketplace| marketplace.endpoint(Kind::Consent).is_some());
        match marketplace {
            Some(marketplace) => connect_one(&self.world, marketplace, connect),
            None => panic!("no seller gives consent at {}", connect.marketplace),
        }
    }

    /// Every consent since the last reset, in order.
    pub fn families(&self) -> Vec<Family> {
        locked(&self.world.grants).families.reports()
    }

    /// The seller takes back every consent that still works; says how many those were. Their tokens end too.
    pub fn disconnect(&self, marketplace: &str, seller: &str) -> usize {
        Marketplace::named(marketplace)
            .map_or(0, |marketplace| self.end_seller(marketplace, seller, Ended::Disconnected))
    }

    /// An administrator ends every session of a seller; says how many consents ended. Those that share a session with
    /// one of them end too, and so do the access tokens.
    pub fn end_sessions(&self, marketplace: &str, seller: &str) -> usize {
        Marketplace::named(marketplace)
            .map_or(0, |marketplace| self.end_seller(marketplace, seller, Ended::SessionEnded))
    }

    fn end_seller(&self, marketplace: Marketplace, seller: &str, why: Ended) -> usize {
        locked(&self.world.grants).families.end_seller(marketplace, seller, why)
    }

    /// An administrator enables or disables a user, or the server fails for that one.
    pub fn set_user(&self, marketplace: &str, seller: &str, user: User) {
        if let Some(marketplace) = Marketplace::named(marketplace) {
            self.world.users.set(marketplace, seller, user);
        }
    }

    /// From now on authorization endpoints answer so; `seller` says yes or no, or is selected on the page. `None` leaves
    /// it to the `login_hint` of the request, or to `shop-1`.
    pub fn answer_consents(&self, auto: AutoConsent, seller: Option<&str>) {
        let mut standing = locked(&self.world.consent);
        (standing.auto, standing.seller) = (auto, seller.map(str::to_owned));
    }

    /// From now on a client has exactly these redirect addresses; none of them (`[]`) lets it have any `https` and any
    /// loopback address again.
    pub fn pin_redirects(&self, marketplace: &str, client_id: &str, addresses: &[&str]) {
        if let Some(marketplace) = Marketplace::named(marketplace) {
            let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
            self.world.redirects.pin(marketplace, client_id, addresses);
        }
    }

    /// From now on an authorization server (`"*"`: each of them) has the habits of a real one ([`Policy::like`]).
    ///
    /// # Panics
    ///
    /// For a server that is not known.
    pub fn behave_like(&self, marketplace: &str, server: &str) {
        self.change_policy(marketplace, |policy| match policy.like(server) {
            Some(like) => *policy = like,
            None => panic!("no server is called {server:?}"),
        });
    }

    /// How an authorization server treats its grants; `None` for an unknown marketplace.
    pub fn policy(&self, marketplace: &str) -> Option<Policy> {
        Marketplace::named(marketplace).map(|marketplace| Policy::clone(&self.world.policies.of(marketplace)))
    }

    /// Changes how an authorization server (`"*"`: each of them) treats its grants.
    pub fn change_policy(&self, marketplace: &str, change: impl Fn(&mut Policy)) {
        let meant = |one: &Marketplace| marketplace == "*" || one.name() == marketplace;
        for one in Marketplace::ALL.into_iter().filter(meant) {
            let mut policy = Policy::clone(&self.world.policies.of(one));
            change(&mut policy);
            self.world.policies.set(one, policy);
        }
    }
}
