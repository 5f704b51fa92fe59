//! Codes and families, without sockets.

use super::{Asked, Authorized, BadCode, BadRefresh, Consented, Ended, Entitled, Form, Grants, Unasked};
use super::{Moment, Policy, Redemption, Shown, Successor};
use crate::sim::marketplace::Marketplace;

const DEPOP: Marketplace = Marketplace::Depop;
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Spoils a redemption.
type Miss = fn(&mut Redemption<'_>);

fn at(seconds: u64) -> Moment {
    Moment { now: seconds * 1000, epoch: 1_800_000_000_000 + seconds * 1000 }
}

fn redemption(code: &str) -> Redemption<'_> {
    Redemption {
        marketplace: DEPOP,
        client: "app",
        partner: None,
        code,
        redirect_uri: Some("https://x.example/cb"),
        verifier: Some(VERIFIER),
    }
}

fn code(grants: &mut Grants) -> String {
    let asked = Authorized {
        marketplace: DEPOP,
        client: "app".to_owned(),
        redirect_uri: "https://x.example/cb".to_owned(),
        challenge: Some(CHALLENGE.to_owned()),
        scope: String::new(),
        seller: "shop".to_owned(),
        session: None,
    };
    grants.codes.issue(asked, &Policy::of(DEPOP), 0)
}

/// A family and its first refresh token.
fn connected(grants: &mut Grants) -> String {
    let code = code(grants);
    let entitled = grants.redeem(&redemption(&code), &Policy::of(DEPOP), at(0));
    entitled.unwrap_or_else(|bad| panic!("{bad:?}")).refresh_token.unwrap()
}

fn renew(grants: &mut Grants, token: &str, policy: &Policy, seconds: u64) -> Result<String, BadRefresh> {
    let shown = Shown { marketplace: DEPOP, client: "app", partner: None, token, found: None };
    grants
        .families
        .renew(&shown, policy, at(seconds))
        .map(|entitled: Entitled| entitled.refresh_token.unwrap())
}

fn lenient(grace_brings: Successor) -> Policy {
    Policy { grace_seconds: 10, grace_brings, ..Policy::of(DEPOP) }
}

#[test]
fn a_grant_without_its_own_parameter_is_told_what_it_lacks() {
    let asked = |form: &str| Asked::of(&Form::parse(form.as_bytes()).unwrap());
    assert_eq!(asked("grant_type=client_credentials"), Ok(Asked::ClientCredentials));
    assert_eq!(asked("grant_type=refresh_token"), Err(Unasked::Lacks("refresh_token")));
    assert_eq!(asked("grant_type=authorization_code&code="), Err(Unasked::Lacks("code")));
    assert_eq!(asked("grant_type="), Err(Unasked::NoGrantType));
    assert_eq!(asked("grant_type=x"), Err(Unasked::UnknownGrantType("x".into())));
}

#[test]
fn a_code_is_used_up_by_a_failed_attempt_too() {
    let policy = Policy::of(DEPOP);
    let near: [(Miss, BadCode); 5] = [
        (|shown| shown.client = "other", BadCode::OtherClient),
        (|shown| shown.redirect_uri = Some("https://x.example/cb/"), BadCode::OtherRedirect),
        (|shown| shown.redirect_uri = None, BadCode::OtherRedirect),
        (|shown| shown.verifier = None, BadCode::NoVerifier),
        (|shown| shown.verifier = Some(CHALLENGE), BadCode::WrongVerifier),
    ];
    for (miss, expected) in near {
        let mut grants = Grants::default();
        let code = code(&mut grants);
        let mut shown = redemption(&code);
        miss(&mut shown);
        assert_eq!(grants.redeem(&shown, &policy, at(1)).err(), Some(expected));
        assert_eq!(grants.redeem(&redemption(&code), &policy, at(1)).err(), Some(BadCode::Used(None)));
    }
}

