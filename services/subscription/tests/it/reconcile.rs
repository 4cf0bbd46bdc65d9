//! Our subscriptions against Stripe's: what is found, repaired, told; dry runs; runs that are cut off.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::Answer;
use contracts::events::subscription::{ReconcileMode, ReconciledV1, Status, SubscriptionEvent};
use contracts::requests::subscription::{GetV1, SubscriptionView};
use reqwest::Method;
use serde_json::{Value, json};
use store::{Condition, Item, Key};

use crate::harness::{PRICE, SOON, World, until, wish};

/// 2026-09-21 14:13:20 UTC.
const NOW: u64 = 1_790_000_000_000;
const QUICK: &[(&str, &str)] = &[("reconcile.calls_per_second", "20")];

async fn begin(world: &World, query: &str) -> Value {
    let (status, told) = world.admin(Method::POST, &format!("/billing/reconcile{query}")).await;
    assert_eq!(status, 202, "{told}");
    told
}

/// The run and its rows, once it is finished.
async fn finished(world: &World) -> (Value, Vec<Value>) {
    testkit::eventually(SOON, "the run to finish", async || {
        let (_, told) = world.admin(Method::GET, "/billing/reconcile?limit=500").await;
        let run = told["run"].clone();
        if run["finished_at_ms"].is_u64() { Ok((run, told["rows"].as_array().unwrap().clone())) } else { Err(told) }
    })
    .await
}

pub(crate) async fn reconciled(world: &World, query: &str) -> (Value, Vec<Value>) {
    begin(world, query).await;
    finished(world).await
}

async fn reports(world: &World) -> Vec<ReconciledV1> {
    let facts = world.service.facts().await.into_iter();
    facts
        .filter_map(|(_, fact)| match fact {
            SubscriptionEvent::Reconciled(report) => Some(report),
            _ => None,
        })
        .collect()
}

/// A subscription that is at Stripe under our name and that nobody here knows of.
async fn made_behind_our_back(world: &World, id: &str, user: &str) -> String {
    let customer = world.make_at_stripe("/v1/customers", &[("email", "x@example.com")]).await;
    let form = [
        ("customer", customer["id"].as_str().unwrap()),
        ("items[0][price]", PRICE),
        ("default_payment_method", "pm_card_visa"),
        ("metadata[synapse_tenant]", "acme"),
        ("metadata[synapse_subscription]", id),
        ("metadata[synapse_user]", user),
        ("metadata[team]", "blue"),
    ];
    // The card must be the customer's before it can pay.
    let attach = [("customer", customer["id"].as_str().unwrap())];
    let method = world.make_at_stripe("/v1/payment_methods/pm_card_visa/attach", &attach).await;
    let mut form = form.to_vec();
    form[2].1 = method["id"].as_str().unwrap();
    world.make_at_stripe("/v1/subscriptions", &form).await["id"].as_str().unwrap().to_owned()
}

async fn get(world: &World, id: &str) -> Option<SubscriptionView> {
    match world.service.ask("acme", &GetV1 { subscription_id: id.parse().unwrap() }).await {
        Answer::Ok(view) => Some(view),
        _ => None,
    }
}

fn row<'a>(rows: &'a [Value], stripe_id: &str) -> &'a Value {
    rows.iter()
        .find(|row| row["stripe_subscription_id"] == stripe_id)
        .unwrap_or_else(|| panic!("{stripe_id}: {rows:#?}"))
}

