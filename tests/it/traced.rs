//! The laws about order, seen from below: what one refresh asks of the operating system, and in which order it returned.

use std::net::SocketAddr;

use crate::{
    calls::Call,
    commits::{Commit, commits},
    power_cut::{Disk, Found},
    shop::{SELLER, Shop},
    strace::Strace,
};

/// One refresh and the request that was waiting for it.
pub(crate) struct Refresh<'a> {
    pub(crate) connected: &'a Call,
    /// The token request.
    pub(crate) asked: &'a Call,
    /// Where its answer had been read to the end.
    pub(crate) answered: usize,
    /// Every time the new access token was written anywhere.
    pub(crate) used: Vec<&'a Call>,
    pub(crate) commits: Vec<Commit>,
}

impl<'a> Refresh<'a> {
    /// The only one in these calls.
    pub(crate) fn found_in(calls: &'a [Call], shop: &Shop) -> Self {
        let endpoint = format!("->{}]", shop.tokens.address);
        let there = |call: &&Call| call.on().starts_with("TCP:") && call.on().ends_with(&endpoint);
        let only = |found: Vec<&'a Call>| match found[..] {
            [call] => call,
            _ => panic!("not one but {found:?}"),
        };
        let connected = only(calls.iter().filter(|call| connects(call, shop.tokens.address)).collect());
        // One write, so that no network can deliver one half of the request and lose the other by our doing.
        let asked = only(calls.iter().filter(there).filter(|call| call.writes()).collect());
        let answers: Vec<_> = calls.iter().filter(there).filter(|call| call.reads()).collect();
        let answer: String = answers.iter().map(|call| call.text()).collect();
        let (access_token, refresh_token) =
            (member(&answer, "access_token"), member(&answer, "refresh_token"));
        let writes =
            |text: &str| calls.iter().filter(|c| c.writes() && c.text().contains(text)).collect::<Vec<_>>();
        assert!(writes(&refresh_token).is_empty(), "a refresh token was written in the clear");
        let read = answers.iter().filter(|call| call.result > Some(0));
        Self {
            connected,
            asked,
            answered: read.map(|call| call.ended).max().unwrap(),
            used: writes(&access_token),
            commits: commits(calls, shop.database().to_str().unwrap()),
        }
    }
}

impl Refresh<'_> {
    /// Cuts the power at every moment of it: what is left says before the token request that it may have been sent, and
    /// before the first use of the new access token it holds the refresh token that came with it.
    pub(crate) fn assert_survives_a_power_cut(&self, mut disk: Disk, calls: &[Call], shop: &Shop) {
        let found = disk.cut_at_every_moment(calls, shop);
        let before = |place: usize| found.iter().rfind(|(at, _)| *at < place).unwrap().1;
        assert!(before(self.asked.began) >= Found::Intent, "shown before the intent was durable: {found:?}");
        assert_eq!(before(self.used[0].began), Found::Record, "used before it was durable: {found:?}");
        let shown = found.iter().filter(|(at, _)| *at > self.asked.began);
        assert!(shown.is_sorted_by_key(|(_, found)| found), "what was durable was lost again: {found:?}");
    }
}

fn connects(call: &Call, to: SocketAddr) -> bool {
    call.name == "connect" && call.arguments.contains(&format!("sin_port=htons({})", to.port()))
}

fn member(answer: &str, name: &str) -> String {
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body[name].as_str().unwrap().to_owned()
}

#[test]
fn the_intent_is_durable_before_the_call_and_the_new_refresh_token_before_the_new_access_token_is_used() {
    let mut shop = Shop::closed();
    shop.run();
    let disk = Disk::of(&shop);
    let Some(strace) = Strace::watch(shop.program()) else { return };
    assert!(shop.get().starts_with("HTTP/1.1 200"));
    let calls = strace.detach();
    let refresh = Refresh::found_in(&calls, &shop);
    let [intent, record] = &refresh.commits[..] else { panic!("{:?}", refresh.commits) };
    assert!(intent.pages.contains(SELLER), "it does not say whose refresh token is about to be shown");
    assert!(intent.ended < refresh.connected.began, "law 3: connected before the intent was durable");
    assert!(refresh.connected.began < refresh.asked.began);
    let asked = refresh.asked.text();
    assert!(
        asked.starts_with("POST /generic/oauth/token HTTP/1.1\r\n") && asked.contains("\r\n\r\n"),
        "{asked}"
    );
    assert!(asked.contains("grant_type=refresh_token") && asked.contains("&refresh_token="), "{asked}");
    assert_eq!(refresh.asked.result, Some(asked.len() as i64), "the request left in parts");
    assert!(refresh.asked.ended < refresh.answered && refresh.answered < record.began);
    let [used] = refresh.used[..] else { panic!("{:?}", refresh.used) };
    assert!(used.on().ends_with(&format!("->{}]", shop.market.address())), "{used:?}");
    assert!(used.text().starts_with("GET /generic/api/x "), "{used:?}");
    assert!(record.ended < used.began, "law 2: used before the refresh token that came with it was durable");
    refresh.assert_survives_a_power_cut(disk, &calls, &shop);
    shop.assert_whole(1);
}
