//! The simulated marketplaces over real sockets: a token, a list, a read and a write at each, a refusal each, and
//! each fault once.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use marketgate::sim::{Connect, Fault, Simulator, sample_sha256};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

struct Sim {
    simulator: Simulator,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{:?}", self.body))
    }
}

async fn start() -> Sim {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let simulator = Simulator::new(7);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = simulator.clone().serve(listener, async {
        let _ = stopped.await;
    });
    Sim { simulator, address, stop, task: tokio::spawn(serving) }
}

impl Sim {
    async fn try_send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> hyper::Result<Reply> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(target).header("host", "sim.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::new(body.into())).unwrap()).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        driver.abort();
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }

    async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        self.try_send(method, target, headers, body).await.unwrap()
    }

    async fn form(&self, target: &str, headers: &[(&str, &str)], form: &str) -> Reply {
        let all = [headers, &[("content-type", "application/x-www-form-urlencoded")]].concat();
        self.send("POST", target, &all, form.to_owned()).await
    }

    async fn token(&self, target: &str, client: &str) -> String {
        let basic = format!("Basic {}", STANDARD.encode(format!("{client}:{client}-secret")));
        let walmart = [
            ("authorization", basic.as_str()),
            ("wm_qos.correlation_id", "t-1"),
            ("wm_svc.name", "Test"),
            ("accept", "application/json"),
        ];
        let grant = match target.split('/').nth(1) {
            Some(name @ ("depop" | "wallapop")) => {
                let grant = self.simulator.connect(Connect::new(name, client, client));
                format!("grant_type=refresh_token&refresh_token={}", grant.refresh_token)
            }
            _ => "grant_type=client_credentials".to_owned(),
        };
        let in_body = format!("{grant}&client_id={client}&client_secret={client}-secret");
        let reply = if target.contains("/v3/") {
            self.form(target, &walmart, "grant_type=client_credentials").await
        } else {
            self.form(target, &[("user-agent", "smoke/1")], &in_body).await
        };
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn control(&self, method: &str, target: &str, body: Value) -> Reply {
        self.send(method, target, &[("content-type", "application/json")], body.to_string()).await
    }
}

fn walmart<'a>(token: &'a str, id: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("wm_sec.access_token", token),
        ("wm_qos.correlation_id", id),
        ("wm_svc.name", "Test"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
    ]
}

const WALMART: &str = "/walmart-marketplace/v3";
const DEPOP_TOKEN: &str = "/depop/api/v1/oauth2/access-token/";
const WALLAPOP_TOKEN: &str = "/wallapop/realms/wallapop-connect/protocol/openid-connect/token";
const GOLOCAL_TOKEN: &str = "/walmart-golocal/api-proxy/service/identity/oauth/v1/token";
const GOLOCAL: &str = "/walmart-golocal/api-proxy/service/supplychain/transportation/v1";

#[tokio::test]
async fn walmart_lists_reads_and_writes_with_the_token_in_its_own_header() {
    let sim = start().await;
    let token = sim.token("/walmart-marketplace/v3/token", "seller").await;
    assert!(token.len() > 800, "Walmart's tokens are long");
    let list = sim.send("GET", &format!("{WALMART}/items?limit=20"), &walmart(&token, "1"), "").await;
    assert_eq!(list.status, 200);
    assert_eq!(list.headers["wm_qos.correlation_id"], "1");
    assert_eq!(list.headers.get_all("set-cookie").iter().count(), 2);
    let next = list.json()["nextCursor"].as_str().unwrap().to_owned();
    assert!(next.contains('+') && next.contains('/') && next.contains('='), "{next}");
    let encoded = next.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let page = |cursor: &str| format!("{WALMART}/items?limit=20&nextCursor={cursor}");
    assert_eq!(sim.send("GET", &page(&encoded), &walmart(&token, "2"), "").await.status, 200);
    assert_eq!(sim.send("GET", &page(&next), &walmart(&token, "3"), "").await.status, 400);

    let item = list.json()["ItemResponse"][2]["sku"].as_str().unwrap().to_owned();
    assert!(item.contains('/'), "{item}");
    let path = format!("{WALMART}/items/{}", item.replace('/', "%2F"));
    assert_eq!(sim.send("GET", &path, &walmart(&token, "4"), "").await.status, 200);
    let price = json!({"sku": item, "pricing": [{"currentPriceType": "BASE",
        "currentPrice": {"currency": "USD", "amount": 12.5}}]});
    let put = sim.send("PUT", &format!("{WALMART}/price"), &walmart(&token, "5"), price.to_string()).await;
    assert_eq!(put.status, 200);
    let read = sim.send("GET", &path, &walmart(&token, "5"), "").await.json();
    assert_eq!(read["ItemResponse"][0]["price"]["amount"], 12.5);
    assert!(sim.simulator.requests().last().unwrap().duplicate_correlation_id);
}

