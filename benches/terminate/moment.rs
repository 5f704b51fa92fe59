//! One program, stopped at one moment of its token call, and what became of its seller. The one rule: whatever is not as
//! promised is named.

use std::time::{Duration, Instant};

use marketgate::{
    sim::Fault,
    store::{Record, Standing},
};

use crate::{
    Plan,
    program::Program,
    shop::Shop,
    subject::{Subject, ends, may_end_with},
};

/// What became of it.
pub(crate) struct Outcome {
    pub(crate) moment: Duration,
    pub(crate) subject: Subject,
    pub(crate) signals: &'static [&'static str],
    /// Whether the marketplace had rotated when it was stopped.
    pub(crate) rotated_before: bool,
    /// Whether the caller who waited was answered by the marketplace.
    pub(crate) answered: bool,
    /// From the marketplace's token answer to the program's end.
    pub(crate) after_answer: Duration,
    pub(crate) faults: Vec<String>,
}

impl Outcome {
    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(what());
        }
    }
}

/// Sends signals to a program that long after its token call has arrived at the marketplace. `waits`: the caller for whom it
/// is made is still there; else he has hung up, and nothing but the call itself keeps the program from ending.
pub(crate) async fn stop_at(
    plan: &Plan,
    moment: Duration,
    subject: Subject,
    signals: &'static [&'static str],
    waits: bool,
) -> Outcome {
    let shop = Shop::open(subject).await;
    let slow = Fault::Stall { before_ms: plan.call / 2, after_ms: plan.call - plan.call / 2 };
    shop.simulator.add_fault(slow.at("generic").on_token());
    let program = Program::begin(&plan.program, &shop, subject).await;
    let url = format!("http://{}/any@shop/x", program.proxy);
    let caller = tokio::spawn(async move { if subject == Subject::Run { ask(url).await } else { None } });
    let sent = |sim: &marketgate::sim::Simulator| sim.requests().iter().any(|r| r.body_length.is_some());
    shop.simulator.until(sent).await;
    if !waits {
        caller.abort();
    }
    // Not a wait for anything: the moment is what is varied.
    tokio::time::sleep(moment).await;
    let rotated_before = shop.family().rotations > 0;
    for signal in signals {
        program.signal(signal);
        tokio::time::sleep(Duration::from_millis(plan.step)).await;
    }
    let answer = async {
        // A program that ends too early gets none.
        let call = Duration::from_millis(2 * plan.call);
        let answer = shop.simulator.until(|sim| sim.requests()[0].status.is_some());
        tokio::time::timeout(call, answer).await.map(|()| Instant::now())
    };
    let ends = ends(subject, signals);
    let ended = async {
        if !ends && subject == Subject::Run {
            shop.simulator.until(|sim| sim.requests()[0].status.is_some()).await;
            program.signal("TERM");
        }
        (program.ended().await, Instant::now())
    };
    let (answered_at, ((status, said), ended_at)) = tokio::join!(answer, ended);
    let after_answer = answered_at.map_or(Duration::ZERO, |at| ended_at.saturating_duration_since(at));
    let answered = caller.await.is_ok_and(|status| status == Some(200));
    let faults = Vec::new();
    let mut outcome = Outcome { moment, subject, signals, rotated_before, answered, after_answer, faults };
    outcome.expect(may_end_with(subject, ends, status.code()), || format!("{status}: {said}"));
    left_whole(&mut outcome, &shop, &shop.record().await);
    goes_on(&mut outcome, plan, &shop).await;
    outcome
}

/// What is in the store is what the marketplace would accept.
fn left_whole(outcome: &mut Outcome, shop: &Shop, record: &Record) {
    let family = shop.family();
    outcome.expect(family.rotations == 1, || format!("{} rotations", family.rotations));
    outcome.expect(shop.accepts(record), || "the new refresh token was lost".to_owned());
    outcome.expect(record.standing == Standing::Active, || format!("{:?}", record.standing));
    outcome.expect(record.intent.is_none(), || "an intent was left open".to_owned());
}

/// The next program serves with what it finds, and refreshes with it.
async fn goes_on(outcome: &mut Outcome, plan: &Plan, shop: &Shop) {
    let program = Program::begin(&plan.program, shop, Subject::Run).await;
    let served = ask(format!("http://{}/any@shop/x", program.proxy)).await;
    outcome.expect(served == Some(200), || format!("answered {served:?} after the next start"));
    let calls = shop.simulator.token_calls("generic");
    outcome.expect(calls == 1, || format!("{calls} token calls before a refresh was asked for"));
    let refresh = client().post(format!("http://{}/api/accounts/any/shop/refresh", program.admin));
    let refreshed = refresh.send().await.ok().map(|answer| answer.status().as_u16());
    outcome.expect(refreshed == Some(200), || format!("the next refresh was answered {refreshed:?}"));
    program.signal("TERM");
    let (status, said) = program.ended().await;
    outcome.expect(status.code() == Some(0), || format!("{status}: {said}"));
    let family = shop.family();
    let unharmed = (family.rotations, family.shown_again, family.ended) == (2, 0, None);
    outcome.expect(unharmed, || format!("{family:?}"));
}

/// The status of an answer, if there is one: a program that stops may close the connection instead.
async fn ask(url: String) -> Option<u16> {
    let answer = client().get(url).send().await.ok()?;
    Some(answer.status().as_u16())
}

/// A client that takes nothing from its environment.
fn client() -> reqwest::Client {
    let tls = marketgate::tls::client_config(None).unwrap();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap()
}
