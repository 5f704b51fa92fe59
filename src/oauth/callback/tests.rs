use proptest::prelude::*;

use super::*;
use crate::provider::{GrantKind, Keys, Preset, Profile};

const STATE: &str = "mg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const REDIRECT: &str = "https://yourapp.com/callback";

fn read(text: &str) -> Result<Callback, CallbackError> {
    Callback::read(text)
}

fn error(text: &str) -> CallbackError {
    read(text).map(|_| ()).unwrap_err()
}

/// The code of a callback that must be one.
fn code(text: &str) -> String {
    match read(text).unwrap_or_else(|error| panic!("{text}: {error}")).outcome {
        Outcome::Code(code) => code.expose().to_owned(),
        Outcome::Denied { error, .. } => panic!("{text}: {error}"),
    }
}

#[test]
fn a_callback_is_read_as_people_paste_it() {
    let query = format!("code=c%2Fd%2B1&state={STATE}&session_state=x");
    for text in [
        format!("{REDIRECT}?{query}"),
        format!("  {REDIRECT}?{query}\r\n"),
        format!("\"{REDIRECT}?{query}\""),
        format!("' {REDIRECT}?{query}'"),
        format!("<{REDIRECT}?{query}>"),
        format!("“{REDIRECT}?{query}”"),
        format!("{REDIRECT}?{query}#_=_"),
        format!("{REDIRECT}?{query}#"),
        format!("/callback?{query}"),
        format!("?{query}"),
        query.clone(),
        format!("{query}#_=_"),
        format!("{query}&iss=https://issuer.test/a?b"),
        format!("&&{query}&"),
    ] {
        let callback = read(&text).unwrap();
        assert_eq!((callback.state.expose(), code(&text).as_str()), (STATE, "c/d+1"), "{text}");
        callback.check_address(REDIRECT).unwrap();
    }
}

#[test]
fn what_is_no_callback_says_why() {
    let good = format!("code=c&state={STATE}");
    for (text, expected) in [
        (String::new(), CallbackError::NotOne),
        ("c0de".into(), CallbackError::NotOne),
        (REDIRECT.into(), CallbackError::NotOne),
        (format!("{REDIRECT}?a=b"), CallbackError::NotOne),
        (format!("{REDIRECT}#{good}"), CallbackError::NotOne),
        (format!("{REDIRECT}?code=c"), CallbackError::Missing("state")),
        (format!("{REDIRECT}?code=c&state="), CallbackError::Missing("state")),
        (format!("?state={STATE}"), CallbackError::Missing("code")),
        (format!("?code=&state={STATE}"), CallbackError::Missing("code")),
        (format!("?{good}&state={STATE}"), CallbackError::Twice("state")),
        (format!("?{good}&code=c"), CallbackError::Twice("code")),
        (format!("?{good}&co%64e=c"), CallbackError::Twice("code")),
        (format!("?{good}&iss=a&iss=a"), CallbackError::Twice("iss")),
        (format!("?error=a&error=b&state={STATE}"), CallbackError::Twice("error")),
        (format!("?{good}&error=access_denied"), CallbackError::Contradictory),
        (format!("?code=c&amp;state={STATE}"), CallbackError::HtmlEscaped),
        (format!("?code=c%00&state={STATE}"), CallbackError::Unusable("code")),
        (format!("?code=c%0a&state={STATE}"), CallbackError::Unusable("code")),
        (format!("?code=c%ff&state={STATE}"), CallbackError::Unusable("code")),
        (format!("?code=c&state={STATE}%0d%0aset-cookie:x"), CallbackError::Unusable("state")),
        (format!("?{good}&iss=%e2%80%ae"), CallbackError::Unusable("iss")),
        (format!("?code=c\n&state={STATE}"), CallbackError::ControlCharacter),
        (format!("?{good}\u{1b}[31m"), CallbackError::ControlCharacter),
        (format!("?{good}&x={}", "x".repeat(LONGEST)), CallbackError::TooLong),
    ] {
        assert_eq!(error(&text), expected, "{text:.80}");
    }
    let most = format!("?{good}&x={}", "x".repeat(LONGEST - good.len() - 4));
    assert_eq!((most.len(), code(&most).as_str()), (LONGEST, "c"));
}

