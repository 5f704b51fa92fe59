//! Signals within a rotation: none but KILL costs a grant, in the server and in a command that serves the store itself.

use std::process::{Command, Stdio};

use crate::{
    program::{PATIENCE, command, get},
    shop::{ACCOUNT, Shop},
};

/// Signals that mean no end.
const NO_END: [&str; 11] =
    ["USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "XCPU", "XFSZ", "PIPE", "HUP"];

#[test]
fn signals_that_mean_no_end_disturb_nobody_and_a_hangup_is_told_to_need_a_restart() {
    let mut shop = Shop::closed();
    shop.run();
    let old = shop.served_with();
    for signal in NO_END {
        shop.program().signal(signal);
    }
    shop.program().mentions("the configuration is read at the start only");
    assert_eq!(shop.served_with(), old);
    shop.assert_whole(1);
}

#[test]
fn nothing_but_kill_ends_the_server_within_a_rotation_and_every_further_word_hears_what_is_waited_for() {
    for first in ["TERM", "INT", "QUIT"] {
        let mut shop = Shop::closed();
        shop.run();
        shop.tokens.hold();
        let _caller = shop.ask();
        shop.tokens.until_held();
        for signal in NO_END {
            shop.program().signal(signal);
        }
        shop.program().signal(first);
        shop.program()
            .mentions("stopping: valid tokens are served until this has ended: a refresh of any@shop-1");
        for further in ["INT", "QUIT", "TERM", "HUP"] {
            shop.program().signal(further);
        }
        shop.program().mentions("this is waited for, since it would be lost: a refresh of any@shop-1");
        shop.tokens.release();
        let said = shop.ended();
        assert_eq!(said.code, Some(0), "{first}: {}", said.err);
        shop.assert_whole(1);
    }
}

#[test]
fn a_command_that_serves_the_store_itself_ends_after_its_rotation_whatever_signals_come() {
    let commands: [&[&str]; 2] = [&["accounts", "refresh", ACCOUNT], &["token", ACCOUNT]];
    for (number, signals) in
        [&["HUP"][..], &["INT", "INT"], &["TERM", "HUP", "QUIT"], &["USR1", "ALRM", "QUIT"]]
            .iter()
            .enumerate()
    {
        let mut shop = Shop::closed();
        shop.tokens.hold();
        let asking = shop.begin(commands[number % 2]);
        shop.tokens.until_held();
        signals.iter().for_each(|signal| asking.signal(signal));
        asking.mentions("waiting for the end of this, since it would be lost: a refresh of any@shop-1");
        shop.tokens.release();
        let said = asking.ended();
        assert_eq!(said.code, Some(130), "{signals:?}: {}", said.err);
        assert_eq!(shop.family().rotations, 1);
        shop.assert_whole(1);
    }
}

#[test]
fn a_command_whose_terminal_is_gone_ends_after_its_rotation() {
    let mut shop = Shop::closed();
    shop.tokens.hold();
    let mut asking: Command = command(shop.folder(), &["accounts", "refresh", ACCOUNT]);
    let mut asking = asking.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shop.tokens.until_held();
    drop((asking.stdout.take(), asking.stderr.take()));
    let process = rustix::process::Pid::from_child(&asking);
    rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
    // It says to nobody what it waits for.
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    shop.tokens.release();
    assert_eq!(asking.wait().unwrap().code(), Some(130));
    shop.assert_whole(1);
}

#[test]
fn until_the_last_rotation_has_ended_a_stopping_server_takes_connections_and_serves_valid_tokens() {
    let mut shop = Shop::closed();
    shop.import_another("any@shop-2", "shop-2");
    shop.run();
    let old = shop.served_with();
    shop.tokens.hold();
    let _refresh = shop.begin(&["accounts", "refresh", ACCOUNT]);
    shop.tokens.until_held();
    shop.program().signal("TERM");
    shop.program().mentions("stopping: valid tokens are served");
    assert!(shop.admin("/readyz").starts_with("HTTP/1.1 503"));
    assert!(shop.admin("/livez").starts_with("HTTP/1.1 200"));
    for _ in 0..20 {
        assert_eq!(shop.served_with(), old);
    }
    let began = std::time::Instant::now();
    let refused = get(shop.proxy(), "/any@shop-2/x", "");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"draining\""), "{refused}");
    assert!(refused.to_lowercase().contains("retry-after: 1") && began.elapsed() < PATIENCE / 3, "{refused}");
    shop.tokens.release();
    assert_eq!(shop.ended().code, Some(0));
    let family = |seller: &str| shop.market.sim.families().into_iter().find(|f| f.seller == seller).unwrap();
    assert_eq!((family("shop-1").rotations, family("shop-2").rotations), (2, 0));
}