#[tokio::test]
async fn walmart_orders_are_paged_by_exact_query_bytes() {
    let sim = start().await;
    let token = sim.token("/walmart-supplier/v3/token", "dsv").await;
    let orders = "/walmart-supplier/v3/orders";
    let first = sim.send("GET", &format!("{orders}?limit=10"), &walmart(&token, "1"), "").await.json();
    let next = first["list"]["meta"]["nextCursor"].as_str().unwrap().to_owned();
    let second = sim.send("GET", &format!("{orders}{next}"), &walmart(&token, "2"), "").await;
    assert_eq!(second.status, 200);
    let altered = next.replace("%2B", "+");
    assert_eq!(sim.send("GET", &format!("{orders}{altered}"), &walmart(&token, "3"), "").await.status, 400);
    let order = first["list"]["elements"]["order"][0]["purchaseOrderId"].as_str().unwrap();
    let ship = json!({"orderShipment": {"carrier": "x"}}).to_string();
    let path = format!("{orders}/{order}/shipping");
    assert_eq!(sim.send("POST", &path, &walmart(&token, "4"), ship.clone()).await.status, 200);
    assert_eq!(sim.send("POST", &path, &walmart(&token, "5"), ship).await.status, 409);
    // The supplier's token is nothing to the marketplace, and the catalogue nothing to the supplier.
    assert_eq!(sim.send("GET", &format!("{WALMART}/items"), &walmart(&token, "6"), "").await.status, 401);
    assert_eq!(sim.send("GET", "/walmart-supplier/v3/items", &walmart(&token, "7"), "").await.status, 404);
}

#[tokio::test]
async fn walmart_refuses_tokens_in_the_wrong_header_and_missing_or_doubled_headers() {
    let sim = start().await;
    let token = sim.token("/walmart-marketplace/v3/token", "seller").await;
    let bearer = format!("Bearer {token}");
    let items = format!("{WALMART}/items");
    let misplaced =
        [("authorization", bearer.as_str()), ("wm_qos.correlation_id", "1"), ("wm_svc.name", "x")];
    let reply = sim.send("GET", &items, &misplaced, "").await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["error"][0]["code"], "UNAUTHORIZED.GMP_GATEWAY_API");
    assert_eq!(sim.simulator.requests().last().unwrap().violations.len(), 1);
    let mut both = walmart(&token, "2");
    both.push(("authorization", "Basic abc"));
    let reply = sim.send("GET", &items, &both, "").await;
    assert_eq!(reply.status, 400);
    assert!(reply.json()["error"][0]["description"].as_str().unwrap().contains("Authorization"));
    let mut doubled = walmart(&token, "3");
    doubled.push(("wm_sec.access_token", &token));
    assert_eq!(sim.send("GET", &items, &doubled, "").await.status, 400);
    let unnamed: Vec<_> =
        walmart(&token, "4").into_iter().filter(|(name, _)| *name != "wm_svc.name").collect();
    let reply = sim.send("GET", &items, &unnamed, "").await;
    assert_eq!(reply.json()["error"][0]["code"], "MISSING_REQUEST_HEADER.GMP_GATEWAY_API");
    assert_eq!(sim.send("POST", &items, &walmart(&token, "5"), "{}").await.status, 405);
}