#[test]
fn a_refusal_is_told_without_what_could_harm_a_page_or_a_terminal() {
    let text = format!(
        "?error=access_denied&error_description=<script>alert(1)</script>%0d%0a%1b[31mno {STATE}&state={STATE}"
    );
    let Outcome::Denied { error, description } = read(&text).unwrap().outcome else { panic!("consented") };
    assert_eq!(error, "access_denied");
    let description = description.unwrap();
    assert!(!description.contains(char::is_control) && !description.contains(STATE), "{description}");
    let silent = format!("?error=%1b&error_description=&state={STATE}");
    let Outcome::Denied { error, description } = read(&silent).unwrap().outcome else { panic!("consented") };
    assert_eq!((error.as_str(), description), ("", None));
}

#[test]
fn nothing_but_the_redirect_address_itself_is_it() {
    let query = format!("code=c&state={STATE}");
    let near_misses = [
        "http://yourapp.com/callback",
        "HTTPS://yourapp.com/callback",
        "https://YourApp.com/callback",
        "https://yourapp.com/Callback",
        "https://yourapp.com/callback/",
        "https://yourapp.com//callback",
        "https://yourapp.com/callback%2F",
        "https://yourapp.com%2Fcallback",
        "https://yourapp.com/%63allback",
        "https://yourapp.com/callbac",
        "https://yourapp.com/callback2",
        "https://yourapp.com/callback;a=b",
        "https://yourapp.com/x/../callback",
        "https://yourapp.com/./callback",
        "https://yourapp.com:443/callback",
        "https://yourapp.com:8443/callback",
        "https://yourapp.com./callback",
        "https://yourapp.com.evil.test/callback",
        "https://yourapp.com@evil.test/callback",
        "https://user@yourapp.com/callback",
        "https://evil.test/callback",
        "https://evil.test\\@yourapp.com/callback",
        "https:/yourapp.com/callback",
        "yourapp.com/callback",
        "/callback/",
        "//yourapp.com/callback",
        "/Callback",
    ];
    for address in near_misses {
        let callback = read(&format!("{address}?{query}")).unwrap();
        let expected = CallbackError::WrongAddress { expected: REDIRECT.to_owned() };
        assert_eq!(callback.check_address(REDIRECT), Err(expected), "{address}");
    }
    let bare = read(&format!("https://yourapp.com/?{query}")).unwrap();
    bare.check_address("https://yourapp.com").unwrap();
    assert!(bare.check_address("https://yourapp.com:443").is_err());
    read(&format!("/?{query}")).unwrap().check_address("http://127.0.0.1:1234").unwrap();
}

#[test]
fn a_query_of_the_redirect_addresss_own_comes_back_with_it() {
    let registered = "https://yourapp.com/callback?shop=a%20b&x=1&x=2";
    let at = |query: &str| {
        let text = format!("https://yourapp.com/callback?{query}&code=c&state={STATE}");
        read(&text).unwrap().check_address(registered)
    };
    at("shop=a%20b&x=1&x=2").unwrap();
    at("shop=a+b&x=1&x=2&extra=ignored").unwrap();
    for near_miss in [
        "shop=a%20b&x=1",
        "shop=a%20b&x=2&x=1",
        "shop=a%20c&x=1&x=2",
        "Shop=a%20b&x=1&x=2",
        "shop=a%20b&shop=z&x=1&x=2",
    ] {
        assert!(at(near_miss).is_err(), "{near_miss}");
    }
    read(&format!("code=c&state={STATE}")).unwrap().check_address(registered).unwrap();
}

