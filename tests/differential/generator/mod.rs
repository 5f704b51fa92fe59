//! What is asked: conversations of a few requests each, out of chance alone. The rule: what a conversation holds depends
//! on the seed, the server and its number, so that one number is enough to have it again.

mod body;
mod field;
mod page;
mod refused;
mod reply;
mod target;

use crate::{
    dice::Dice,
    files::Facts,
    request::{Request, Route},
};

/// What the generator must know about a server.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) name: &'static str,
    /// Its API as the configuration writes it, and the path of that.
    pub(crate) api: String,
    pub(crate) base: &'static str,
    /// Files it serves, for conditional and partial requests. Without any it serves none.
    pub(crate) files: Vec<Facts>,
    /// Conditions that may be put on a request for one of them.
    pub(crate) conditions: &'static [&'static str],
    /// Pages it answers without an application.
    pub(crate) own_pages: &'static [&'static str],
    /// Methods beside the usual ones.
    pub(crate) methods: &'static [&'static str],
    /// The gate speaks HTTP/2 with it.
    pub(crate) is_http2: bool,
    /// Its application knows trailers and informational answers.
    pub(crate) has_extras: bool,
}

/// What is sent at once.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    One(Request),
    Pipelined(Vec<Request>),
}

impl Turn {
    pub(crate) fn requests(&self) -> &[Request] {
        match self {
            Self::One(request) => std::slice::from_ref(request),
            Self::Pipelined(requests) => requests,
        }
    }
}

/// The conversation of this number.
pub(crate) fn conversation(site: &Site, seed: u64, number: u64) -> Vec<Turn> {
    let mut dice = Dice::new(seed, site.name, number);
    let listener = dice.one_in(4);
    let turns = dice.between(1, 8);
    (0..turns).map(|_| turn(&mut dice, site, listener)).collect()
}

fn turn(dice: &mut Dice, site: &Site, listener: bool) -> Turn {
    if dice.one_in(20) {
        let route = route(dice, listener);
        return Turn::One(refused::request(dice, route));
    }
    if dice.one_in(12) {
        let count = dice.between(2, 4);
        let mut requests: Vec<Request> = (0..count).map(|_| pipelined(dice, site, listener)).collect();
        if dice.one_in(4) {
            let route = route(dice, listener);
            requests.push(page::request(dice, site, route));
        }
        return Turn::Pipelined(requests);
    }
    let route = route(dice, listener);
    Turn::One(page::request(dice, site, route))
}

/// One that more requests may follow at once.
fn pipelined(dice: &mut Dice, site: &Site, listener: bool) -> Request {
    loop {
        let route = route(dice, listener);
        let request = page::request(dice, site, route);
        if !(request.http10 || request.closes() || WAITED_FOR.iter().any(|name| request.has(name))) {
            return request;
        }
    }
}

/// Who sends these waits for the answer.
const WAITED_FOR: [&str; 2] = ["upgrade", "expect"];

fn route(dice: &mut Dice, listener: bool) -> Route {
    if listener {
        return Route::Listener;
    }
    dice.pick(&[Route::Prefix, Route::Prefix, Route::Account, Route::EncodedAccount, Route::Header])
}