#[tokio::test]
async fn walmarts_token_endpoint_is_strict_and_speaks_xml_unless_asked() {
    let sim = start().await;
    let basic = format!("Basic {}", STANDARD.encode("seller:seller-secret"));
    let path = "/walmart-marketplace/v3/token";
    let headers =
        [("authorization", basic.as_str()), ("wm_qos.correlation_id", "1"), ("wm_svc.name", "Test")];
    let grant = "grant_type=client_credentials";
    let xml = sim.form(path, &headers, grant).await;
    assert!(xml.body.starts_with(b"<?xml") && xml.body.windows(13).any(|w| w == b"<accessToken>"));
    for (headers, form, status) in [
        (&headers[..2], grant, 400),
        (&headers[1..], grant, 401),
        (&headers[..], "", 400),
        (&headers[..], "grant_type=client_credentials&grant_type=client_credentials", 400),
        (&headers[..], "grant_type=client_credentials&client_id=seller&client_secret=seller-secret", 400),
        (&headers[..], "grant_type=refresh_token&refresh_token=x", 400),
    ] {
        assert_eq!(sim.form(path, headers, form).await.status, status, "{form}");
    }
    assert_eq!(sim.send("GET", path, &headers, "").await.status, 405);
    assert_eq!(sim.send("POST", path, &headers, grant).await.status, 415);
    assert_eq!(sim.simulator.token_calls("walmart-marketplace"), 9);
}

#[tokio::test]
async fn a_feed_is_acknowledged_with_what_arrived_and_a_report_is_downloaded_whole() {
    let sim = start().await;
    let token = sim.token("/walmart-marketplace/v3/token", "seller").await;
    let file = "{\"Price\":[{\"sku\":\"a\"},{\"sku\":\"b\"}]}";
    let body = format!(
        "--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"p.json\"\r\n\r\n{file}\r\n--b0--\r\n"
    );
    let mut headers = walmart(&token, "1");
    headers.retain(|(name, _)| *name != "content-type");
    headers.push(("content-type", "multipart/form-data; boundary=b0"));
    let feed = sim.send("POST", &format!("{WALMART}/feeds?feedType=price"), &headers, body.clone()).await;
    assert_eq!(feed.status, 200, "{:?}", feed.body);
    assert_eq!(feed.json()["additionalAttributes"]["file"]["length"], file.len());
    let id = feed.json()["feedId"].as_str().unwrap().replace('@', "%40");
    let status = sim.send("GET", &format!("{WALMART}/feeds/{id}"), &walmart(&token, "2"), "").await.json();
    assert_eq!((&status["feedStatus"], &status["itemsReceived"]), (&json!("INPROGRESS"), &json!(2)));
    headers.pop();
    headers.push(("content-type", "multipart/form-data"));
    let unbound = sim.send("POST", &format!("{WALMART}/feeds?feedType=price"), &headers, body).await;
    assert_eq!(unbound.status, 400);

    let reports = format!("{WALMART}/reports");
    let ask = format!("{reports}/reportRequests?reportType=ITEM&reportVersion=v4&simulatedBytes=300000");
    let id = sim.send("POST", &ask, &walmart(&token, "3"), "{}").await.json()["requestId"].clone();
    let id = id.as_str().unwrap();
    for _ in 0..2 {
        sim.send("GET", &format!("{reports}/reportRequests/{id}"), &walmart(&token, "4"), "").await;
    }
    let address = format!("{reports}/downloadReport?requestId={id}");
    let ready = sim.send("GET", &address, &walmart(&token, "5"), "").await.json();
    let url = ready["downloadURL"].as_str().unwrap();
    let target = url.strip_prefix("http://sim.test").unwrap();
    let download = sim.send("GET", target, &[], "").await;
    assert_eq!((download.status, download.body.len()), (StatusCode::OK, 300_000));
    assert_eq!(sha256(&download.body), sample_sha256(300_000));
    assert_eq!(sim.send("GET", &target.replace("%3A", ":"), &[], "").await.status, 403);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn golocal_keeps_its_environments_apart_and_its_consumers_honest() {
    let sim = start().await;
    let token = sim.token(GOLOCAL_TOKEN, "fleet").await;
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("wm_consumer.id", "fleet"),
        ("content-type", "application/json"),
    ];
    let body = json!({"externalDeliveryId": "1", "pickupInfo": {}, "dropOffInfo": {}}).to_string();
    let quote =
        sim.send("POST", &format!("{GOLOCAL}/sbx-daas/deliveries/quote"), &headers, body.clone()).await;
    assert_eq!(quote.status, 200);
    let booked = sim.send("POST", &format!("{GOLOCAL}/sbx-daas/deliveries"), &headers, body).await;
    assert_eq!(booked.status, 201);
    let id = booked.json()["deliveryId"].as_str().unwrap().to_owned();
    let at = |environment: &str, rest: &str| format!("{GOLOCAL}/{environment}/deliveries/{id}{rest}");
    assert_eq!(sim.send("GET", &at("daas", ""), &headers, "").await.status, 404);
    assert_eq!(sim.send("GET", &at("sbx-daas", ""), &headers, "").await.status, 200);
    let tip = json!({"deliveryId": id, "tip": 3}).to_string();
    let tipped = sim.send("POST", &format!("{GOLOCAL}/sbx-daas/clients/tips"), &headers, tip).await;
    assert_eq!(tipped.status, 200);
    assert_eq!(sim.send("PUT", &at("sbx-daas", "/update"), &headers, "{}").await.status, 200);
    assert_eq!(sim.send("PUT", &at("sbx-daas", "/cancel"), &headers, "{}").await.status, 200);
    assert_eq!(sim.send("PUT", &at("sbx-daas", "/update"), &headers, "{}").await.status, 409);
    assert_eq!(sim.send("GET", &at("sbx-daas", ""), &headers[..1], "").await.status, 401);
    let stranger = [headers[0], ("wm_consumer.id", "other")];
    assert_eq!(sim.send("GET", &at("sbx-daas", ""), &stranger, "").await.status, 403);
}

