//! Looks at every seller while the program is dead: does the store hold what the marketplace would accept? The one rule:
//! a seller counts as lost inside the window only if the marketplace had rotated and the store had not yet written it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use marketgate::{
    sim::{Family, fingerprint},
    store::{Grant, LoginReason, Record, Standing},
};

use crate::{Plan, load::Load, program::Program, report::Report, sellers::Sellers};

/// How long the marketplace may take to end a call whose caller was killed.
pub(crate) const SETTLES: Duration = Duration::from_millis(60);

/// How long a quiet life is at the end: longer than a call is given that a killed program left under way.
const QUIET_LIFE: Duration = Duration::from_secs(16);

/// What is known from earlier cycles.
#[derive(Default)]
pub(crate) struct Census {
    /// Sellers whose answer was lost in a kill, and who have not been seen to be told so or healed.
    open: HashSet<String>,
}

impl Census {
    /// After a kill.
    pub(crate) async fn take(&mut self, sellers: &Sellers, report: &mut Report) {
        let store = sellers.open();
        let families = newest(sellers);
        for record in sellers.records(&store).await {
            let name = record.id.account.to_string();
            let family = &families[&name];
            let behind = !holds(&record, family);
            match &record.standing {
                Standing::Active if behind => {
                    report.in_window(self.open.insert(name));
                }
                Standing::Active => {
                    report.healed(self.open.remove(&name));
                }
                Standing::LoginRequired(LoginReason::RotationResponseLost) if self.open.remove(&name) => {
                    report.lost_inside(family);
                    sellers.reconnect(&store, &name, record.generation).await;
                }
                // It was shown, lost and told within one life of the program.
                Standing::LoginRequired(LoginReason::RotationResponseLost) if family.reuse_attempts > 0 => {
                    report.fail(format!("{name}: lost without a kill in the window"));
                    sellers.reconnect(&store, &name, record.generation).await;
                }
                other => {
                    report.fail(format!("{name}: {other:?} with the server at {:?}", family.ended));
                    sellers.reconnect(&store, &name, record.generation).await;
                }
            }
        }
        store.shut_down().await.unwrap();
    }

    /// At the end: one quiet life in which everybody must be served, or told why not.
    pub(crate) async fn settle(&mut self, plan: &Plan, sellers: &Sellers, report: &mut Report) {
        for round in 0..3 {
            let program = Program::start(&plan.program, sellers, report).await;
            let load = Load::begin(sellers, program.proxy());
            tokio::time::sleep(QUIET_LIFE).await;
            let heard = load.end().await;
            program.kill();
            tokio::time::sleep(SETTLES).await;
            let silent = heard.iter().filter(|(_, heard)| heard.served == 0 && heard.refused.is_empty());
            if round == 2 {
                // Whose answer the last kill cut off may be told only now.
                let untold = |name: &String| self.open.contains(name);
                for (name, heard) in heard.iter().filter(|(name, h)| h.served == 0 && !untold(name)) {
                    report.fail(format!("{name}: not served at the end: {heard:?}"));
                }
            }
            assert_eq!(silent.count(), 0, "a seller nobody heard of");
            report.heard(heard);
            self.take(sellers, report).await;
        }
    }
}

/// The family of each seller's newest consent.
fn newest(sellers: &Sellers) -> HashMap<String, Family> {
    sellers.simulator.families().into_iter().map(|family| (family.seller.clone(), family)).collect()
}

fn holds(record: &Record, family: &Family) -> bool {
    let Some(Grant::Refresh { token, .. }) = &record.grant else { return false };
    fingerprint(token.expose()) == family.refresh_token
}
