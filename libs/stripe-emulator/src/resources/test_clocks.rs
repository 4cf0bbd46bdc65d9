//! Test clocks: a time of their own for the customers on them.

use serde_json::{Value, json};

use super::{customers, periods, subscription_changes};
use crate::error::ApiError;
use crate::kind::Kind;
use crate::listing::{self, PAGING};
use crate::params::Params;
use crate::world::World;

/// Stripe's limits. Source: Stripe's documentation, "Test clocks: limitations".
const CUSTOMERS: usize = 3;
const KEPT_S: i64 = 30 * 86_400;

pub(crate) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    params.only(&["frozen_time", "name"])?;
    params.required("frozen_time")?;
    let now_s = world.own_now_s();
    let clock = json!({
        "id": world.id(Kind::TestClock), "object": "test_helpers.test_clock", "created": now_s,
        "deletes_after": now_s + KEPT_S, "frozen_time": params.integer_in("frozen_time", 0..=4_102_444_800)?,
        "livemode": false, "name": params.text("name")?, "status": "ready", "status_details": {},
    });
    world.insert(Kind::TestClock, clock.clone())?;
    world.emit("test_helpers.test_clock.created", &clock, None);
    Ok(clock)
}

pub(crate) fn retrieve(world: &World, id: &str) -> Result<Value, ApiError> {
    world.get(Kind::TestClock, id).cloned()
}

pub(crate) fn list(world: &World, params: &Params) -> Result<Value, ApiError> {
    params.only(&PAGING)?;
    listing::page(world, Kind::TestClock, "/v1/test_helpers/test_clocks", params, |_| true)
}

/// Deletes a clock with the customers on it.
pub(crate) fn delete(world: &mut World, id: &str) -> Result<Value, ApiError> {
    let clock = retrieve(world, id)?;
    let customers: Vec<String> = customers_on(world, id).map(str::to_owned).collect();
    for customer in customers {
        customers::delete(world, &customer)?;
    }
    world.remove(Kind::TestClock, id);
    world.emit("test_helpers.test_clock.deleted", &clock, None);
    Ok(json!({ "id": id, "object": "test_helpers.test_clock", "deleted": true }))
}

/// Sets a clock on its way; it arrives once the answer is sent, as Stripe's do some time later.
pub(crate) fn advance(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    params.only(&["frozen_time"])?;
    params.required("frozen_time")?;
    let clock = retrieve(world, id)?;
    let now_s = clock["frozen_time"].as_i64().unwrap_or(0);
    let until_s = params.integer("frozen_time")?.unwrap_or(0);
    if until_s <= now_s {
        let message = "`frozen_time` must be after the test clock's current frozen time.";
        return Err(ApiError::parameter(None, "frozen_time", message));
    }
    let furthest_s = furthest_s(world, id, now_s);
    if until_s > furthest_s {
        let message = "Cannot advance the test clock by more than two intervals of its shortest subscription (two \
                       years when it has none).";
        return Err(ApiError::parameter(None, "frozen_time", message));
    }
    world.advancing.push((id.to_owned(), until_s));
    let (_, clock) = world.modify(Kind::TestClock, id, |clock| {
        clock["status"] = json!("advancing");
        clock["status_details"] = json!({ "advancing": { "target_frozen_time": until_s } });
    })?;
    world.emit("test_helpers.test_clock.advancing", &clock, None);
    Ok(clock)
}

/// A clock has arrived.
///
/// # Errors
/// 404 when it was deleted meanwhile.
pub(crate) fn arrive(world: &mut World, id: &str, at_s: i64) -> Result<(), ApiError> {
    let (_, clock) = world.modify(Kind::TestClock, id, |clock| {
        clock["frozen_time"] = json!(at_s);
        clock["status"] = json!("ready");
        clock["status_details"] = json!({});
    })?;
    world.emit("test_helpers.test_clock.ready", &clock, None);
    Ok(())
}

/// Refuses one more customer than a clock can have.
///
/// # Errors
/// 400 naming `test_clock`.
pub(crate) fn room_on(world: &World, id: &str) -> Result<(), ApiError> {
    world.referenced(Kind::TestClock, id, "test_clock")?;
    if customers_on(world, id).count() >= CUSTOMERS {
        let message = format!("A test clock can have up to {CUSTOMERS} customers.");
        return Err(ApiError::refused(None, message).at("test_clock"));
    }
    Ok(())
}

/// Where objects of the clock are in time.
pub(crate) fn frozen_s(world: &World, id: &str) -> Option<i64> {
    world.find(Kind::TestClock, id)?["frozen_time"].as_i64()
}

fn customers_on<'a>(world: &'a World, id: &'a str) -> impl Iterator<Item = &'a str> {
    let on = move |customer: &&Value| customer["test_clock"] == id;
    world.newest_first(Kind::Customer).filter(on).filter_map(|customer| customer["id"].as_str())
}

fn furthest_s(world: &World, id: &str, now_s: i64) -> i64 {
    let mine =
        |subscription: &&Value| subscription["test_clock"] == id && !subscription_changes::is_final(subscription);
    let two_intervals = |subscription: &Value| {
        let recurring = &subscription["items"]["data"][0]["price"]["recurring"];
        let interval = recurring["interval"].as_str().unwrap_or("month");
        periods::end_s(now_s, interval, recurring["interval_count"].as_i64().unwrap_or(1).saturating_mul(2))
    };
    let shortest = world.newest_first(Kind::Subscription).filter(mine).map(two_intervals).min();
    shortest.unwrap_or_else(|| periods::end_s(now_s, "year", 2))
}