#[tokio::test]
async fn depop_takes_any_sku_any_shop_key_and_no_missing_slash() {
    let sim = start().await;
    let token = sim.token(DEPOP_TOKEN, "shop").await;
    assert!(token.starts_with("pat_"));
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let list = sim.send("GET", "/depop/api/v1/products/?limit=20", &headers, "").await.json();
    let cursor = list["meta"]["cursor"].as_str().unwrap().replace('+', "%2B").replace('/', "%2F");
    let next =
        sim.send("GET", &format!("/depop/api/v1/products/?limit=30&cursor={cursor}"), &headers, "").await;
    assert_eq!(
        (next.json()["data"].as_array().unwrap().len(), &next.json()["meta"]["has_more"]),
        (25, &json!(false))
    );
    let product = json!({"address": {}, "description": "a b", "price_currency": "GBP", "price_amount": "1.00",
        "quantity": 1, "pictures": [], "department": "menswear", "product_type": "x", "condition": "new",
        "brand_name": "x"});
    let sku = "/depop/api/v1/products/by-sku/a%2Fb+c%20d%25/";
    let made = sim.send("PUT", sku, &headers, product.to_string()).await.json();
    assert_eq!(made["sku"], "a/b+c d%");
    let again = sim.send("PUT", sku, &headers, product.to_string()).await.json();
    assert_eq!(again["product_id"], made["product_id"]);
    assert_eq!(sim.send("GET", sku, &headers, "").await.status, 200);
    assert_eq!(sim.send("GET", sku.trim_end_matches('/'), &headers, "").await.status, 404);
    assert_eq!(sim.send("PUT", sku, &headers, "{").await.status, 422);
    let key = [("authorization", "Bearer pak_corner")];
    let shop = sim.send("GET", "/depop/api/v1/shop/", &key, "").await.json();
    assert_eq!(shop["username"], "corner");
    let bad = "grant_type=refresh_token&refresh_token=x&client_id=a&client_secret=b";
    let bad = sim.form(DEPOP_TOKEN, &[], bad).await;
    assert_eq!(
        (bad.status.as_u16(), bad.json()["error"].clone()),
        (401, json!("client secret does not match"))
    );
    let lost = sim.form(
        DEPOP_TOKEN,
        &[],
        "grant_type=refresh_token&refresh_token=x&client_id=a&client_secret=a-secret",
    );
    assert_eq!(lost.await.json()["error"], "invalid_grant");
    assert_eq!(sim.form(DEPOP_TOKEN.trim_end_matches('/'), &[], "").await.status, 404);
    let unknown = sim.send("GET", "/depop/api/v1/shop/", &[("authorization", "Bearer pat_x")], "").await;
    assert_eq!(unknown.json()["errors"][0]["code"], "unauthorized");
    assert_eq!(sim.send("GET", "/depop/status", &[], "").await.status, 200);
}

