//! What an operator types, `synapse billing …` and `synapse webhooks …`, against the running fleet.

use clap::Parser;
use serde_json::{Value, json};
use synapse::Told;
use synapsed::development::PRICE;

use crate::child::PATIENCE;
use crate::running::Running;

#[derive(Parser)]
enum Line {
    Billing(synapse::billing::Arguments),
    Webhooks(synapse::webhooks::Arguments),
}

/// What a line is answered, or why not.
async fn try_line(running: &Running, line: &str) -> Result<Told, String> {
    let admin = format!("http://{}", running.admin());
    let words = ["synapse"].into_iter().chain(line.split_whitespace()).chain(["--admin", &admin]);
    let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
    let told = match line {
        Line::Billing(arguments) => synapse::billing::run(arguments).await,
        Line::Webhooks(arguments) => synapse::webhooks::run(arguments).await,
    };
    told.map_err(|error| error.to_string())
}

async fn text(running: &Running, line: &str) -> String {
    let told = try_line(running, line).await.unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(told.ok, "{line}: {}", told.text);
    told.text
}

async fn json(running: &Running, line: &str) -> Value {
    serde_json::from_str(&text(running, &format!("{line} --json")).await).unwrap()
}

/// A subscription that is active, by its own id, Stripe's, and its tenant.
async fn bought(running: &Running) -> (String, String, String) {
    running.point_webhooks().await;
    running.proof("operators", "alice").await;
    let tenants = json(running, "billing subscriptions list").await;
    let tenant = tenants["tenants"][0].as_str().unwrap().to_owned();
    let list = json(running, &format!("billing subscriptions list --tenant {tenant}")).await;
    let only = &list["subscriptions"][0];
    assert_eq!((&only["status"], &only["plan"]), (&"active".into(), &"team".into()), "{list}");
    let id = |name: &str| only[name].as_str().unwrap().to_owned();
    (tenant, id("subscription_id"), id("stripe_subscription_id"))
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_usage_plans_and_keys_are_shown_to_people_and_programs() {
    let running = Running::start(|_, _| ()).await;
    let (tenant, id, at_stripe) = bought(&running).await;
    let list = text(&running, &format!("billing subscriptions list --tenant {tenant} --status active")).await;
    assert!(list.contains(&id) && list.contains(&at_stripe), "{list}");
    let shown = json(&running, &format!("billing subscriptions show {tenant} {id}")).await;
    assert_eq!(shown["record"]["stripe_subscription_id"], at_stripe.as_str(), "{shown}");
    assert!(text(&running, &format!("billing subscriptions show {tenant} {id}")).await.contains("relay_bytes"));
    let usage = text(&running, &format!("billing usage {tenant} {id}")).await;
    assert!(usage.starts_with("plan team of ") && usage.contains("tunnel_bytes"), "{usage}");
    let plans = text(&running, "billing plans check").await;
    assert!(plans.contains(PRICE) && plans.contains("none"), "{plans}");

    let keys = json(&running, "billing proofs keys").await;
    let kid = keys["keys"][0]["kid"].as_str().unwrap_or_else(|| panic!("{keys}")).to_owned();
    let withdrawn = text(&running, &format!("billing proofs withdraw {kid} --reason leaked")).await;
    assert!(withdrawn.contains(&kid), "{withdrawn}");
    let keys = text(&running, "billing proofs keys").await;
    assert!(keys.lines().any(|line| line.contains(&kid) && line.contains("withdrawn")), "{keys}");

    let nobody = try_line(&running, &format!("billing usage {tenant} nobody")).await.unwrap_err();
    assert!(nobody.contains("nobody"), "{nobody}");
    assert!(json(&running, "billing dead-letters list").await["letters"].as_array().unwrap().is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_shown_by_a_dry_run_and_gone_after_a_run() {
    let running = Running::start(|_, _| ()).await;
    let (tenant, id, at_stripe) = bought(&running).await;
    assert!(text(&running, "billing reconcile --dry-run").await.contains("stale 0"));
    // Stripe changes it, no webhook arrives, and none from before is still to be acted upon.
    testkit::eventually(PATIENCE, "what Stripe told to be done with", async || {
        let deliveries = running.http.get(format!("{}/_emulator/deliveries", running.stripe.base_url()));
        let deliveries: Value = deliveries.send().await.unwrap().json().await.unwrap();
        let facts = text(&running, &format!("webhooks replay --subscription {at_stripe}")).await;
        if deliveries["pending"] == 0 && !facts.contains("waiting") { Ok(()) } else { Err(facts) }
    })
    .await;
    running.lose_webhooks().await;
    let path = format!("{}/_emulator/subscriptions/{at_stripe}/status", running.stripe.base_url());
    let changed = running.http.post(path).json(&json!({"status": "past_due"})).send().await.unwrap();
    assert!(changed.status().is_success(), "{}", changed.text().await.unwrap());

    let dry = try_line(&running, "billing reconcile --dry-run --json").await.unwrap();
    let found: Value = serde_json::from_str(&dry.text).unwrap();
    assert!(!dry.ok, "differences are left");
    assert_eq!((&found["run"]["dry_run"], &found["rows"][0]["kind"]), (&true.into(), &"stale".into()), "{found}");
    assert_eq!(found["rows"][0]["stripe_subscription_id"], at_stripe.as_str());
    let shown = json(&running, &format!("billing subscriptions show {tenant} {id}")).await;
    assert_eq!(shown["record"]["status"], "active", "a dry run changes nothing");

    let repaired = text(&running, "billing reconcile").await;
    assert!(repaired.contains("stale 1") && repaired.contains("repaired 1"), "{repaired}");
    let shown = json(&running, &format!("billing subscriptions show {tenant} {id}")).await;
    assert_eq!(shown["record"]["status"], "past_due");
    assert!(text(&running, "billing reconcile --last").await.contains("repaired 1"));
    assert!(text(&running, "billing reconcile --backfill --dry-run").await.contains("stale 0"));
    assert!(text(&running, &format!("billing subscriptions refresh {tenant} {id}")).await.contains("past_due"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_shown_and_replayed() {
    let running = Running::start(|_, _| ()).await;
    let (_, _, at_stripe) = bought(&running).await;
    let filter = format!("--subscription {at_stripe} --type customer.subscription.created");
    let list = testkit::eventually(PATIENCE, "the event to be stored", async || {
        let list = json(&running, &format!("webhooks list {filter} --state published")).await;
        if list["events"][0]["id"].is_string() { Ok(list) } else { Err(list.to_string()) }
    })
    .await;
    let event = list["events"][0]["id"].as_str().unwrap().to_owned();
    let customer = list["events"][0]["customer"].as_str().unwrap().to_owned();
    assert!(text(&running, &format!("webhooks list --customer {customer} --since 1h")).await.contains(&event));
    assert_eq!(text(&running, "webhooks list --until 1h").await, "no events\n");
    let shown = text(&running, &format!("webhooks show {event}")).await;
    assert!(
        shown.contains("customer.subscription.created") && shown.contains("stripe_subscription_changed"),
        "{shown}"
    );

    let dry = json(&running, &format!("webhooks replay {event} --dry-run")).await;
    assert_eq!((&dry["dry_run"], &dry["events"][0]["facts"][0]["change"]), (&true.into(), &"same".into()), "{dry}");
    let range = text(&running, &format!("webhooks replay --customer {customer} --since 1h --dry-run")).await;
    assert!(range.contains(&event), "{range}");
    let replayed = json(&running, &format!("webhooks replay {event} --force")).await;
    assert_eq!(replayed["events"][0]["id"], event.as_str(), "{replayed}");
    assert_eq!(json(&running, &format!("webhooks show {event}")).await["replays"], 1);
    let neither = try_line(&running, "webhooks replay --dry-run").await.unwrap_err();
    assert!(neither.contains("--customer"), "{neither}");
    assert!(json(&running, "webhooks dead-letters list").await["letters"].as_array().unwrap().is_empty());
    running.stop().await;
}
