//! What a caller leaves on a request and must not arrive: credentials in every spelling, fields of one hop, fields that
//! claim an identity or an origin. Of credentials ours alone arrives, once.

use marketgate::sim::fingerprint;

use crate::{
    harness::{ALL_APPS, Time, World, gate},
    refused::{HOST, request},
    wire::Wire,
};

const MARK: &str = "callers-own-7c21f";

/// Fields that must not arrive, `MARK` standing where a secret would.
const DROPPED: [&[&str]; 73] = [
    &["Authorization: Bearer MARK"],
    &["authorization: Bearer MARK", "AUTHORIZATION: Basic MARK"],
    &["Authorization: MARK"],
    &["Authorization_: Bearer MARK"],
    &["Authorization-: Bearer MARK"],
    &["Authorization.: Bearer MARK"],
    &["Proxy-Authorization: Basic MARK"],
    &["Proxy_Authorization: Basic MARK"],
    &["Proxy.Authorization: Basic MARK"],
    &["Authentication: MARK"],
    &["Authentication_: MARK"],
    &["Cookie: session=MARK"],
    &["Cookie: a=MARK", "cookie: b=MARK"],
    &["Cookie_: a=MARK"],
    &["WM_SEC.ACCESS_TOKEN: MARK"],
    &["wm_sec.access_token: MARK", "WM_SEC.ACCESS_TOKEN: MARK"],
    &["WM-SEC.ACCESS-TOKEN: MARK"],
    &["wm-sec-access-token: MARK"],
    &["WM_SEC_ACCESS_TOKEN: MARK"],
    &["wm.sec.access.token: MARK"],
    &["WM_SEC.ACCESS_TOKEN_: MARK"],
    &["WM_PARTNER.ID: MARK"],
    &["WM-PARTNER-ID: MARK"],
    &["WM_PARTNER_ID: MARK"],
    &["WM_CONSUMER.ID: MARK"],
    &["WM-CONSUMER-ID: MARK"],
    &["wm.consumer.id: MARK"],
    &["Connection: X-Secret", "X-Secret: MARK"],
    &["Connection: keep-alive, x-secret", "X-SECRET: MARK"],
    &["Connection: keep-alive", "Connection: x-a,x-b", "X-A: MARK", "X-B: MARK"],
    &["Connection: close, X-Secret", "X-Secret: MARK"],
    &["Connection: accept, x-secret", "X-Secret: MARK"],
    &["Connection: authorization, wm_sec.access_token, x-amz-access-token", "Authorization: MARK"],
    &["Connection: host, content-length, transfer-encoding, wm_qos.correlation_id"],
    &["Connection: marketgate-key, close", "Marketgate-Key: MARK"],
    &["Keep-Alive: MARK"],
    &["Proxy-Connection: MARK"],
    &["TE: trailers, MARK"],
    &["Trailer: MARK"],
    &["Connection: Upgrade", "Upgrade: MARK"],
    &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: MARK"],
    &["Upgrade: websocket, MARK"],
    &["Expect: 100-continue"],
    &["X-Forwarded-For: MARK"],
    &["X-Forwarded-Host: MARK"],
    &["X-Forwarded-Proto: MARK"],
    &["X-Forwarded-Port: MARK"],
    &["X-Forwarded-Prefix: MARK"],
    &["X-Forwarded-Anything: MARK"],
    &["X_Forwarded_Host: MARK"],
    &["Forwarded: for=MARK"],
    &["X-Real-IP: MARK"],
    &["X_Real_IP: MARK"],
    &["X-Original-URL: /MARK"],
    &["X-Rewrite-URL: /MARK"],
    &["Marketgate-Key: MARK"],
    &["Marketgate-Explain: MARK"],
    &["Authorization+: MARK"],
    &["!Authorization: MARK"],
    &["Proxy~Authorization: MARK"],
    &["WM+SEC|ACCESS^TOKEN: MARK"],
    &["WM~CONSUMER.ID: MARK"],
    &["WM'PARTNER`ID: MARK"],
    &["X%Forwarded&Host: MARK"],
    &["X*Real*IP: MARK"],
    &["Keep_Alive: MARK"],
    &["TE_: MARK"],
    &["Proxy#Connection: MARK"],
    &["Host_: MARK"],
    &["-Content-Length: 7", "Content.Length.: 7", "X-Original+Url: /MARK"],
    &["HTTP2$Settings: MARK"],
    &["Proxy-Authenticate: MARK"],
    &["Proxy-Authentication-Info: MARK"],
];