#[tokio::test]
async fn wallapop_needs_a_user_agent_counts_its_token_calls_and_pages_by_since() {
    let sim = start().await;
    let token = sim.token(WALLAPOP_TOKEN, "stall").await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let mut since = String::new();
    let mut seen = 0;
    loop {
        let page = sim.send("GET", &format!("/wallapop/items{since}"), &headers, "").await.json();
        seen += page["data"].as_array().unwrap().len();
        let Some(next) = page["meta"]["pagination"]["next"].as_str() else { break };
        since = format!("?since={next}");
    }
    assert_eq!(seen, 95);
    let item = json!({"category_leaf_id": "9931", "title": "t", "description": "d",
        "price": {"cash_amount": 1, "currency": "EUR"}});
    let body = json!({"item": item, "main_image": {"url": "http://x/y.jpg"}}).to_string();
    let made = sim.send("POST", "/wallapop/items", &headers, body).await;
    assert_eq!(made.status, 201);
    let path = format!("/wallapop/items/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(sim.send("PUT", &path, &headers, json!({"item": item}).to_string()).await.status, 204);
    assert_eq!(sim.send("PUT", &format!("{path}/inactivate"), &headers, "").await.status, 204);
    let inactive = sim.send("GET", "/wallapop/items/inactive", &headers, "").await.json();
    assert_eq!(inactive["data"].as_array().unwrap().len(), 1);
    assert_eq!(sim.send("DELETE", &path, &headers, "").await.status, 204);

    let mut refresh = sim.simulator.connect(Connect::new("wallapop", "a", "a")).refresh_token;
    let form = |refresh: &str| {
        format!("grant_type=refresh_token&refresh_token={refresh}&client_id=a&client_secret=a-secret")
    };
    assert_eq!(sim.form(WALLAPOP_TOKEN, &[], &form(&refresh)).await.status, 403);
    let agent = [("user-agent", "smoke/1")];
    for _ in 1..174 {
        let granted = sim.form(WALLAPOP_TOKEN, &agent, &form(&refresh)).await.json();
        refresh = granted["refresh_token"].as_str().unwrap().to_owned();
    }
    assert_eq!(sim.form(WALLAPOP_TOKEN, &agent, &form(&refresh)).await.status, 429);
    let code = "grant_type=authorization_code&code=x&client_id=a&client_secret=a-secret";
    assert_eq!(sim.form(WALLAPOP_TOKEN, &agent, code).await.status, 400, "another grant, another budget");
    sim.simulator.advance(Duration::from_secs(300));
    assert_eq!(sim.form(WALLAPOP_TOKEN, &agent, &form(&refresh)).await.status, 200, "a 429 spends no token");
    assert_eq!(sim.send("GET", "/wallapop/items", &headers, "").await.status, 401, "300 s are over");
}

#[tokio::test]
async fn the_generic_api_echoes_streams_and_redirects() {
    let sim = start().await;
    let token = sim.token("/generic/oauth/token", "app").await;
    let bearer = format!("Bearer {token}");
    let headers = [("x-one", "1"), ("authorization", bearer.as_str()), ("x-two", "2")];
    let echo = sim.send("PURGE", "/generic/api/a%2Fb//c?x=%2B+", &headers, "body").await.json();
    assert_eq!((&echo["method"], &echo["account"]), (&json!("PURGE"), &json!("app")));
    assert_eq!((&echo["target"], &echo["body_length"]), (&json!("/generic/api/a%2Fb//c?x=%2B+"), &json!(4)));
    assert!(!echo.to_string().contains(&token));
    let names: Vec<_> =
        echo["headers"].as_array().unwrap().iter().map(|pair| pair[0].as_str().unwrap()).collect();
    assert_eq!(names, ["host", "x-one", "authorization", "x-two", "content-length"]);
    for (query, length) in [("", Some("1000000")), ("?chunked=1", None)] {
        let reply = sim.send("GET", &format!("/generic/api/bytes/1000000{query}"), &headers, "").await;
        assert_eq!(reply.headers.get("content-length").map(|value| value.to_str().unwrap()), length);
        assert_eq!(sha256(&reply.body), sample_sha256(1_000_000));
    }
    let key = [("x-api-key", "key-bob")];
    assert_eq!(sim.send("GET", "/generic/api/status/418", &key, "").await.status, 418);
    let away = sim.send("GET", "/generic/api/redirect?to=%2Fx%3Fy&code=307", &key, "").await;
    assert_eq!((away.status.as_u16(), &away.headers["location"]), (307, &"/x?y".parse().unwrap()));
    let events = sim.send("GET", "/generic/api/sse?count=2&interval_ms=1", &key, "").await;
    assert!(events.body.ends_with(b"id: 2\ndata: {\"event\":2}\n\n"));
    assert_eq!(sim.send("GET", "/generic/api/x", &[], "").await.status, 401);
    let two = [headers[1], ("x-api-key", "key-bob")];
    assert_eq!(sim.send("GET", "/generic/api/x", &two, "").await.status, 400);
    let short = "grant_type=client_credentials&client_id=a&client_secret=a-secret&lifetime=2";
    let token = sim.form("/generic/oauth/token", &[], short).await.json();
    assert_eq!(token["expires_in"], 2);
    sim.simulator.advance(Duration::from_secs(2));
    let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
    assert_eq!(sim.send("GET", "/generic/api/x", &[("authorization", &bearer)], "").await.status, 401);
}

#[tokio::test]
async fn each_fault_does_what_it_says() {
    let sim = start().await;
    let key = [("authorization", "Bearer key-bob")];
    let get = || sim.try_send("GET", "/generic/api/bytes/100000", &key, "");
    let fault = |fault: Fault| sim.simulator.add_fault(fault.at("generic"));

    fault(Fault::Delay { ms: 30 });
    let before = tokio::time::Instant::now();
    assert_eq!(get().await.unwrap().status, 200);
    assert!(before.elapsed() >= Duration::from_millis(30));
    fault(Fault::Status { status: 503, retry_after: Some("3".into()), body: None });
    let reply = get().await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.headers["retry-after"]), (503, &"3".parse().unwrap()));
    fault(Fault::Early { status: 413 });
    assert_eq!(get().await.unwrap().status, 413);
    fault(Fault::Garbage {});
    assert!(get().await.unwrap().body.starts_with(b"<!DOCTYPE html>"));
    for broken in [
        Fault::Cut { after_bytes: 0 },
        Fault::Cut { after_bytes: 20 },
        Fault::Cut { after_bytes: 5000 },
        Fault::CutBody { after_bytes: 0 },
        Fault::CutBody { after_bytes: 99_999 },
        Fault::Reset {},
    ] {
        fault(broken.clone());
        assert!(get().await.is_err(), "{broken:?}");
    }
    fault(Fault::Slow { bytes_per_second: 1_000_000 });
    let before = tokio::time::Instant::now();
    assert_eq!(sha256(&get().await.unwrap().body), sample_sha256(100_000));
    assert!(before.elapsed() >= Duration::from_millis(80));
    fault(Fault::Hang {});
    let hung = |sim: &Simulator| {
        sim.requests()
            .last()
            .is_some_and(|last| last.fault.as_deref() == Some("hang") && last.body_length.is_some())
    };
    tokio::select! {
        reply = get() => panic!("answered {}", reply.unwrap().status),
        () = sim.simulator.until(hung) => {}
    }
    assert_eq!(sim.simulator.requests().last().unwrap().status, None);
    sim.simulator.until(|sim| sim.open_connections() == 0).await;
    assert_eq!(get().await.unwrap().status, 200, "every fault was used up");
}

