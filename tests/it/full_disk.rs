//! A disk that fills up under the whole program, before a refresh or in the middle of one, and has room again later: nothing
//! is spent that could not be kept, nothing is lost that was spent, and nobody logs in again.

use crate::{
    shop::{ACCOUNT, Shop, TAKEN, UNSTORED},
    small_disk::SmallDisk,
};

#[test]
fn on_a_full_disk_no_refresh_token_is_shown_and_it_goes_on_by_itself_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut shop = Shop::impatient_in(disk.path());
    shop.run();
    disk.fill();
    let refused = shop.get();
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"token_unavailable\""), "{refused}");
    assert!(refused.contains("the store is full") && refused.contains("make room"), "{refused}");
    assert!(shop.admin("/readyz").contains("store: the store is full"), "{}", shop.admin("/readyz"));
    let state = shop.state();
    assert!(state["trouble"]["detail"].as_str().unwrap().contains("the store is full"), "{state}");
    assert_eq!((shop.market.sim.token_calls("*"), shop.family().rotations), (0, 0), "it was spent");
    disk.make_room();
    shop.until_served();
    assert_eq!(shop.market.sim.token_calls("*"), 1);
    shop.until_ready();
    shop.assert_whole(1);
}

#[test]
fn on_a_full_disk_the_program_starts_and_uses_the_access_token_that_is_there() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut shop = Shop::closed_in(disk.path());
    shop.run();
    let old = shop.served_with();
    shop.stop();
    disk.fill();
    shop.run();
    assert_eq!(shop.served_with(), old);
    let refused = shop.say(&["accounts", "refresh", ACCOUNT]);
    assert!(refused.code != Some(0) && refused.err.contains("the store is full"), "{refused:?}");
    assert_eq!(shop.served_with(), old);
    assert_eq!((shop.market.sim.token_calls("*"), shop.family().rotations), (1, 1), "it was spent");
    disk.make_room();
    shop.assert_whole(1);
}

#[test]
fn a_token_that_came_as_the_disk_filled_up_is_kept_and_used_only_when_it_is_stored() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut shop = Shop::closed_in(disk.path());
    shop.run();
    let old = shop.served_with();
    // The journal of a program that has run for a while has room enough.
    shop.stop();
    shop.run();
    shop.tokens.hold();
    let refresh = shop.begin(&["accounts", "refresh", ACCOUNT]);
    shop.tokens.until_held();
    disk.fill();
    shop.tokens.release();
    shop.program().mentions(UNSTORED);
    assert_eq!(shop.family().rotations, 2);
    assert_eq!((shop.served_with(), shop.unpersisted()), (old.clone(), 1), "used before it was durable");
    disk.make_room();
    shop.program().mentions(TAKEN);
    shop.until_served_with_another_than(&old);
    assert_eq!(shop.unpersisted(), 0);
    drop(refresh);
    shop.assert_whole(2);
}

#[test]
fn a_caller_without_another_token_is_served_with_the_one_that_came_as_the_disk_filled_up() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut shop = Shop::closed_in(disk.path());
    full_in_the_middle_of_a_refresh(&mut shop, &disk);
    assert_eq!(shop.unpersisted(), 1);
    let state = shop.state();
    assert!(state["trouble"]["detail"].as_str().unwrap().contains(UNSTORED), "{state}");
    disk.make_room();
    shop.program().mentions(TAKEN);
    shop.assert_whole(1);
}

#[test]
fn a_program_that_is_stopped_while_the_disk_is_full_leaves_the_token_to_the_next_start_that_has_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut shop = Shop::closed_in(disk.path());
    full_in_the_middle_of_a_refresh(&mut shop, &disk);
    shop.stop_spilling();
    // Its journal has gone with it.
    disk.fill();
    let refused = shop.say(&["accounts"]);
    assert_eq!(refused.code, Some(6), "{}", refused.err);
    assert!(refused.err.contains("full"), "{}", refused.err);
    disk.make_room();
    shop.assert_adopted(1);
}

/// The first refresh: the intent finds room, the record does not.
fn full_in_the_middle_of_a_refresh(shop: &mut Shop, disk: &SmallDisk) {
    shop.run();
    shop.tokens.hold();
    let caller = shop.ask();
    shop.tokens.until_held();
    disk.fill();
    shop.tokens.release();
    let answer = caller.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
