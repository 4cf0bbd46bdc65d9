//! What time brings: trials end, periods turn, drafts are finalized, failed payments retried, waits expire.
//!
//! Every object that waits for a moment says which (`due_s`); a run takes the earliest, lets it be that moment, does
//! what is due and looks again, so that everything happens in order and carries the time at which it was due. Objects
//! of customers on a test clock follow that clock alone, all others the emulator's.

use serde_json::Value;

use crate::error::ApiError;
use crate::kind::Kind;
use crate::resources::{billing, checkout_sessions, renewals, subscription_changes, test_clocks};
use crate::world::{Cause, World};

/// How long a first invoice may stay unpaid. Source: Stripe's documentation, "Subscription statuses": 23 hours.
const INCOMPLETE_S: i64 = 23 * 3_600;
/// How long before a trial ends Stripe says so.
const TRIAL_NOTICE_S: i64 = 3 * 86_400;

/// When something is due for this object, in Unix seconds; `None` when time alone does not change it.
pub(crate) fn due_s(kind: Kind, object: &Value) -> Option<i64> {
    let at = |field: &str| object[field].as_i64();
    match (kind, object["status"].as_str()?) {
        (Kind::Subscription, "incomplete") => Some(at("created")? + INCOMPLETE_S),
        (Kind::Subscription, "paused") => at("cancel_at"),
        (Kind::Subscription, "trialing") if object["_noticed"].is_null() => {
            Some((at("trial_end")? - TRIAL_NOTICE_S).max(at("trial_start")?))
        }
        (Kind::Subscription, "trialing" | "active" | "past_due" | "unpaid") => {
            let turn = at("current_period_end");
            [turn, at("cancel_at")].into_iter().flatten().min()
        }
        (Kind::Invoice, "draft") if object["auto_advance"] == Value::Bool(true) => at("automatically_finalizes_at"),
        (Kind::Invoice, "open") => at("next_payment_attempt"),
        (Kind::CheckoutSession, "open") => at("expires_at"),
        _ => None,
    }
}

/// Does what the emulator's own clock has made due, on every account.
pub(crate) fn catch_up(world: &mut World) {
    world.begin(Cause::default());
    let now_s = world.own_now_s();
    for account in world.accounts() {
        world.switch(&account);
        if world.earliest(None).is_some_and(|(due_s, _, _)| due_s <= now_s) {
            run(world, None, now_s);
        }
    }
    world.begin(Cause::default());
}

/// Lets the test clocks that were told to advance arrive.
pub(crate) fn advance(world: &mut World) {
    for (clock, until_s) in std::mem::take(&mut world.advancing) {
        world.begin(Cause::default());
        world.enter_owner(&clock);
        run(world, Some(&clock), until_s);
        world.be_at(Some(until_s));
        if let Err(error) = test_clocks::arrive(world, &clock, until_s) {
            tracing::warn!(clock, error = %error.body(), "the test clock is gone");
        }
    }
    world.begin(Cause::default());
}

/// Does what is due on one timeline until `until_s`, in the order of its moments.
pub(crate) fn run(world: &mut World, clock: Option<&str>, until_s: i64) {
    for _ in 0..world.limits.steps {
        let Some((due_s, kind, id)) = world.earliest(clock).filter(|(due_s, _, _)| *due_s <= until_s) else {
            break;
        };
        world.be_at(Some(due_s));
        if let Err(error) = step(world, kind, &id) {
            tracing::warn!(%id, error = %error.body(), "what was due could not be done");
            give_up(world, kind, &id);
        }
    }
    world.be_at(None);
}

/// The test clock an object that waits is on.
pub(crate) fn clock_of(object: &Value) -> Option<&str> {
    // Checkout sessions do not show theirs.
    object["test_clock"].as_str().or(object["_test_clock"].as_str())
}

fn step(world: &mut World, kind: Kind, id: &str) -> Result<(), ApiError> {
    let object = world.get(kind, id)?.clone();
    let now_s = world.now_s();
    match (kind, object["status"].as_str().unwrap_or_default()) {
        (Kind::CheckoutSession, _) => checkout_sessions::expire(world, id).map(drop),
        (Kind::Invoice, "draft") => billing::finalize(world, id).and_then(|()| billing::collect(world, id)),
        (Kind::Invoice, _) => billing::collect(world, id),
        (_, "incomplete") => subscription_changes::expire(world, id),
        (_, "trialing") if object["_noticed"].is_null() => renewals::notice_trial_end(world, id),
        _ if object["cancel_at"].as_i64().is_some_and(|at_s| at_s <= now_s) => {
            subscription_changes::end(world, id, None, "cancellation_requested").map(drop)
        }
        _ => renewals::turn(world, id),
    }
}

/// Takes an object off the timeline: an error repeated for ever would stop everything behind it.
fn give_up(world: &mut World, kind: Kind, id: &str) {
    let forgotten = world.modify(kind, id, |object| {
        for field in
            ["automatically_finalizes_at", "cancel_at", "current_period_end", "expires_at", "next_payment_attempt"]
        {
            if object[field].is_i64() {
                object[field] = Value::Null;
            }
        }
    });
    drop(forgotten);
}