#[test]
fn a_code_works_until_its_last_millisecond_and_for_its_own_marketplace() {
    let policy = Policy::of(DEPOP);
    let mut grants = Grants::default();
    let late = code(&mut grants);
    let elsewhere = Redemption { marketplace: Marketplace::Generic, ..redemption(&late) };
    assert_eq!(grants.redeem(&elsewhere, &policy, at(1)).err(), Some(BadCode::Unknown));
    assert_eq!(grants.redeem(&redemption(&late), &policy, at(600)).err(), Some(BadCode::Expired));
    let timely = code(&mut grants);
    let before = Moment { now: 599_999, ..at(0) };
    assert!(grants.redeem(&redemption(&timely), &policy, before).is_ok());
}

#[test]
fn a_replayed_code_ends_what_it_founded() {
    let mut grants = Grants::default();
    let policy = Policy::of(DEPOP);
    let code = code(&mut grants);
    let token = grants.redeem(&redemption(&code), &policy, at(0)).ok().unwrap().refresh_token.unwrap();
    assert_eq!(grants.redeem(&redemption(&code), &policy, at(1)).err(), Some(BadCode::Used(Some(1))));
    assert_eq!(renew(&mut grants, &token, &policy, 2), Err(BadRefresh::Ended(Ended::CodeReplayed)));
}

#[test]
fn a_spent_refresh_token_ends_its_whole_family() {
    let (mut grants, policy) = (Grants::default(), Policy::of(DEPOP));
    let (first, bystander) = (connected(&mut grants), connected(&mut grants));
    let second = renew(&mut grants, &first, &policy, 1).unwrap();
    let third = renew(&mut grants, &second, &policy, 2).unwrap();
    assert_eq!(renew(&mut grants, &second, &policy, 2), Err(BadRefresh::Reused));
    assert_eq!(renew(&mut grants, &third, &policy, 3), Err(BadRefresh::Ended(Ended::RefreshTokenReused)));
    assert!(renew(&mut grants, &bystander, &policy, 3).is_ok());
    let family = &grants.families.reports()[0];
    assert_eq!((family.refreshes, family.rotations, family.reuse_attempts), (2, 2, 1));
}

#[test]
fn grace_gives_a_retry_a_fresh_successor_and_spends_the_lost_one() {
    let (mut grants, policy) = (Grants::default(), lenient(Successor::Fresh));
    let first = connected(&mut grants);
    let lost = renew(&mut grants, &first, &policy, 0).unwrap();
    let second = renew(&mut grants, &first, &policy, 9).unwrap();
    assert_ne!(lost, second);
    let third = renew(&mut grants, &second, &policy, 10).unwrap();
    // The first is two rotations behind, the lost one was spent by its sibling's making.
    assert_eq!(renew(&mut grants, &lost, &policy, 20), Err(BadRefresh::Reused));
    assert_eq!(renew(&mut grants, &third, &policy, 20), Err(BadRefresh::Ended(Ended::RefreshTokenReused)));
    assert_eq!(grants.families.reports()[0].forgiven, 1);
}

#[test]
fn grace_gives_a_retry_the_same_successor_where_the_server_does_so() {
    let (mut grants, policy) = (Grants::default(), lenient(Successor::Same));
    let first = connected(&mut grants);
    let second = renew(&mut grants, &first, &policy, 0).unwrap();
    assert_eq!(renew(&mut grants, &first, &policy, 9), Ok(second.clone()));
    assert_eq!(renew(&mut grants, &first, &policy, 10), Err(BadRefresh::Reused));
    assert_eq!(renew(&mut grants, &second, &policy, 10), Err(BadRefresh::Ended(Ended::RefreshTokenReused)));
}

#[test]
fn grace_forgives_no_token_that_is_two_rotations_behind() {
    for brings in [Successor::Fresh, Successor::Same] {
        let (mut grants, policy) = (Grants::default(), lenient(brings));
        let first = connected(&mut grants);
        let second = renew(&mut grants, &first, &policy, 0).unwrap();
        renew(&mut grants, &second, &policy, 1).unwrap();
        assert_eq!(renew(&mut grants, &first, &policy, 2), Err(BadRefresh::Reused), "{brings:?}");
    }
}

#[test]
fn rotation_does_not_move_the_end_of_a_consent() {
    let (mut grants, policy) = (Grants::default(), Policy::of(DEPOP));
    let mut token = connected(&mut grants);
    for day in 1..365 {
        token = renew(&mut grants, &token, &policy, day * 86_400).unwrap();
    }
    assert_eq!(renew(&mut grants, &token, &policy, 365 * 86_400), Err(BadRefresh::Over));
}

