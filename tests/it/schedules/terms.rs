//! The terms of a schedule: how many accounts, how the server is, how callers come. The one rule: they follow from the seed.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use marketgate::config::{self, Account, App};

use super::{
    dice::{Dice, For},
    fault::{Course, Manner, Schedule},
};

const SECOND: Duration = Duration::from_secs(1);

/// How long a lost call may be repeated, in the configuration of most schedules.
const REUSE_WINDOW: Duration = Duration::from_secs(3);

/// What the budget of some schedules allows.
pub(super) const BUDGET: (usize, Duration) = (5, Duration::from_secs(60));

#[derive(Debug)]
pub(super) struct Terms {
    pub(super) app: Arc<App>,
    pub(super) accounts: Vec<Arc<Account>>,
    /// How long access tokens live.
    pub(super) lifetime: Duration,
    /// How long faults may happen.
    pub(super) span: Duration,
    pub(super) is_budgeted: bool,
    /// How long the configuration lets a lost call be repeated.
    pub(super) window: Duration,
    /// How long a used refresh token is taken for a repetition.
    pub(super) grace: Duration,
    /// How often a used refresh token is granted again where that is counted.
    pub(super) reuses: u64,
    /// Whether all accounts share one session.
    pub(super) is_one_session: bool,
    /// Whether a refresh ends the access token before it.
    pub(super) ends_access: bool,
    /// How refresh tokens end by themselves.
    pub(super) end: Option<End>,
    /// How many percent of the refusals come in words of the server's own.
    pub(super) odd_words: u64,
    /// How many percent of the answers bring no new refresh token.
    pub(super) keeps: u64,
    /// How many percent of the steps go wrong, where the dice decide.
    pub(super) often: u64,
    pub(super) callers: u64,
    /// How many percent of the API's answers are a 401 without reason.
    pub(super) moody: u64,
    /// Whether the faults end with a crash.
    pub(super) ends_in_crash: bool,
    /// Whether a crash is one of the whole machine, whose boot clock starts anew.
    pub(super) reboots: bool,
    /// How many percent of the restarts take minutes.
    pub(super) long_ends: u64,
}

/// How refresh tokens end by themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) after: Duration,
    /// Whether each refresh moves it.
    pub(super) is_sliding: bool,
    /// Whether answers say so.
    pub(super) is_told: bool,
}

impl Terms {
    pub(super) fn of(schedule: &Schedule) -> Self {
        let mut dice = Dice::of(schedule.seed, For::Terms, [schedule.manner as u64, 0, 0]);
        let chaos = schedule.course == Course::Chaos;
        let is_budgeted = dice.percent(25);
        let most = if chaos { 5 } else { 2 };
        let accounts = 1 + dice.below(if is_budgeted { most.min(3) } else { most });
        let lifetime = SECOND * dice.pick(&[10, 20, 30, 60, 300]);
        let window = match schedule.manner {
            Manner::Counting | Manner::Unlocked => Duration::ZERO,
            _ => REUSE_WINDOW,
        };
        let app = app(is_budgeted, window);
        let mut habits = Dice::of(schedule.seed, For::Terms, [schedule.manner as u64, 1, 0]);
        Self {
            accounts: (0..accounts).map(|number| account(&app, number)).collect(),
            app,
            lifetime,
            span: if chaos { (lifetime * 6).max(90 * SECOND) } else { lifetime * 5 / 2 },
            is_budgeted,
            grace: match schedule.manner {
                Manner::Strict | Manner::Counting | Manner::Unlocked => Duration::ZERO,
                Manner::Grace => SECOND * dice.pick(&[20, 60, 600]),
                Manner::Lenient => Duration::MAX,
            },
            keeps: dice.pick(&[0, 0, 0, 20]),
            often: dice.pick(&[2, 4, 8, 15]),
            callers: 1 + dice.below(3),
            moody: dice.pick(&[0, 0, 3]),
            ends_in_crash: dice.percent(50),
            reboots: dice.percent(20),
            long_ends: if chaos { 12 } else { 0 },
            window,
            reuses: habits.pick(&[0, 0, 1]),
            is_one_session: schedule.manner == Manner::Counting && habits.percent(40),
            ends_access: habits.percent(25),
            end: habits.percent(25).then(|| End {
                after: (lifetime * habits.pick(&[3, 5, 9])).max(90 * SECOND),
                is_sliding: habits.percent(60),
                is_told: habits.percent(60),
            }),
            odd_words: habits.pick(&[0, 0, 50]),
        }
    }
}

fn app(is_budgeted: bool, window: Duration) -> Arc<App> {
    static APPS: OnceLock<[Arc<App>; 4]> = OnceLock::new();
    const BUDGET: &str = "token_budget = \"5/60s\"";
    let apps = APPS.get_or_init(|| [read("", "3s"), read(BUDGET, "3s"), read("", "0s"), read(BUDGET, "0s")]);
    let app = apps[usize::from(is_budgeted) + 2 * usize::from(window.is_zero())].clone();
    assert_eq!(app.profile.reuse_window, window);
    app
}

fn read(budget: &str, window: &str) -> Arc<App> {
    let text = format!(
        "[store]\npath = \"unused.db\"\n[apps.shop]\nprovider = \"generic\"\ngrant = \"authorization_code\"\n\
         api = \"http://127.0.0.1:1/api\"\ntoken_url = \"http://127.0.0.1:1/token\"\n\
         authorize_url = \"http://127.0.0.1:1/authorize\"\nclient_id = \"id\"\nclient_secret = \"secret\"\n\
         reuse_window = \"{window}\"\n{budget}\n"
    );
    let loaded = config::parse("proxy.toml", &text, Path::new("/nowhere"), &|_| None).unwrap();
    loaded.settings.apps.values().next().unwrap().clone()
}

fn account(app: &App, number: u64) -> Arc<Account> {
    let credentials = app.client.as_ref().unwrap().credentials();
    let name = format!("a{number}").parse().unwrap();
    Arc::new(app.account_with(name, credentials, Default::default()).unwrap())
}
