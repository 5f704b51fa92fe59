//! Copies of the store and its keys, by the commands, on the built program and real files: what was connected in one process
//! is there in the next, whether anybody serves the store or not.

use std::os::unix::fs::PermissionsExt;

use marketgate::sim::Connect;

use crate::{
    program::{PATIENCE, get},
    sellers::{CLIENT_SECRET, Desk, Market},
};

fn take_in(desk: &Desk, account: &str) -> String {
    let token = desk.market.sim.connect(Connect::new("wallapop", "app", account)).refresh_token;
    let taken = desk.tell(&["import", &format!("wallapop@{account}")], &token);
    assert_eq!(taken.code, Some(0), "{}", taken.err);
    token
}

fn state(desk: &Desk, account: &str) -> String {
    let shown = desk.alone(&["accounts", "show", &format!("wallapop@{account}"), "-o", "json"]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    match shown["reason"].as_str() {
        Some(reason) => format!("{} ({reason})", shown["state"].as_str().unwrap()),
        None => shown["state"].as_str().unwrap().to_owned(),
    }
}

#[test]
fn what_is_connected_while_nobody_serves_is_there_for_whoever_serves_next() {
    let mut desk = Desk::closed();
    let token = take_in(&desk, "shop-1");
    for (name, mode) in [("gate.db", 0o600), ("marketgate.key", 0o600)] {
        let found = std::fs::metadata(desk.folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    desk.run();
    assert!(get(desk.proxy, "/wallapop@shop-1/items?limit=2", "").starts_with("HTTP/1.1 200"));
    let run = desk.close();
    assert_eq!(state(&desk, "shop-1"), "ready");
    let stored = std::fs::read(desk.folder.path().join("gate.db")).unwrap();
    for secret in [token.as_str(), CLIENT_SECRET] {
        assert!(!String::from_utf8_lossy(&stored).contains(secret) && !run.err.contains(secret));
    }
}

#[test]
fn a_copy_is_made_while_the_store_is_in_use_and_brought_back_with_its_sellers_parked() {
    let mut desk = Desk::open();
    take_in(&desk, "shop-1");
    let copy = desk.folder.path().join("copy.db");
    let copied = desk.say(&["store", "backup", "copy.db"]);
    assert_eq!(copied.code, Some(0), "{}", copied.err);
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let again = desk.say(&["store", "backup", "copy.db"]);
    assert_ne!(again.code, Some(0), "a copy overwrote another one");
    assert!(get(desk.proxy, "/wallapop@shop-1/items?limit=2", "").starts_with("HTTP/1.1 200"));
    let refused = desk.alone(&["store", "restore", "copy.db"]);
    assert_eq!(refused.code, Some(6), "{}", refused.err);
    desk.close();
    let restored = desk.alone(&["store", "restore", "copy.db"]);
    assert_eq!(restored.code, Some(0), "{}", restored.err);
    assert!(restored.out.contains("1 of them"), "{}", restored.out);
    assert_eq!(state(&desk, "shop-1"), "parked (restored)");
    desk.run();
    let calls = desk.market.sim.token_calls("wallapop");
    let parked = get(desk.proxy, "/wallapop@shop-1/items?limit=2", "");
    assert!(parked.starts_with("HTTP/1.1 503") && parked.contains("accounts resume"), "{parked}");
    assert_eq!(desk.market.sim.token_calls("wallapop"), calls, "the token of a copy was spent");
    assert_eq!(desk.say(&["accounts", "resume", "wallapop@shop-1"]).code, Some(0));
    // Its token was spent after the copy was made, which the server now tells.
    let spent = get(desk.proxy, "/wallapop@shop-1/items?limit=2", "");
    assert!(spent.contains("login_required"), "{spent}");
    desk.close();
}

#[test]
fn a_store_is_sealed_anew_while_it_serves_and_without_its_key_it_does_not_open() {
    let mut desk = Desk::closed();
    take_in(&desk, "shop-1");
    let folder = desk.folder.path().to_owned();
    std::fs::rename(folder.join("marketgate.key"), folder.join("old.key")).unwrap();
    let gone = desk.alone(&["accounts"]);
    assert_eq!((gone.code, gone.out.as_str()), (Some(6), ""), "{}", gone.err);
    assert!(gone.err.contains("its key"), "{}", gone.err);
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    std::fs::write(folder.join("marketgate.key"), key).unwrap();
    std::fs::set_permissions(folder.join("marketgate.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = folder.join("proxy.toml");
    let plain = std::fs::read_to_string(&file).unwrap();
    let both = plain.replace("[store]\n", "[store]\nold_keys = [{ file = \"old.key\" }]\n");
    std::fs::write(&file, both).unwrap();
    desk.run();
    let sealed = desk.say(&["store", "rekey"]);
    assert_eq!(sealed.code, Some(0), "{}", sealed.err);
    assert!(get(desk.proxy, "/wallapop@shop-1/items?limit=2", "").starts_with("HTTP/1.1 200"));
    desk.close();
    std::fs::write(&file, plain).unwrap();
    std::fs::remove_file(folder.join("old.key")).unwrap();
    assert_eq!(state(&desk, "shop-1"), "ready");
}

#[test]
fn a_second_process_is_told_who_has_the_store() {
    let desk = Desk::open();
    let text = std::fs::read_to_string(desk.folder.path().join("proxy.toml")).unwrap();
    let text = text.replace("[store]\n", "[store]\nwait_for_lock = \"0s\"\n");
    std::fs::write(desk.folder.path().join("proxy.toml"), text).unwrap();
    let same = desk.alone(&["run"]);
    assert_eq!(same.code, Some(1), "{}", same.err);
    assert!(same.err.contains("another process has port"), "{}", same.err);
    let began = std::time::Instant::now();
    let second = desk.beside().ended();
    assert_eq!(second.code, Some(6), "{}", second.err);
    assert!(second.err.contains("is in use by process "), "{}", second.err);
    assert!(began.elapsed() < PATIENCE / 3, "it waited for {:?}", began.elapsed());
}

#[test]
fn a_second_process_serves_what_needs_no_store_until_the_first_one_has_ended() {
    let mut desk = Desk::furnished(Market::open(), "[upstream]\ntimeouts = { token_wait = \"300ms\" }\n");
    take_in(&desk, "shop-1");
    desk.run();
    let first = desk.id().to_string();
    let second = desk.beside();
    second.mentions(&format!("waiting for process {first} to let go of it"));
    let [proxy, admin] = desk.beside_at();
    assert!(get(proxy, "/plain/x", "").starts_with("HTTP/1.1 200"));
    assert!(get(admin, "/livez", "").starts_with("HTTP/1.1 200"));
    let ready = get(admin, "/readyz", "");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains(&format!("process {first}")), "{ready}");
    let refused = get(proxy, "/wallapop@shop-1/items?limit=2", "");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("token_unavailable"), "{refused}");
    assert!(refused.to_lowercase().contains("retry-after") && refused.contains(&first), "{refused}");
    let ended = second.end("TERM");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let second = desk.beside();
    second.mentions("waiting for process");
    desk.close();
    second.mentions("started");
    let served = get(proxy, "/wallapop@shop-1/items?limit=2", "");
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
    // Commands find it where the store is.
    assert_eq!(state(&desk, "shop-1"), "ready");
    assert_eq!(second.end("TERM").code, Some(0));
}

#[test]
fn a_budget_that_is_spent_stays_spent_over_a_restart() {
    let mut desk = Desk::closed();
    let file = desk.folder.path().join("proxy.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("[apps.wallapop]\n", "[apps.wallapop]\ntoken_budget = \"2/5m\"\n");
    std::fs::write(&file, text + "[upstream]\ntimeouts = { token_wait = \"300ms\" }\n").unwrap();
    for shop in ["shop-1", "shop-2", "shop-3"] {
        take_in(&desk, shop);
    }
    let ask = |desk: &Desk, shop: &str| get(desk.proxy, &format!("/wallapop@{shop}/items?limit=2"), "");
    desk.run();
    for shop in ["shop-1", "shop-2"] {
        let answer = ask(&desk, shop);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(ask(&desk, "shop-3").contains("token_unavailable"));
    desk.close();
    desk.run();
    assert!(ask(&desk, "shop-1").starts_with("HTTP/1.1 200"), "a token that lives needs no call");
    let refused = ask(&desk, "shop-3");
    assert!(refused.contains("token_unavailable"), "{refused}");
    assert_eq!(desk.market.sim.token_calls("wallapop"), 2);
    desk.close();
}
