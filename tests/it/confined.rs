//! What of a marketplace's answer does not reach a caller as it is: our own credential in its head, and the freedom of what a
//! browser would show as a page.

use http::HeaderMap;

use crate::{
    harness::{ALL_APPS, Time, gate},
    wire::Canned,
};

const GET: &str = "GET /canned/x HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// The head of the answer to a request whose upstream answers with `answer`.
fn head_of(answer: &'static [u8], more: &str, check: impl FnOnce(u16, HeaderMap, String) + 'static) {
    let canned = Canned::new();
    let configuration = format!("{}{more}{ALL_APPS}", canned.app());
    gate(Time::Runs, &configuration, |w| async move {
        let _heads = canned.answer(answer, true);
        let answer = w.ask(GET).await;
        check(answer.status, answer.headers, answer.body);
    });
}

#[test]
fn a_credential_of_ours_is_cut_out_of_an_answers_head_wherever_it_stands() {
    head_of(
        b"HTTP/1.1 401 no key-canned here\r\nContent-Length: 10\r\nX-Echo: key-canned\r\nx-echo: Bearer key-canned, key-canned\r\n\
          WWW-Authenticate: Bearer error=\"x\", t=\"key-canned\"\r\nLocation: /y?t=key%2Dcanned&u=%6bey-canned\r\n\
          Link: </z?t=key%252Dcanned>; rel=next\r\nContent-Type: text/plain\r\nX-Other: key-canne\r\n\r\nkey-canned",
        "",
        |status, headers, body| {
            assert_eq!(status, 401);
            assert_eq!(values(&headers, "x-echo"), ["***", "Bearer ***, ***"]);
            assert_eq!(values(&headers, "www-authenticate"), ["Bearer error=\"x\", t=\"***\""]);
            assert_eq!(values(&headers, "location"), ["/canned/y?t=***&u=***"]);
            assert_eq!(values(&headers, "link"), ["</canned/z?t=***>; rel=next"]);
            assert_eq!(values(&headers, "x-other"), ["key-canne"]);
            assert_eq!(body, "key-canned", "bodies stay as they are");
        },
    );
}

#[test]
fn a_reason_phrase_that_holds_the_credential_is_left_out() {
    let canned = Canned::new();
    gate(Time::Runs, &canned.app(), |w| async move {
        let _heads = canned.answer(b"HTTP/1.1 200 Fine, key-canned\r\nContent-Length: 0\r\n\r\n", true);
        let mut wire = crate::wire::Wire::to(w.proxy).await;
        wire.write(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).await;
        let whole = String::from_utf8(wire.rest().await).unwrap();
        assert!(whole.starts_with("HTTP/1.1 200 OK\r\n") && !whole.contains("key-canned"), "{whole}");
    });
}

#[test]
fn a_secret_that_goes_out_beside_the_token_is_cut_out_too() {
    let canned = Canned::new();
    let headers = "headers = { x-api-key = \"{client_id}\", x-signed = \"v1 {client_secret}\", x-plain = \"plain-value\" }\n";
    let app = format!(
        "[apps.canned]\nprovider = \"generic\"\napi = \"http://{}\"\ntoken_url = \"SIM/generic/oauth/token\"\n\
         client_id = \"any-1-id\"\nclient_secret = \"any-1-id-secret\"\n{headers}",
        canned.address
    );
    gate(Time::Runs, &format!("{app}{ALL_APPS}"), |w| async move {
        let _heads = canned.answer(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: any-1-id!\r\nX-B: v1 any-1-id-secret\r\nX-C: plain-value\r\n\r\n",
            true,
        );
        let headers = w.ask(GET).await.headers;
        let all = ["x-a", "x-b", "x-c"].map(|name| values(&headers, name).concat());
        assert_eq!(all, ["***!", "***", "plain-value"]);
    });
}

#[test]
fn a_page_of_the_marketplaces_is_sandboxed_and_what_it_says_itself_stays() {
    head_of(
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: text/html\r\nContent-Security-Policy: default-src 'self'\r\n\
          X-Content-Type-Options: none\r\n\r\n<hi>",
        "",
        |_, headers, body| {
            assert_eq!(values(&headers, "content-security-policy"), ["default-src 'self'", "sandbox"]);
            assert_eq!(values(&headers, "x-content-type-options"), ["nosniff"]);
            assert_eq!(body, "<hi>");
        },
    );
}

#[test]
fn an_answer_of_no_type_is_sandboxed_and_json_is_not() {
    head_of(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<hi>", "", |_, headers, _| {
        assert_eq!(values(&headers, "content-security-policy"), ["sandbox"]);
    });
    head_of(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}",
        "",
        |_, headers, _| {
            assert!(
                !headers.contains_key("content-security-policy")
                    && !headers.contains_key("x-content-type-options")
            );
        },
    );
}
