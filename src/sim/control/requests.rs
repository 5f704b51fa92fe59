//! `GET /sim/requests`: what arrived. The one rule: counts and violations are of everything remembered, only the list
//! itself is cut.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::{known_marketplace, pretty};
use crate::sim::answer::Answer;
use crate::sim::form::decode_form;
use crate::sim::marketplace::Kind;
use crate::sim::record::RecordedRequest;
use crate::sim::world::World;

pub(super) fn requests(world: &World, query: &str) -> Result<Answer, String> {
    let wanted = Wanted::parse(query)?;
    let mut found: Vec<RecordedRequest> =
        world.recorder.all().into_iter().filter(|request| wanted.covers(request)).collect();
    let violations: Vec<Value> =
        found.iter().filter(|request| !request.violations.is_empty()).map(violation).collect();
    let surplus = found.len().saturating_sub(wanted.limit.unwrap_or(100));
    found.drain(..surplus);
    let mut counts: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    let mut total = 0;
    for (marketplace, kind, count) in world.recorder.counts() {
        counts.entry(marketplace.name()).or_default().insert(kind.name(), count);
        total += count;
    }
    Ok(pretty(&json!({
        "total": total,
        "counts": counts,
        "connections": {
            "open": world.connections.open.load(Ordering::Relaxed),
            "accepted": world.connections.accepted.load(Ordering::Relaxed),
        },
        "violations": violations,
        "requests": found,
    })))
}

fn violation(request: &RecordedRequest) -> Value {
    json!({ "number": request.number, "marketplace": request.marketplace, "violations": request.violations })
}

/// Which of the recorded requests are wanted.
#[derive(Default)]
struct Wanted {
    marketplace: Option<String>,
    kind: Option<String>,
    limit: Option<usize>,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode_form(raw).ok_or_else(|| format!("{pair} is badly encoded"))?;
            match name {
                "marketplace" => wanted.marketplace = Some(known_marketplace(value)?),
                "kind" if Kind::named(&value).is_some() => wanted.kind = Some(value),
                "kind" => {
                    return Err(format!(
                        "kind {value:?} is none of {}",
                        Kind::ALL.map(Kind::name).join(", ")
                    ));
                }
                "limit" => {
                    let limit = value.parse().map_err(|_| format!("limit is a number, not {value:?}"))?;
                    wanted.limit = Some(limit);
                }
                other => return Err(format!("unknown parameter {other}; expected marketplace, kind, limit")),
            }
        }
        Ok(wanted)
    }

    fn covers(&self, request: &RecordedRequest) -> bool {
        self.marketplace.as_deref().is_none_or(|name| name == "*" || name == request.marketplace)
            && self.kind.as_deref().is_none_or(|kind| kind == request.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn a_mistaken_question_says_what_could_be_asked() {
        for (query, mend) in [
            ("marketplace=etsy", "walmart-golocal"),
            ("kind=x", "token"),
            ("limit=many", "number"),
            ("market=depop", "marketplace"),
        ] {
            let wrong = Wanted::parse(query).err().unwrap();
            assert!(wrong.contains(mend), "{query}: {wrong}");
        }
    }
}
