//! A short form of `cargo bench --bench mixed`, which tells what it is about.

#[path = "../../benches/mixed/storm/mod.rs"]
mod storm;

use storm::Plan;

#[test]
fn in_a_mixed_load_no_token_body_or_grant_is_mixed_up_cut_short_or_lost() {
    let whole = Plan::of(env!("CARGO_BIN_EXE_marketgate"));
    let report = storm::rage(&Plan { seconds: 8, accounts: 24, callers: 12, ..whole });
    report.print();
    assert!(report.is_clean(), "{:?}", report.faults());
}
