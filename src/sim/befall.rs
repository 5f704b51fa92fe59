//! What is answered where faults may befall: the marketplace's own answer, something in its place, or a broken
//! connection. The one rule: each fault says whether what was asked is done, and does exactly that.

use hyper::Response;
use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use super::arrival::Arrival;
use super::body::AnswerBody;
use super::exchange::{Broken, Connection};
use super::fault::Fault;
use super::lock::locked;
use super::marketplace::Kind;
use super::world::World;
use super::{credential, vendor};

/// What the marketplace or the fault in its place answers.
pub(super) async fn settle(
    world: &Arc<World>,
    connection: &Connection,
    arrival: Arrival,
    fault: Option<Fault>,
) -> Result<Answer, Broken> {
    let Some(fault) = fault else { return worked(world, arrival).await };
    match fault {
        Fault::Hang {} => std::future::pending().await,
        Fault::Reset {} => {
            connection.switch.reset();
            Err(Broken)
        }
        Fault::Revoke {} => {
            credential::end(world, &arrival);
            Ok(vendor::answer(world, &arrival))
        }
        Fault::ExpiredAs400 {} => {
            credential::end(world, &arrival);
            Ok(vendor::expired_as_400())
        }
        Fault::Status { status, retry_after, body } => {
            let refusal = match body {
                Some(body) => Answer::literal(status, &body),
                None => vendor::refusal(world, arrival.marketplace, arrival.kind, status, "simulated fault"),
            };
            Ok(match retry_after {
                Some(when) => refusal.header("retry-after", &when),
                None => refusal,
            })
        }
        Fault::Garbage {} => Ok(Answer::text(200, "text/html; charset=utf-8", GARBAGE)),
        Fault::TokenAnswer { status, content_type, body } => {
            Ok(Answer::text(status, &content_type, vendor::with_token(world, &arrival, body)))
        }
        Fault::Stall { before_ms, after_ms } => stalled(world, arrival, before_ms, after_ms).await,
        Fault::CutAfterRotating {} => {
            vendor::answer(world, &arrival);
            connection.switch.reset();
            Err(Broken)
        }
        Fault::StatusAfterRotating { status } => {
            vendor::answer(world, &arrival);
            Ok(vendor::refusal(world, arrival.marketplace, arrival.kind, status, "simulated fault"))
        }
        _ => worked(world, arrival).await,
    }
}

/// The answer, after the time that the server works on a token call.
async fn worked(world: &Arc<World>, arrival: Arrival) -> Result<Answer, Broken> {
    match world.policies.of(arrival.marketplace).work_ms {
        work_ms if work_ms > 0 && arrival.kind == Kind::Token => stalled(world, arrival, work_ms, 0).await,
        _ => Ok(vendor::answer(world, &arrival)),
    }
}

/// The work is a task of its own: a client that leaves does not undo it.
async fn stalled(
    world: &Arc<World>,
    mut arrival: Arrival,
    before_ms: u64,
    after_ms: u64,
) -> Result<Answer, Broken> {
    let world = world.clone();
    let work = tokio::spawn(async move {
        let token = vendor::refresh_token(&arrival);
        arrival.found = token.as_ref().and_then(|token| locked(&world.grants).families.enter(token));
        tokio::time::sleep(Duration::from_millis(before_ms)).await;
        (arrival.now, arrival.epoch) = (world.clock.now(), world.clock.epoch());
        let answer = vendor::answer(&world, &arrival);
        if let Some(token) = token {
            locked(&world.grants).families.leave(&token);
        }
        world.recorder.wake();
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        answer
    });
    work.await.map_err(|_| Broken)
}

const GARBAGE: &str = "<!DOCTYPE html>\n<html><head><title>Down for maintenance</title></head>\
    <body><h1>We will be back soon</h1></body></html>\n";

/// How it travels.
pub(super) fn shaped(answer: Answer, connection: &Connection, shape: Option<&Fault>) -> Response<AnswerBody> {
    answer.into_response(|body| match shape {
        Some(Fault::Slow { bytes_per_second }) => body.slowed(*bytes_per_second),
        Some(Fault::CutBody { after_bytes }) => body.cut_after(*after_bytes),
        Some(Fault::Cut { after_bytes }) => {
            connection.switch.cut_after(*after_bytes);
            body
        }
        _ => body,
    })
}
