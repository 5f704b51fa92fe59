//! The built program between callers and marketplaces by hand, several pairs at once, driven from a seed. The one rule:
//! a pair has an app of its own, and so connections nobody else uses; what happens on them is one sequence.

use std::{future::Future, net::SocketAddr};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::LocalSet;

use crate::{
    by_hand::{Upstream, trust},
    certificates::Authority,
    program::Alone,
    wire::Wire,
};

/// A caller, a marketplace, and chance.
pub(crate) struct Lane {
    pub(crate) upstream: Upstream,
    pub(crate) dice: StdRng,
    /// How many tries are this lane's.
    pub(crate) tries: u64,
    proxy: SocketAddr,
    name: String,
}

impl Lane {
    /// A connection of its caller.
    pub(crate) async fn caller(&self) -> Wire {
        Wire::to(self.proxy).await
    }

    /// The head of a request to its marketplace, but for the empty line.
    pub(crate) fn request(&self, method: &str, target: &str) -> String {
        format!("{method} /{}{target} HTTP/1.1\r\nHost: localhost\r\n", self.name)
    }

    /// One of several, by chance.
    pub(crate) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.dice.random_range(0..among.len())]
    }
}

/// Runs a test on lanes whose marketplaces speak these protocols over TLS, or HTTP/1.1 without TLS where there are none.
/// `NAME_TRIES` is how many tries there are in all, `NAME_SEED` repeats what a failed test printed.
pub(crate) fn drive<F: Future<Output = ()> + 'static>(
    name: &str,
    usually: u64,
    protocols: &[&[&str]],
    test: impl Fn(Lane) -> F,
) {
    let number = |what: &str| std::env::var(format!("{name}_{what}")).ok().map(|text| text.parse().unwrap());
    let tries: u64 = number("TRIES").unwrap_or(usually);
    let seed: u64 = number("SEED").unwrap_or_else(rand::random);
    println!("{name}_TRIES={tries} {name}_SEED={seed}");
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let upstream = |protocols: &&[&str]| match protocols {
        [] => Upstream::plain(),
        _ => Upstream::secured(&authority, protocols),
    };
    let upstreams: Vec<Upstream> = protocols.iter().map(upstream).collect();
    let apps = upstreams.iter().enumerate().map(|(number, upstream)| upstream.app(&format!("lane{number}")));
    let alone = Alone::start(&(trust(&authority, folder.path()) + &apps.collect::<String>()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let mut running = tokio::task::JoinSet::new();
        for (number, upstream) in upstreams.into_iter().enumerate() {
            let dice = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
            let (name, proxy) = (format!("lane{number}"), alone.proxy);
            let tries = tries.div_ceil(protocols.len() as u64);
            running.spawn_local(test(Lane { upstream, dice, tries, proxy, name }));
        }
        running.join_all().await;
    });
}