#[tokio::test]
async fn faults_of_tokens_make_end_and_spoil_them() {
    let sim = start().await;
    let token = sim.token("/walmart-marketplace/v3/token", "seller").await;
    let items = format!("{WALMART}/items");
    sim.simulator.add_fault(Fault::ExpiredAs400 {}.at("walmart-marketplace").on_api());
    let reply = sim.send("GET", &items, &walmart(&token, "1"), "").await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["error"][0]["code"]),
        (400, &json!("INVALID_TOKEN.GMP_GATEWAY_API"))
    );
    assert_eq!(sim.send("GET", &items, &walmart(&token, "2"), "").await.status, 401);
    let token = sim.token("/walmart-marketplace/v3/token", "seller").await;
    sim.simulator.add_fault(Fault::Revoke {}.at("walmart-marketplace"));
    assert_eq!(sim.send("GET", &items, &walmart(&token, "3"), "").await.status, 401);
    assert_eq!(sim.send("GET", &items, &walmart(&token, "4"), "").await.status, 401);

    let form = "grant_type=client_credentials&client_id=a&client_secret=a-secret";
    let body = r#"{"accessToken":"{token}","expires_in":"60"}"#.to_owned();
    let literal = json!({"marketplace": "generic", "on": "token",
        "fault": {"kind": "token_answer", "body": body}});
    assert_eq!(sim.control("POST", "/sim/faults", literal).await.status, 200);
    let odd = sim.form("/generic/oauth/token", &[], form).await.json();
    let bearer = format!("Bearer {}", odd["accessToken"].as_str().unwrap());
    assert_eq!(
        sim.send("GET", "/generic/api/x", &[("authorization", &bearer)], "").await.json()["account"],
        "a"
    );
    sim.simulator.add_fault(Fault::Lifetime { seconds: 5 }.at("generic").on_token());
    assert_eq!(sim.form("/generic/oauth/token", &[], form).await.json()["expires_in"], 5);
    sim.simulator.add_fault(Fault::Status { status: 403, retry_after: None, body: None }.at("depop"));
    let scope = sim.send("GET", "/depop/api/v1/shop/", &[("authorization", "Bearer pak_a")], "").await;
    assert_eq!(scope.json()["errors"][0]["code"], "insufficient_scope");
}