fn authorization(provider: &str) -> Authorization {
    let keys = Keys { grant: Some(GrantKind::AuthorizationCode), ..Keys::default() };
    let preset = Preset::named(provider).unwrap();
    Profile::build(provider, preset, "production", "", &keys).unwrap().authorization.unwrap()
}

#[test]
fn an_answer_of_another_issuer_is_not_used() {
    let issuer = "https://iam.wallapop.com/realms/wallapop-connect";
    let check = |iss: Option<&str>, provider: &str| {
        let iss = iss.map(|iss| format!("&iss={}", super::super::form::encode(iss))).unwrap_or_default();
        read(&format!("?code=c&state={STATE}{iss}")).unwrap().check_issuer(&authorization(provider))
    };
    check(Some(issuer), "wallapop").unwrap();
    let expected = || issuer.to_owned();
    assert_eq!(check(None, "wallapop"), Err(CallbackError::IssuerMissing { expected: expected() }));
    for other in
        [&format!("{issuer}/"), "https://IAM.wallapop.com/realms/wallapop-connect", "https://evil.test"]
    {
        let wrong = CallbackError::WrongIssuer { expected: expected() };
        assert_eq!(check(Some(other), "wallapop"), Err(wrong), "{other}");
    }
    check(None, "depop").unwrap();
    check(Some("https://evil.test"), "depop").unwrap();
}

#[test]
fn an_issuer_counts_for_refusals_too_and_is_optional_where_it_is_not_promised() {
    let authorization = Authorization { iss_promised: false, ..authorization("wallapop") };
    let refusal = |iss: &str| read(&format!("?error=access_denied&state={STATE}{iss}")).unwrap();
    refusal("").check_issuer(&authorization).unwrap();
    assert!(refusal("&iss=https://evil.test").check_issuer(&authorization).is_err());
}

#[test]
fn other_parameters_are_given_when_they_are_there_once_and_can_be_sent() {
    let callback = read(&format!(
        "?code=c&state={STATE}&type=auth&sellerId=10000000123&twice=1&twice=1&bad=%0a&long={}",
        "x".repeat(257)
    ));
    let callback = callback.unwrap();
    assert_eq!(callback.parameter("sellerId").as_deref(), Some("10000000123"));
    for absent in ["code", "state", "sellerid", "twice", "bad", "long", "none"] {
        assert_eq!(callback.parameter(absent), None, "{absent}");
    }
}

#[test]
fn a_callback_shows_neither_its_code_nor_its_state() {
    let text = format!("{REDIRECT}?code=marker-4711&state={STATE}&sellerId=1");
    let callback = read(&text).unwrap();
    let shown = format!("{callback:?} {:?}", callback.check_address("https://elsewhere.test/"));
    assert!(!shown.contains("4711") && !shown.contains(STATE), "{shown}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_mixture_of_its_own_signs_makes_it_panic_or_reads_two_ways(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "code=", "state=", "error=", "iss=", "error_description=", "&", "=", "?", "/", "#", ":", "%", "%0", "%ff",
                "%00", "+", "\"", "amp;", "https://yourapp.com/callback", "c", "mg_x", "é", " ",
            ]),
            0..24,
        )
    ) {
        let text = pieces.concat();
        if let Ok(callback) = read(&text) {
            prop_assert!(!callback.state.expose().is_empty());
            let _ = (callback.check_address(REDIRECT), callback.parameter("c"), format!("{callback:?}"));
            if let Outcome::Code(code) = &callback.outcome {
                prop_assert!(code.expose().bytes().all(|b| (0x20..0x7f).contains(&b)));
            }
        }
    }

    #[test]
    fn whatever_a_code_holds_it_comes_out_as_it_went_in(code_in in "[ -~]{1,60}") {
        let text = format!("{REDIRECT}?code={}&state={STATE}", super::super::form::encode(&code_in));
        prop_assert_eq!(code(&text), code_in);
    }
}
