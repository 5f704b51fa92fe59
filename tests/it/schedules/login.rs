//! A seller who logs in again while the program runs. What the login brought is stored again and again until the store takes
//! it, as the program does; keepers notice by themselves that the grant in the store is another.

use std::{sync::Arc, time::Duration};

use marketgate::secret::Secret;

use super::{dice::For, world::World};

pub(super) async fn log_in(world: Arc<World>, account: usize, number: u64) {
    let mut dice = world.dice(For::Login, [number, account as u64, 0]);
    world.pass(dice.millis(50, 3_000)).await;
    let now = world.now();
    let refresh = world.state().truth.consent_again(account, now);
    world.tell(|| format!("the seller of account {account} logs in: refresh token {refresh}"));
    let id = world.terms.accounts[account].id.clone();
    loop {
        let (live, store) = {
            let mut state = world.state();
            if state.life.drain.is_cancelled() {
                return;
            }
            state.truth.store_failed(account);
            (state.life.live.upgrade(), state.life.store.upgrade())
        };
        let (Some(live), Some(store)) = (live, store) else { return };
        drop(live.change(&id, None, Duration::MAX).await);
        world.live_on().await;
        let token = Secret::new(format!("rt-{account}-{refresh}"));
        let alone = world.logins.lock().await;
        let is_newest = world.state().truth.finds(account, refresh);
        if !is_newest {
            // The seller has logged in once more meanwhile.
            return;
        }
        if store.bring(account, token, &mut dice).await.is_ok() {
            world.state().truth.store_failed(account);
            drop(live.change(&id, None, Duration::MAX).await);
            return;
        }
        drop((live, store, alone));
        world.pass(Duration::from_secs(1)).await;
    }
}
