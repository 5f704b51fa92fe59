//! A disk that takes writes and then says that they are not durable: nothing is spent that could be lost, nothing is lost
//! that was spent, and when the disk works again everything goes on by itself.

use crate::{
    power_cut::{Disk, Found},
    shop::{ACCOUNT, Shop, TAKEN, UNSTORED},
    strace::{Strace, traced},
    traced::Refresh,
};

/// Every call from now on.
const ALL: &str = "1+";

#[test]
fn as_long_as_no_intent_can_be_made_durable_no_refresh_token_is_shown() {
    let mut shop = Shop::impatient();
    shop.run();
    let Some(strace) = Strace::fail_syncs(shop.program(), ALL) else { return };
    let refused = shop.get();
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"token_unavailable\""), "{refused}");
    assert!(refused.contains("the store failed") && refused.contains("look at the disk"), "{refused}");
    assert!(shop.admin("/readyz").contains("store: the store failed"), "{}", shop.admin("/readyz"));
    let state = shop.state();
    assert!(state["trouble"]["detail"].as_str().unwrap().contains("the store failed"), "{state}");
    assert_eq!((shop.market.sim.token_calls("*"), shop.family().rotations), (0, 0), "it was spent");
    strace.detach();
    shop.until_served();
    assert_eq!(shop.market.sim.token_calls("*"), 1);
    shop.until_ready();
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
fn a_token_that_could_not_be_stored_to_the_last_is_taken_in_by_the_next_start_that_can() {
    let mut shop = Shop::closed();
    shop.run();
    shop.tokens.hold();
    let caller = shop.ask();
    shop.tokens.until_held();
    let Some(_strace) = Strace::fail_syncs(shop.program(), ALL) else { return };
    shop.tokens.release();
    assert!(caller.join().unwrap().starts_with("HTTP/1.1 200"));
    shop.stop_spilling();
    let (refused, _) = traced(shop.folder(), &["accounts"], Some(ALL));
    assert_eq!(refused.code, Some(6), "{}", refused.err);
    shop.assert_adopted(1);
}

/// The record can be read, but only because the last call of its commit failed: a power cut would undo it.
#[test]
fn what_is_stored_and_spilled_as_well_is_made_durable_by_the_next_start() {
    let mut shop = Shop::closed();
    shop.run();
    shop.served_with();
    let mut disk = Disk::of(&shop);
    let Some(strace) = Strace::fail_syncs(shop.program(), "8+") else { return };
    shop.say(&["accounts", "refresh", ACCOUNT]);
    shop.program().mentions(UNSTORED);
    shop.stop_spilling();
    // The thread that writes the store is cut off, the one that spills is not.
    let found = disk.cut_at_every_moment(&strace.detach(), &shop);
    assert_eq!(found.last().unwrap().1, Found::Record, "it was not spilled: {found:?}");
    let (said, calls) = traced(shop.folder(), &["accounts"], None);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let found = disk.cut_at_every_moment(&calls, &shop);
    assert!(
        found.iter().all(|(_, found)| *found == Found::Record),
        "forgotten where it was spilled: {found:?}"
    );
    shop.assert_whole(2);
}

/// Eight calls make one refresh durable: four the intent, four the record.
#[test]
fn whichever_call_fails_that_makes_a_refresh_durable_nothing_is_shown_or_used_before_it_succeeded() {
    let cases: Vec<_> = (1..=8).flat_map(|first| [(first, first), (first, first + 1)]).collect();
    std::thread::scope(|tries| {
        for part in cases.chunks(4) {
            tries.spawn(|| part.iter().for_each(|(first, last)| refresh_while_calls_fail(*first, *last)));
        }
    });
}

fn refresh_while_calls_fail(first: usize, last: usize) {
    let mut shop = Shop::closed();
    shop.run();
    let old = shop.served_with();
    let disk = Disk::of(&shop);
    let Some(strace) = Strace::fail_syncs(shop.program(), &format!("{first}..{last}")) else { return };
    shop.until("the token call", |shop| {
        shop.say(&["accounts", "refresh", ACCOUNT]);
        shop.market.sim.token_calls("*") == 2
    });
    // The token of the import, the one that is there, and the next.
    shop.program().mentions("\"generation\":3");
    shop.until_served_with_another_than(&old);
    let calls = strace.detach();
    let failed = calls.iter().filter(|call| call.syncs() && call.result != Some(0)).count();
    assert_eq!(
        failed,
        last - first + 1,
        "of the calls that make it durable there were none from {first} to {last}"
    );
    Refresh::found_in(&calls, &shop).assert_survives_a_power_cut(disk, &calls, &shop);
    shop.assert_whole(2);
}
