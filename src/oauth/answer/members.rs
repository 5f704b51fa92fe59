//! The members of a token answer, whatever they are called. RFC 6749 §5.1 names some of them; vendors spell them
//! `accessToken`, `access-token` or `ns:AccessToken`, and name lifetimes as they like.

use crate::provider::TokenMember;

/// In bytes, with namespace and signs.
const LONGEST_NAME: usize = 128;

/// Names without case and signs, with what they mean.
const NAMES: &[(&str, TokenMember)] = &[
    ("accesstoken", TokenMember::AccessToken),
    ("refreshtoken", TokenMember::RefreshToken),
    ("idtoken", TokenMember::IdToken),
    ("tokentype", TokenMember::TokenType),
    ("scope", TokenMember::Scope),
    ("scopes", TokenMember::Scope),
    ("expiresin", TokenMember::ExpiresIn),
    ("expirein", TokenMember::ExpiresIn), // Shopee
    ("expiresinseconds", TokenMember::ExpiresIn),
    ("accesstokenexpiresin", TokenMember::ExpiresIn), // TikTok Shop writes a date there
    ("tokenexpiresin", TokenMember::ExpiresIn),
    ("expires", TokenMember::ExpiresAt), // seconds with Facebook, `.expires` a date with ASP.NET
    ("expiresat", TokenMember::ExpiresAt),
    ("expireat", TokenMember::ExpiresAt),
    ("expireson", TokenMember::ExpiresAt), // Microsoft, version 1
    ("expiration", TokenMember::ExpiresAt),
    ("expirationdate", TokenMember::ExpiresAt),
    ("expirationtime", TokenMember::ExpiresAt),
    ("expiry", TokenMember::ExpiresAt),
    ("expirydate", TokenMember::ExpiresAt),
    ("expirytime", TokenMember::ExpiresAt),
    ("expiretime", TokenMember::ExpiresAt), // Alibaba
    ("accesstokenexpires", TokenMember::ExpiresAt),
    ("accesstokenexpiresat", TokenMember::ExpiresAt),
    ("accesstokenexpirationdate", TokenMember::ExpiresAt),
    ("accesstokenexpirationtime", TokenMember::ExpiresAt),
    ("refreshexpiresin", TokenMember::RefreshExpiresIn), // Keycloak
    ("refreshtokenexpiresin", TokenMember::RefreshExpiresIn),
    ("refreshtokenexpirein", TokenMember::RefreshExpiresIn),
    ("xrefreshtokenexpiresin", TokenMember::RefreshExpiresIn), // Intuit
    ("refreshtokenlifetime", TokenMember::RefreshExpiresIn),
    ("refreshtokenttl", TokenMember::RefreshExpiresIn),
    ("refreshexpires", TokenMember::RefreshExpiresAt),
    ("refreshexpiresat", TokenMember::RefreshExpiresAt),
    ("refreshtokenexpires", TokenMember::RefreshExpiresAt),
    ("refreshtokenexpiresat", TokenMember::RefreshExpiresAt),
    ("refreshtokenexpireson", TokenMember::RefreshExpiresAt),
    ("refreshtokenexpiry", TokenMember::RefreshExpiresAt),
    ("refreshtokenexpirytime", TokenMember::RefreshExpiresAt),
    ("refreshtokenexpirationdate", TokenMember::RefreshExpiresAt),
    ("refreshtokenexpirationtime", TokenMember::RefreshExpiresAt),
    ("refreshtokenvalidtime", TokenMember::RefreshExpiresIn), // Alibaba
];

/// A name without its namespace, case and signs; empty where it is longer than any that is known.
pub(super) fn plain(name: &str) -> String {
    if name.len() > LONGEST_NAME {
        return String::new();
    }
    let local = name.rsplit(':').next().unwrap_or(name);
    local.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// What a member of this plain name means.
pub(super) fn named(plain: &str) -> Option<TokenMember> {
    NAMES.iter().find(|(known, _)| *known == plain).map(|(_, member)| *member)
}