#[test]
fn of_everything_a_caller_may_leave_on_a_request_only_our_credential_arrives_and_it_once() {
    let amazon = "[apps.amazon]\nprovider = \"generic\"\napi = \"SIM/generic/api\"\ntoken_url = \"SIM/generic/oauth/token\"\n\
                  client_id = \"amazon-1\"\nclient_secret = \"amazon-1-secret\"\ntoken_header = \"X-Amz-Access-Token\"\ntoken_prefix = \"\"\n";
    gate(Time::Runs, &format!("{ALL_APPS}{amazon}"), |w| async move {
        for (path, header) in [
            ("/any/x", "authorization"),
            ("/many@a/x", "authorization"),
            ("/amazon/x", "x-amz-access-token"),
            ("/walmart/v3/items", "wm_sec.access_token"),
            ("/golocal/deliveries", "authorization"),
            ("/depop/api/v1/shop/", "authorization"),
        ] {
            for fields in DROPPED {
                arrives_clean(&w, path, header, fields).await;
            }
        }
        for spelling in [
            "X-Amz-Access-Token",
            "x_amz_access_token",
            "x.amz.access.token",
            "X-Amz-Access-Token_",
            "X+Amz|Access~Token",
        ] {
            arrives_clean(&w, "/amazon/x", "x-amz-access-token", &[&format!("{spelling}: MARK")]).await;
        }
    });
}

async fn arrives_clean(w: &World, path: &str, credential: &str, fields: &[&str]) {
    let lines: String = fields.iter().map(|field| format!("{}\r\n", field.replace("MARK", MARK))).collect();
    let answer = w.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")).await;
    let arrived = w.sim.requests().pop().unwrap();
    assert_eq!(answer.status, 200, "{path} {fields:?}: {} {arrived:?}", answer.body);
    assert!(arrived.violations.is_empty(), "{path} {fields:?}: {:?}", arrived.violations);
    let credentials: Vec<_> = arrived.headers.iter().filter(|(_, value)| value.contains("sha256:")).collect();
    assert!(credentials.len() == 1 && credentials[0].0 == credential, "{path} {fields:?}: {credentials:?}");
    no_mark(&arrived, MARK, &format!("{path} {fields:?}"));
}

/// Neither the text nor, where the simulator shows fingerprints only, its fingerprint.
pub(crate) fn no_mark(arrived: &marketgate::sim::RecordedRequest, mark: &str, what: &str) {
    let all = format!("{:?} {:?}", arrived.headers, arrived.trailers);
    assert!(!all.contains(mark) && !all.contains(&fingerprint(mark)), "{what}: {all}");
}

#[test]
fn what_connection_nominates_still_chooses_the_account_and_frames_the_body() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let named = [
            "Host: localhost",
            "Connection: marketgate-account, host, content-length",
            "Marketgate-Account: b",
        ];
        let head = request("POST", &[&named[..], &["Content-Length: 2"]].concat()).replace("/any/", "/many/");
        let answer = w.ask(format!("{head}ab")).await;
        assert_eq!(
            (answer.status, answer.json()["account"].as_str()),
            (200, Some("many-b")),
            "{}",
            answer.body
        );
        assert_eq!(answer.json()["body_length"], 2);
    });
}

#[test]
fn trailers_end_at_the_proxy() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for trailer in
            ["Authorization: Bearer callers-own-7c21f", "X-Checksum: callers-own-7c21f", "Host: evil.test"]
        {
            let head =
                request("POST", &["Host: localhost", "Transfer-Encoding: chunked", "Trailer: X-Checksum"]);
            let answer = w.ask(format!("{head}2\r\nab\r\n0\r\n{trailer}\r\n\r\n")).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let arrived = w.sim.requests().pop().unwrap();
            assert_eq!((arrived.body_length, arrived.trailers.len()), (Some(2), 0), "{:?}", arrived.trailers);
            no_mark(&arrived, MARK, trailer);
        }
    });
}

#[test]
fn a_request_for_another_protocol_is_answered_as_what_it_is_and_nothing_is_tunnelled() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for upgrade in ["websocket", "h2c", "TLS/1.0"] {
            let mut wire = Wire::to(w.proxy).await;
            let lines = [
                "Host: localhost",
                "Connection: Upgrade",
                &format!("Upgrade: {upgrade}"),
                "Content-Length: 2",
            ];
            wire.write(request("POST", &lines).as_bytes()).await;
            wire.write(b"abGET /any/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            let answer = wire.answer().await.unwrap();
            assert!(matches!(answer.status, 200 | 400), "{upgrade}: {}", answer.status);
            assert!(!answer.headers.contains_key("upgrade"));
        }
        assert!(!w.sim.requests().iter().any(|r| r.target.contains("smuggled")));
        assert!(w.sim.requests().iter().all(|r| r.violations.is_empty()));
    });
}

#[test]
fn trace_would_show_our_credential_to_the_caller_and_goes_nowhere() {
    // RFC 9110 §9.3.8: the answer repeats the request, and a client must send nothing secret in one.
    gate(Time::Runs, ALL_APPS, |w| async move {
        let answer = w.ask(request("TRACE", &[HOST])).await;
        assert!((400..=501).contains(&answer.status), "{}", answer.status);
        assert_eq!(w.arrived(), 0);
    });
}
