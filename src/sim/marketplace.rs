//! Which marketplace a path belongs to. The one rule: a marketplace lives below its own name, and what follows is
//! exactly the path that the vendor's hosts have.

/// One simulated marketplace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Marketplace {
    WalmartSellers,
    WalmartSuppliers,
    WalmartGolocal,
    Depop,
    Wallapop,
    Generic,
    /// A path that leads to none of them; recorded too, so that strays are seen.
    Nowhere,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Token,
    Api,
    /// The authorization endpoint (RFC 6749 §3.1), which a browser visits.
    Consent,
    /// RFC 7009.
    Revocation,
    /// OpenID Connect Discovery 1.0 §4.
    Discovery,
}

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::Token, Self::Api, Self::Consent, Self::Revocation, Self::Discovery];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Api => "api",
            Self::Consent => "consent",
            Self::Revocation => "revocation",
            Self::Discovery => "discovery",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Marketplace {
    pub(super) const ALL: [Self; 6] = [
        Self::WalmartSellers,
        Self::WalmartSuppliers,
        Self::WalmartGolocal,
        Self::Depop,
        Self::Wallapop,
        Self::Generic,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WalmartSellers => "walmart-marketplace",
            Self::WalmartSuppliers => "walmart-supplier",
            Self::WalmartGolocal => "walmart-golocal",
            Self::Depop => "depop",
            Self::Wallapop => "wallapop",
            Self::Generic => "generic",
            Self::Nowhere => "nowhere",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|marketplace| marketplace.name() == name)
    }

    /// The marketplace of a raw path, and the vendor's own path in it (empty where nothing follows the prefix).
    pub(super) fn of_path(path: &str) -> (Self, &str) {
        let below = path.strip_prefix('/').unwrap_or(path);
        let end = below.find('/').unwrap_or(below.len());
        match Self::named(&below[..end]) {
            Some(marketplace) => (marketplace, &below[end..]),
            None => (Self::Nowhere, path),
        }
    }

    pub(super) fn token_path(self) -> &'static str {
        self.endpoint(Kind::Token).unwrap_or_default()
    }

    /// The path of one of the authorization server's endpoints, where there is such a one.
    pub(super) fn endpoint(self, kind: Kind) -> Option<&'static str> {
        match (self, kind) {
            (Self::WalmartSellers | Self::WalmartSuppliers, Kind::Token) => Some("/v3/token"),
            (Self::WalmartGolocal, Kind::Token) => Some("/api-proxy/service/identity/oauth/v1/token"),
            (Self::Depop, Kind::Token) => Some("/api/v1/oauth2/access-token/"),
            (Self::Wallapop, Kind::Token) => Some("/realms/wallapop-connect/protocol/openid-connect/token"),
            (Self::Generic, Kind::Token) => Some("/oauth/token"),
            (Self::WalmartSellers, Kind::Consent) => Some("/authorize"),
            (Self::Depop, Kind::Consent) => Some("/settings/oauth/apps/"),
            (Self::Wallapop, Kind::Consent) => Some("/realms/wallapop-connect/protocol/openid-connect/auth"),
            (Self::Generic, Kind::Consent) => Some("/oauth/authorize"),
            (Self::Wallapop, Kind::Revocation) => {
                Some("/realms/wallapop-connect/protocol/openid-connect/revoke")
            }
            (Self::Generic, Kind::Revocation) => Some("/oauth/revoke"),
            (Self::Wallapop, Kind::Discovery) => {
                Some("/realms/wallapop-connect/.well-known/openid-configuration")
            }
            _ => None,
        }
    }

    /// A call meant for an endpoint counts as one even where a strict server will not find it (a slash too many or too few).
    pub(super) fn kind_of(self, path: &str) -> Kind {
        let meant = path.trim_end_matches('/');
        let is_meant = |kind: &Kind| {
            self.endpoint(*kind).is_some_and(|endpoint| endpoint.trim_end_matches('/') == meant)
        };
        Kind::ALL.into_iter().find(is_meant).unwrap_or(Kind::Api)
    }

    pub(super) fn is_walmart_seller(self) -> bool {
        matches!(self, Self::WalmartSellers | Self::WalmartSuppliers)
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Marketplace};

    #[test]
    fn the_first_segment_names_the_marketplace_and_the_rest_is_left_as_it_came() {
        assert_eq!(Marketplace::of_path("/depop/api/v1/a%2Fb/"), (Marketplace::Depop, "/api/v1/a%2Fb/"));
        assert_eq!(Marketplace::of_path("/depop"), (Marketplace::Depop, ""));
        assert_eq!(Marketplace::of_path("/depo/x"), (Marketplace::Nowhere, "/depo/x"));
        assert_eq!(Marketplace::of_path("//depop/x"), (Marketplace::Nowhere, "//depop/x"));
    }

    #[test]
    fn a_token_call_with_a_forgotten_slash_is_counted_as_one() {
        assert_eq!(Marketplace::Depop.kind_of("/api/v1/oauth2/access-token"), Kind::Token);
        assert_eq!(Marketplace::Depop.kind_of("/api/v1/products/"), Kind::Api);
        assert_eq!(Marketplace::Depop.kind_of("/settings/oauth/apps"), Kind::Consent);
        assert_eq!(Marketplace::Depop.kind_of("/oauth/revoke"), Kind::Api);
        assert_eq!(Marketplace::Nowhere.kind_of(""), Kind::Api);
    }
}
