//! Those who come for tokens. The one rule: they do what callers do: come, wait, hang up, use a token, hear a 401, stay away.

use std::{sync::Arc, time::Duration};

use marketgate::grant::{Credential, LiveAccount, LiveAccounts, Replacement};

use super::{
    dice::{Dice, For},
    life::find,
    world::World,
};

/// One caller, for as long as the process lives.
pub(super) async fn call(world: Arc<World>, accounts: Arc<LiveAccounts>, account: usize, number: u64) {
    let life = world.state().life.number;
    let mut dice = world.dice(For::Caller, [life, account as u64, number]);
    loop {
        world.pass(pause(&mut dice, world.terms.lifetime)).await;
        let live = find(&world, &accounts, account).await;
        let credential = match dice.below(10) {
            0 => live.borrow_token(),
            1 => hang_up(&live, dice.millis(1, 700)).await,
            _ => wait(&world, &accounts, live.clone(), account, dice.millis(300, 12_000)).await,
        };
        world.live_on().await;
        if let Some(credential) = credential {
            use_token(&world, &live, account, &credential, &mut dice).await;
        }
    }
}

fn pause(dice: &mut Dice, lifetime: Duration) -> Duration {
    let life = lifetime.as_millis() as u64;
    match dice.below(20) {
        0 => dice.millis(life, 3 * life),
        1..=5 => dice.millis(life / 4, life),
        _ => dice.millis(20, life / 4),
    }
}

async fn hang_up(live: &LiveAccount, after: Duration) -> Option<Arc<Credential>> {
    tokio::time::timeout(after, live.token(Duration::from_secs(10))).await.ok()?.ok()
}

async fn wait(
    world: &World,
    accounts: &LiveAccounts,
    live: Arc<LiveAccount>,
    account: usize,
    wait: Duration,
) -> Option<Arc<Credential>> {
    match live.token(wait).await {
        Err(unavailable) if unavailable.changed => {
            drop(live);
            find(world, accounts, account).await.token(wait).await.ok()
        }
        outcome => outcome.ok(),
    }
}

/// The token goes to the API, which may refuse it.
async fn use_token(
    world: &World,
    live: &LiveAccount,
    account: usize,
    credential: &Credential,
    dice: &mut Dice,
) {
    world.handed(account, credential);
    let Some((_, access)) = super::truth::read(credential.token.secret.expose()) else { return };
    world.pass(dice.millis(5, 300)).await;
    let now = world.now();
    let moody = dice.percent(world.terms.moody);
    let welcome = world.state().truth.is_welcome(account, access, now);
    if welcome && !moody {
        return;
    }
    world.state().truth.refused(account, access);
    world.tell(|| format!("the API refuses access token {access} of account {account}"));
    if dice.percent(50) {
        live.note_refused(credential);
        return;
    }
    let (tried, wait) = (credential.token.generation, dice.millis(500, 10_000));
    if let Replacement::Repeat(better) = live.replace_refused(credential, tried, true, wait).await {
        world.live_on().await;
        world.handed(account, &better);
    }
}