#[test]
fn a_token_is_shown_again_when_it_is_shown_again_whatever_came_of_it() {
    let mut grants = Grants::default();
    let token = connected(&mut grants);
    assert_eq!(grants.families.note_shown(DEPOP, &token).as_deref(), Some("shop"));
    assert_eq!(grants.families.reports()[0].shown_again, 0);
    grants.families.note_shown(DEPOP, &token);
    assert_eq!(grants.families.reports()[0].shown_again, 1);
    assert_eq!(grants.families.note_shown(Marketplace::Wallapop, &token), None);
}

#[test]
fn uses_are_counted_where_the_server_counts_them_however_long_ago_the_first_was() {
    let counted = |most| Policy { max_reuse: Some(most), grace_seconds: 10, ..Policy::of(DEPOP) };
    let mut grants = Grants::default();
    let first = connected(&mut grants);
    let lost = renew(&mut grants, &first, &counted(1), 0).unwrap();
    let second = renew(&mut grants, &first, &counted(1), 100_000).unwrap();
    assert_ne!(lost, second);
    assert_eq!(renew(&mut grants, &first, &counted(1), 100_000), Err(BadRefresh::Reused));
    assert_eq!(
        renew(&mut grants, &second, &counted(1), 100_000),
        Err(BadRefresh::Ended(Ended::RefreshTokenReused))
    );
    let strict = connected(&mut grants);
    renew(&mut grants, &strict, &counted(0), 0).unwrap();
    assert_eq!(renew(&mut grants, &strict, &counted(0), 0), Err(BadRefresh::Reused));
}

#[test]
fn a_token_that_a_repetition_replaced_has_no_use_left_where_uses_are_counted() {
    let policy = Policy { max_reuse: Some(5), ..Policy::of(DEPOP) };
    let mut grants = Grants::default();
    let first = connected(&mut grants);
    let lost = renew(&mut grants, &first, &policy, 0).unwrap();
    renew(&mut grants, &first, &policy, 1).unwrap();
    assert_eq!(renew(&mut grants, &lost, &policy, 2), Err(BadRefresh::Reused));
}

#[test]
fn a_server_that_only_refuses_repetitions_leaves_the_family_alone() {
    let policy = Policy { reuse_ends_family: false, ..Policy::of(DEPOP) };
    let mut grants = Grants::default();
    let first = connected(&mut grants);
    let second = renew(&mut grants, &first, &policy, 0).unwrap();
    assert_eq!(renew(&mut grants, &first, &policy, 1), Err(BadRefresh::Reused));
    assert!(renew(&mut grants, &second, &policy, 1).is_ok());
}

/// A consent of five minutes.
fn consented() -> Consented {
    Consented {
        marketplace: DEPOP,
        client: "app".to_owned(),
        seller: "shop".to_owned(),
        session: None,
        scope: String::new(),
        lifetime: None,
        lasts: 300,
    }
}

#[test]
fn a_sliding_end_moves_with_each_refresh_and_never_past_the_consents() {
    for rotates in [true, false] {
        let policy = Policy { refresh_token_seconds: Some(120), rotates, ..Policy::of(DEPOP) };
        let mut grants = Grants::default();
        let found =
            |grants: &mut Grants| grants.families.found(consented(), &policy, at(0)).refresh_token.unwrap();
        let mut token = found(&mut grants);
        for second in [119, 238, 299] {
            let shown =
                Shown { marketplace: DEPOP, client: "app", partner: None, token: &token, found: None };
            let entitled =
                grants.families.renew(&shown, &policy, at(second)).unwrap_or_else(|bad| panic!("{bad:?}"));
            assert_eq!(entitled.ends_at, Some(300_000.min((second + 120) * 1000)));
            token = entitled.refresh_token.unwrap_or(token);
        }
        assert_eq!(renew(&mut grants, &token, &policy, 300), Err(BadRefresh::Over), "{rotates}");
        let mut grants = Grants::default();
        let token = found(&mut grants);
        assert_eq!(renew(&mut grants, &token, &policy, 120), Err(BadRefresh::Over), "{rotates}");
    }
}