#[tokio::test]
async fn the_controls_record_advance_revoke_reset_and_explain_mistakes() {
    let sim = start().await;
    let token = sim.token("/generic/oauth/token", "app").await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("cookie", "a=b")];
    sim.send("GET", "/generic/api/x", &headers, "").await;
    sim.send("GET", "/nowhere", &[], "").await;
    let seen = sim.send("GET", "/sim/requests?marketplace=generic&kind=token", &[], "").await.json();
    assert_eq!((&seen["total"], &seen["counts"]["generic"]["api"]), (&json!(3), &json!(1)));
    let call = &seen["requests"][0];
    assert_eq!(call["body_text"], "grant_type=client_credentials&client_id=app&client_secret=***");
    assert_eq!(
        (&call["account"], &call["status"], &call["version"]),
        (&json!("app"), &json!(200), &json!("HTTP/1.1"))
    );
    let all = sim.send("GET", "/sim/requests", &[], "").await;
    assert!(!String::from_utf8_lossy(&all.body).contains(&token));
    assert_eq!(all.json()["violations"].as_array().unwrap().len(), 1);
    for (method, target, body, mend) in [
        ("POST", "/sim/faults", json!({"fault": {"kind": "explode"}}), "expired_as_400"),
        ("POST", "/sim/faults", json!({"marketplace": "etsy", "fault": {"kind": "hang"}}), "wallapop"),
        ("POST", "/sim/clock", json!({"advance": 1}), "advance_ms"),
        ("POST", "/sim/revoke", json!({"marketplace": "depop"}), "account"),
        ("GET", "/sim/request", json!(null), "GET /sim"),
    ] {
        let reply = sim.control(method, target, body).await;
        assert_eq!(reply.status, 400);
        assert!(reply.json()["error"].as_str().unwrap().contains(mend), "{:?}", reply.body);
    }
    assert_eq!(sim.control("PUT", "/sim/faults", json!({})).await.status, 405);
    let revoked =
        sim.control("POST", "/sim/revoke", json!({"marketplace": "generic", "account": "app"})).await;
    assert_eq!(revoked.json()["revoked"], 1);
    assert_eq!(sim.send("GET", "/generic/api/x", &headers, "").await.status, 401);
    assert_eq!(
        sim.control("POST", "/sim/clock", json!({"advance_ms": 5000})).await.json()["offset_ms"],
        5000
    );
    assert_eq!(sim.send("POST", "/sim/reset", &[], "").await.status, 204);
    assert_eq!(sim.send("GET", "/sim/requests", &[], "").await.json()["total"], 0);
    assert!(sim.send("GET", "/sim", &[], "").await.body.starts_with(b"Simulated marketplaces"));
}

