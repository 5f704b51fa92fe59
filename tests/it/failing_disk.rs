//! A disk that takes writes and then says that they are not durable: nothing is spent that could be lost, nothing is lost
//! that was spent, and when the disk works again everything goes on by itself.

use crate::{
    shop::{ACCOUNT, Shop, TAKEN, UNSTORED},
    strace::Strace,
    traced::Refresh,
};

/// Every call from now on.
const ALL: &str = "1+";

#[test]
fn as_long_as_no_intent_can_be_made_durable_no_refresh_token_is_shown() {
    let mut shop = Shop::closed();
    shop.run();
    let Some(strace) = Strace::fail_syncs(shop.program(), ALL) else { return };
    let refused = shop.get();
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"token_unavailable\""), "{refused}");
    assert!(refused.contains("the store failed") && refused.contains("look at the disk"), "{refused}");
    assert!(shop.admin("/readyz").contains("store: the store failed"), "{}", shop.admin("/readyz"));
    let state = shop.state();
    assert_eq!(state["state"], "degraded", "{state}");
    assert_eq!((shop.market.sim.token_calls("*"), shop.family().rotations), (0, 0), "it was spent");
    strace.detach();
    shop.until_served();
    assert_eq!(shop.market.sim.token_calls("*"), 1);
    // What was found out about the store counts for a second.
    while !shop.admin("/readyz").starts_with("HTTP/1.1 200") {}
    shop.assert_whole(1);
}

#[test]
fn as_long_as_no_intent_can_be_made_durable_the_access_token_is_used_that_is_there() {
    let mut shop = Shop::closed();
    shop.run();
    let old = shop.served_with();
    let Some(strace) = Strace::fail_syncs(shop.program(), ALL) else { return };
    let refused = shop.say(&["accounts", "refresh", ACCOUNT]);
    assert!(refused.code != Some(0) && refused.err.contains("the store failed"), "{refused:?}");
    assert_eq!(shop.served_with(), old);
    assert_eq!((shop.market.sim.token_calls("*"), shop.family().rotations), (1, 1), "it was spent");
    strace.detach();
    shop.assert_whole(1);
}

#[test]
fn a_token_that_cannot_be_stored_is_kept_and_used_only_when_it_is() {
    let mut shop = Shop::closed();
    shop.run();
    let old = shop.served_with();
    shop.tokens.hold();
    let refresh = shop.begin(&["accounts", "refresh", ACCOUNT]);
    shop.tokens.until_held();
    let Some(strace) = Strace::fail_syncs(shop.program(), ALL) else { return };
    shop.tokens.release();
    shop.program().mentions(UNSTORED);
    assert_eq!(shop.family().rotations, 2);
    assert_eq!((shop.served_with(), shop.unpersisted()), (old.clone(), 1), "used before it was durable");
    strace.detach();
    shop.program().mentions(TAKEN);
    shop.until_served_with_another_than(&old);
    assert_eq!(shop.unpersisted(), 0);
    drop(refresh);
    shop.assert_whole(2);
}

#[test]
fn a_token_that_cannot_be_stored_is_used_all_the_same_where_there_is_no_other() {
    let mut shop = Shop::closed();
    shop.run();
    shop.tokens.hold();
    let caller = shop.ask();
    shop.tokens.until_held();
    let Some(strace) = Strace::fail_syncs(shop.program(), ALL) else { return };
    shop.tokens.release();
    let answer = caller.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(shop.unpersisted(), 1);
    let state = shop.state();
    assert!(state["trouble"]["detail"].as_str().unwrap().contains(UNSTORED), "{state}");
    strace.detach();
    shop.program().mentions(TAKEN);
    shop.assert_whole(1);
}

#[test]
fn a_token_that_could_not_be_stored_to_the_last_is_taken_in_by_the_next_start() {
    let mut shop = Shop::closed();
    shop.run();
    shop.tokens.hold();
    let caller = shop.ask();
    shop.tokens.until_held();
    let Some(_strace) = Strace::fail_syncs(shop.program(), ALL) else { return };
    shop.tokens.release();
    assert!(caller.join().unwrap().starts_with("HTTP/1.1 200"));
    shop.stop_spilling();
    shop.assert_adopted(1);
}

/// Eight calls make one refresh durable: four the intent, four the record.
#[test]
fn whichever_call_fails_that_makes_a_refresh_durable_nothing_is_shown_or_used_before_it_succeeded() {
    for number in 1..=8 {
        let mut shop = Shop::closed();
        shop.run();
        let old = shop.served_with();
        let Some(strace) = Strace::fail_syncs(shop.program(), &number.to_string()) else { return };
        while shop.market.sim.token_calls("*") == 1 {
            shop.say(&["accounts", "refresh", ACCOUNT]);
        }
        shop.until_served_with_another_than(&old);
        let calls = strace.detach();
        let failed: Vec<_> = calls.iter().filter(|call| call.syncs() && call.result != Some(0)).collect();
        let [failed] = failed[..] else { panic!("{number}: {failed:?}") };
        let refresh = Refresh::found_in(&calls, &shop);
        let proved = |after: usize, before: usize| {
            let after = after.max(if failed.ended < before { failed.ended } else { 0 });
            refresh.commits.iter().any(|commit| after < commit.began && commit.ended < before)
        };
        assert!(proved(0, refresh.connected.began), "{number}: shown before the intent was durable");
        assert!(proved(refresh.answered, refresh.used[0].began), "{number}: used before it was durable");
        shop.assert_whole(2);
    }
}
