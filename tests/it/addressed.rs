//! What names an account, misspelt: it is refused, and never served as the default account.

use crate::{
    harness::{ALL_APPS, Time, World, gate, gate_with},
    refused::{HOST, refused, request},
};

/// A listener of one app, at which no account is named.
const LISTENER: &str = "app = \"depop\"";

#[test]
fn a_misspelt_header_of_ours_is_refused_by_name() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for name in [
            "Marketgate_Account",
            "marketgate.account",
            "MARKETGATE--ACCOUNT",
            "Marketgate+Account",
            "MarketgateAccount",
            "Market-Gate-Account",
            "-Marketgate-Account",
            "Marketgate-Account_",
            "X-Marketgate-Account",
            "Marketgate-Acount",
            "Marketgate-Accounts",
            "Markegate-Account",
            "Marketgate_App",
            "Marketgate-Apps",
            "Marketgate-Tenant",
            "Marketgate",
            "Marketgate-",
            "Marketgate_Key",
        ] {
            let field = format!("{name}: s1");
            refused(&w, name, &request("GET", &[HOST, &field]), 400, "bad_request").await;
        }
        let said = w.ask(request("GET", &[HOST, "Marketgate-Acount: s1"])).await.json();
        let detail = said["detail"].as_str().unwrap();
        assert!(
            detail.contains("`marketgate-acount`") && detail.contains("did you mean `Marketgate-Account`?"),
            "{detail}"
        );
        assert!(said["action"].as_str().unwrap().contains("Marketgate-Explain"), "{said}");
    });
}

#[test]
fn a_header_that_names_no_account_or_two_is_refused() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for fields in [
            &["Marketgate-Account:"][..],
            &["Marketgate-Account: \t "],
            &["Marketgate-Account: a b"],
            &["Marketgate-Account: a, b"],
            &["Marketgate-Account: many@a"],
            &["Marketgate-Account: a%20"],
            &["Marketgate-Account: a", "Marketgate-Account: a"],
            &["Marketgate-Account: a", "Marketgate-Account:"],
            &["Marketgate-App:"],
        ] {
            let fields: Vec<&str> = [HOST].into_iter().chain(fields.iter().copied()).collect();
            refused(&w, &format!("{fields:?}"), &request("GET", &fields), 400, "bad_route").await;
        }
    });
}

#[test]
fn an_account_named_after_the_body_is_refused_before_it() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for list in ["Marketgate-Account", "x-sum, marketgate_account"] {
            let trailer = format!("Trailer: {list}");
            let head = request("POST", &[HOST, "Transfer-Encoding: chunked", &trailer]);
            let whole = format!("{head}0\r\nMarketgate-Account: a\r\n\r\n");
            refused(&w, list, &whole, 400, "bad_request").await;
        }
    });
}

/// First segments that mean to name an account and name none.
const BAD: [&str; 12] = [
    "any@",
    "any%40",
    "any@default%20",
    "any@%20default",
    "any@a@b",
    "any%20@default",
    "@default",
    "@",
    "any@-x",
    "any@caf%C3%A9",
    "Any@default",
    "any%2540default",
];

fn at(path: &str, fields: &[&str]) -> String {
    let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("GET /{path}/q HTTP/1.1\r\n{HOST}\r\n{lines}\r\n")
}

#[test]
fn a_first_segment_with_an_at_sign_that_is_no_app_and_account_is_refused() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for segment in BAD {
            let answer = w.ask(at(segment, &[])).await;
            assert!(
                matches!(answer.code().as_str(), "bad_route" | "no_such_app"),
                "{segment}: {}",
                answer.body
            );
            refused(&w, segment, &at(segment, &["Marketgate-App: any"]), 400, "bad_route").await;
        }
        refused(&w, "a prefix", &at("any@", &[]), 400, "bad_route").await;
        let said = w.ask(at("any@default%20", &[])).await.json();
        assert!(
            said["detail"].as_str().unwrap().contains("`/any@default%20`, which is no APP@ACCOUNT"),
            "{said}"
        );
    });
}

#[test]
fn a_listener_of_one_app_takes_no_prefix_for_the_marketplaces_path() {
    gate_with(Time::Runs, ALL_APPS, Some(LISTENER), marketgate::grant::live::CAPACITY, |w| async move {
        let fixed = w.fixed.unwrap();
        for segment in
            BAD.into_iter().chain(["depop@s1", "depop%40default", "any@default", "user@example.com"])
        {
            let answer = crate::wire::ask(fixed, at(segment, &[])).await.unwrap();
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (400, "bad_route"),
                "{segment}: {}",
                answer.body
            );
            assert_eq!(w.arrived(), 0, "{segment}");
        }
    });
}

#[test]
fn a_path_of_the_marketplaces_own_may_hold_an_at_sign_where_the_account_is_named() {
    gate(Time::Runs, ALL_APPS, |w: std::rc::Rc<World>| async move {
        let named = ["Marketgate-App: any", "Marketgate-Account: default"];
        for segment in ["@me", "user@example.com", "any%20@default"] {
            assert_eq!(w.ask(at(segment, &named)).await.status, 200, "{segment}");
            let target = w.sim.requests().pop().unwrap().target;
            assert_eq!(target, format!("/generic/api/{segment}/q"));
            assert_eq!(w.ask(at(&format!("any/{segment}"), &[])).await.status, 200, "{segment}");
        }
        refused_as_contradiction(&w).await;
    });
}

async fn refused_as_contradiction(w: &World) {
    let answer = w.ask(at("many@a", &["Marketgate-App: any", "Marketgate-Account: default"])).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "bad_route"), "{}", answer.body);
}