#[tokio::test]
async fn tokens_age_with_tokios_clock() {
    let sim = start().await;
    let token = sim.token("/generic/oauth/token", "app").await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let get = || sim.send("GET", "/generic/api/x", &headers, "");
    assert_eq!(get().await.status, 200);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    tokio::time::resume();
    assert_eq!(get().await.status, 401);
}

#[tokio::test]
async fn bodies_beyond_what_a_vendor_takes_are_refused_and_uploads_of_any_size_are_hashed() {
    let sim = start().await;
    let key = [("authorization", "Bearer pak_a"), ("content-type", "application/json")];
    let large = vec![b' '; (1 << 20) + 1];
    let put = sim.send("PUT", "/depop/api/v1/products/by-sku/a/", &key, large.clone()).await;
    assert_eq!((put.status.as_u16(), &put.json()["errors"][0]["code"]), (413, &json!("request_too_large")));
    let up = sim.send("POST", "/generic/api/up", &[("x-api-key", "key-a")], large.clone()).await.json();
    assert_eq!(up["body_sha256"], sha256(&large));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_recorded_as_broken() {
    let sim = start().await;
    let mut socket = TcpStream::connect(sim.address).await.unwrap();
    let head = "PUT /generic/api/x HTTP/1.1\r\nHost: x\r\nX-Api-Key: key-a\r\nContent-Length: 9\r\n\r\nhalf";
    socket.write_all(head.as_bytes()).await.unwrap();
    drop(socket);
    sim.simulator.until(|sim| sim.requests().last().is_some_and(|last| last.body_broken)).await;
    assert_eq!(sim.simulator.requests()[0].status, None);
}

#[tokio::test]
async fn a_reset_is_seen_as_a_reset() {
    let sim = start().await;
    sim.simulator.add_fault(Fault::Reset {});
    let mut socket = TcpStream::connect(sim.address).await.unwrap();
    socket.write_all(b"GET /depop/status HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let error = socket.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_cut_answer_ends_after_exactly_the_bytes_it_may_send() {
    let sim = start().await;
    sim.simulator.add_fault(Fault::Cut { after_bytes: 5000 });
    let mut socket = TcpStream::connect(sim.address).await.unwrap();
    let head = "GET /generic/api/bytes/100000 HTTP/1.1\r\nHost: x\r\nX-Api-Key: key-a\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.len(), 5000);
}

#[tokio::test]
async fn stopping_cuts_what_is_under_way() {
    let Sim { simulator, address, stop, task } = start().await;
    simulator.add_fault(Fault::Hang {}.at("*"));
    let mut seen = simulator.on_request();
    let _idle = TcpStream::connect(address).await.unwrap();
    let mut hanging = TcpStream::connect(address).await.unwrap();
    hanging.write_all(b"GET /depop/status HTTP/1.1\r\nHost: sim.test\r\n\r\n").await.unwrap();
    seen.changed().await.unwrap();
    drop(stop);
    task.await.unwrap();
    assert_eq!(hanging.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(simulator.open_connections(), 0);
    assert_eq!(simulator.accepted_connections(), 2);
}

#[tokio::test]
async fn http2_is_spoken_where_alpn_agrees() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let simulator = Simulator::new(1);
    tokio::spawn(simulator.clone().serve_tls(listener, server.into(), std::future::pending()));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
    let socket = TcpStream::connect(address).await.unwrap();
    let tls = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    let request = |path: &str| {
        let uri = format!("https://localhost{path}");
        let request = Request::builder().uri(uri).version(Version::HTTP_2);
        request.header("authorization", "Bearer key-bob").body(Full::new(Bytes::new())).unwrap()
    };
    let reply = sender.send_request(request("/generic/api/bytes/1000000")).await.unwrap();
    assert_eq!(sha256(&reply.into_body().collect().await.unwrap().to_bytes()), sample_sha256(1_000_000));
    let recorded = simulator.requests().pop().unwrap();
    assert_eq!(
        (recorded.version.as_str(), recorded.target.as_str()),
        ("HTTP/2.0", "/generic/api/bytes/1000000")
    );
    simulator.add_fault(Fault::Cut { after_bytes: 0 });
    assert!(sender.send_request(request("/generic/api/x")).await.is_err());
    assert!(sender.ready().await.is_err(), "the connection is gone");
}