/// One in order, one stale, one missing, one twice, one that Stripe does not know, one that is not ours.
async fn drifted(world: &World) -> (SubscriptionView, SubscriptionView, String, String, String) {
    let fine = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let stale = world.service.create(&wish("bob", "key-1")).await.unwrap();
    world.set_status(&stale, "past_due").await;
    let missing = made_behind_our_back(world, "sub-lost", "carol").await;
    let twice = made_behind_our_back(world, fine.subscription_id.as_str(), "ada").await;
    let customer = world.make_at_stripe("/v1/customers", &[("email", "stranger@example.com")]).await;
    let strangers = [
        ("customer", customer["id"].as_str().unwrap()),
        ("items[0][price]", PRICE),
        ("payment_behavior", "default_incomplete"),
    ];
    world.make_at_stripe("/v1/subscriptions", &strangers).await;
    let store = world.service.platform.outbox.store();
    let known = store.get(&Key::new("sub#acme", fine.subscription_id.as_str())).await.unwrap().unwrap();
    let mut ghost: Value = serde_json::from_str(&known.body).unwrap();
    ghost["subscription_id"] = json!("sub-ghost");
    ghost["stripe_subscription_id"] = json!("sub_ghost");
    store.put(Item::new(Key::new("sub#acme", "sub-ghost"), 1, ghost.to_string()), Condition::Absent).await.unwrap();
    (fine, stale, missing, twice, "sub_ghost".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_finds_everything_and_repairs_what_a_look_at_stripe_can() {
    let world = World::start(QUICK).await;
    let (fine, stale, missing, twice, ghost) = drifted(&world).await;
    let (run, rows) = reconciled(&world, "?dry_run=true").await;
    let would = json!({"checked": 6, "missing": 1, "stale": 1, "extra": 2, "repaired": 0, "failed": 0});
    assert_eq!((&run["counts"], run["dry_run"].as_bool()), (&would, Some(true)), "{rows:#?}");
    assert_eq!(row(&rows, &missing)["done"], "would_repair");
    assert!(get(&world, "sub-lost").await.is_none(), "a dry run changes nothing");
    assert_eq!(world.service.get(&stale).await.status, Status::Active);
    assert!(reports(&world).await.is_empty());

    let (run, rows) = reconciled(&world, "").await;
    let counts = json!({"checked": 6, "missing": 1, "stale": 1, "extra": 2, "repaired": 2, "failed": 0});
    assert_eq!(run["counts"], counts, "{rows:#?}");
    let found = |id: &str| {
        let row = row(&rows, id);
        (row["kind"].as_str().unwrap().to_owned(), row["done"].as_str().unwrap().to_owned())
    };
    let as_told = |kind: &str, done: &str| (kind.to_owned(), done.to_owned());
    assert_eq!(found(&missing), as_told("missing", "repaired"));
    assert_eq!(found(&stale.stripe_subscription_id), as_told("stale", "repaired"));
    assert_eq!(found(&twice), as_told("extra", "left"));
    assert_eq!(found(&ghost), as_told("extra", "left"));
    let difference = row(&rows, &stale.stripe_subscription_id);
    assert_eq!(
        (difference["ours"].as_str(), difference["stripes"].as_str()),
        (Some("status=active"), Some("status=past_due"))
    );
    assert!(row(&rows, &twice)["note"].as_str().unwrap().contains("cancel or refund"));

    assert_eq!(world.service.get(&stale).await.status, Status::PastDue);
    assert_eq!(world.service.get(&fine).await.status, Status::Active);
    let adopted = get(&world, "sub-lost").await.unwrap();
    assert_eq!((adopted.user_id.as_str(), adopted.plan.as_str(), adopted.status), ("carol", "team", Status::Active));
    assert_eq!(adopted.metadata, [("team".to_owned(), "blue".to_owned())].into());
    let told = reports(&world).await;
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].mode, told[0].missing, told[0].stale, told[0].extra, told[0].repaired),
        (ReconcileMode::Sweep, 1, 1, 2, 2)
    );

    let (run, _) = reconciled(&world, "").await;
    let left = json!({"checked": 7 - 1, "missing": 0, "stale": 0, "extra": 2, "repaired": 0, "failed": 0});
    assert_eq!(run["counts"], left, "what people must decide is found until they have");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_adopted_is_told_and_left() {
    let world = World::start(QUICK).await;
    let odd = made_behind_our_back(&world, "sub-odd", "no user's id!").await;
    let (run, rows) = reconciled(&world, "").await;
    assert_eq!((run["counts"]["missing"].as_u64(), run["counts"]["failed"].as_u64()), (Some(1), Some(1)));
    assert!(row(&rows, &odd)["note"].as_str().unwrap().contains("synapse_user"), "{rows:#?}");
    assert!(get(&world, "sub-odd").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_looks_only_at_what_stripe_told_since_and_asks_only_for_what_differs() {
    let world = World::start(QUICK).await;
    let fine = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let stale = world.service.create(&wish("bob", "key-1")).await.unwrap();
    reconciled(&world, "?mode=backfill").await;
    // Webhooks are away now.
    world.set_status(&stale, "past_due").await;
    world.set_status(&stale, "active").await;
    world.set_status(&stale, "past_due").await;
    let asked = world.asked(&format!("GET /v1/subscriptions/{}", fine.stripe_subscription_id)).await;
    let (run, rows) = reconciled(&world, "?mode=backfill").await;
    assert_eq!((run["mode"].as_str(), rows.len()), (Some("backfill"), 1), "{rows:#?}");
    assert_eq!(run["counts"]["repaired"], 1);
    assert_eq!(world.service.get(&stale).await.status, Status::PastDue);
    assert_eq!(world.asked(&format!("GET /v1/subscriptions/{}", fine.stripe_subscription_id)).await, asked);
    let modes: Vec<_> = reports(&world).await.iter().map(|report| report.mode).collect();
    assert_eq!(modes, [ReconcileMode::Backfill, ReconcileMode::Backfill]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_at_a_time_and_modes_that_are_none_are_refused() {
    let world = World::start(&[("reconcile.calls_per_second", "1")]).await;
    made_behind_our_back(&world, "sub-1", "ada").await;
    begin(&world, "").await;
    let (status, told) = world.admin(Method::POST, "/billing/reconcile").await;
    assert_eq!(status, 409, "{told}");
    assert!(told["error"].as_str().unwrap().contains("is under way"));
    let (status, told) = world.admin(Method::POST, "/billing/reconcile?mode=everything").await;
    assert_eq!((status, told["error"].as_str().unwrap().starts_with("mode:")), (400, true));
    assert_eq!(finished(&world).await.0["counts"]["repaired"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_runs_by_itself_and_finds_what_webhooks_did_not_tell() {
    let settings = [
        ("reconcile.calls_per_second", "20"),
        ("reconcile.backfill_interval_ms", "60000"),
        ("reconcile.check_interval_ms", "1000"),
    ];
    let (world, hand) = World::at(NOW, &settings).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    world.set_status(&view, "past_due").await;
    testkit::eventually(SOON, "the backfill", async || {
        hand.advance(Duration::from_secs(1));
        let status = world.service.get(&view).await.status;
        if status == Status::PastDue { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    testkit::eventually(SOON, "its report", async || {
        hand.advance(Duration::from_secs(1));
        reports(&world).await.first().map(|report| report.mode).ok_or("no report")
    })
    .await;
    assert_eq!(reports(&world).await[0].mode, ReconcileMode::Backfill);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_goes_on_where_it_stopped_and_repairs_everything_once() {
    const COUNT: usize = 130; // more than a page
    let settings = [
        ("reconcile.calls_per_second", "20"),
        ("reconcile.check_interval_ms", "1000"),
        ("reconcile.lease_ms", "30000"),
    ];
    let (mut world, hand) = World::at(NOW, &settings).await;
    for number in 0..COUNT {
        made_behind_our_back(&world, &format!("sub-{number:03}"), "ada").await;
    }
    begin(&world, "").await;
    for goal in [20, 105] {
        testkit::eventually(SOON, "some repairs", async || {
            hand.advance(Duration::from_millis(200));
            let (_, told) = world.admin(Method::GET, "/billing/reconcile").await;
            let repaired = told["run"]["counts"]["repaired"].as_u64().unwrap();
            if repaired >= goal { Ok(()) } else { Err(repaired) }
        })
        .await;
        world.crash_and_restart().await;
        let (status, _) = world.admin(Method::POST, "/billing/reconcile").await;
        assert_eq!(status, 409, "the dead process's lease still stands");
        // It ends, and the next look takes the run up.
        hand.advance(Duration::from_secs(31));
    }
    let run = testkit::eventually(SOON, "the end", async || {
        hand.advance(Duration::from_millis(500));
        let (_, told) = world.admin(Method::GET, "/billing/reconcile").await;
        if told["run"]["finished_at_ms"].is_u64() { Ok(told["run"].clone()) } else { Err(told["run"].clone()) }
    })
    .await;
    let counts = &run["counts"];
    assert_eq!((counts["missing"].as_u64(), counts["repaired"].as_u64()), (Some(130), Some(130)), "{run}");
    assert_eq!((counts["extra"].as_u64(), counts["failed"].as_u64()), (Some(0), Some(0)));
    let mut live = BTreeSet::new();
    for number in 0..COUNT {
        live.extend(get(&world, &format!("sub-{number:03}")).await.map(|view| view.stripe_subscription_id));
    }
    assert_eq!(live.len(), COUNT);
    until("the report", async || reports(&world).await.len() == 1).await;
}
