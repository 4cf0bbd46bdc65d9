use std::time::Duration;

use clock::Clock;
use serde_json::Value;
use synapse::demo::{Reporter, Target, run};
use synapsed::development::{PRICE, STRIPE_KEY};
use testkit::free_port;

use crate::child::{Child, folder};
use crate::running::Running;

const STEPS: [&str; 13] = [
    "create subscription",
    "same key again",
    "stripe says active",
    "signed proofs",
    "two peers connect",
    "see each other",
    "open data channel",
    "send 1 MiB",
    "open a tunnel",
    "cut it in a download",
    "no proof, no entry",
    "cancel at stripe",
    "all put out",
];

/// The shape that machines read: `{"ok","steps":[{"name","ok","ms"}],"bus","store"}`.
fn assert_report(report: &Value, bus: &str, store: &str) {
    assert_eq!(report["ok"], true, "{report:#}");
    let steps = report["steps"].as_array().unwrap();
    let names: Vec<_> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names, STEPS);
    for step in steps {
        assert!(step["ok"] == true && step["ms"].as_f64().unwrap() >= 0.0, "{step}");
    }
    assert_eq!((&report["bus"], &report["store"]), (&bus.into(), &store.into()));
    assert_eq!(report.get("failed"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_job_runs_in_one_process() {
    let running = Running::start(|_, _| ()).await;
    running.point_webhooks().await;
    let target = Target {
        gateway: running.url(""),
        tunnels: None,
        token: running.token(),
        price_id: PRICE.into(),
        stripe: running.stripe.base_url().to_owned(),
        stripe_key: STRIPE_KEY.into(),
        bus: "embedded".into(),
        store: "sqlite".into(),
    };
    let report = run(&target, &Clock::system(), Reporter::Quiet).await;
    assert_report(&serde_json::to_value(&report).unwrap(), "embedded", "sqlite");
    // On the same system once more: nothing of the first run is in the way.
    let again = run(&target, &Clock::system(), Reporter::Quiet).await;
    assert_report(&serde_json::to_value(&again).unwrap(), "embedded", "sqlite");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_is_named_and_ends_the_run() {
    let running = Running::start(|_, _| ()).await;
    let target = Target {
        gateway: running.url(""),
        tunnels: None,
        token: running.token(),
        price_id: "price_of_nothing".into(),
        stripe: running.stripe.base_url().to_owned(),
        stripe_key: STRIPE_KEY.into(),
        bus: "embedded".into(),
        store: "sqlite".into(),
    };
    let report = run(&target, &Clock::system(), Reporter::Quiet).await;
    let report = serde_json::to_value(&report).unwrap();
    assert_eq!((&report["ok"], &report["failed"]), (&false.into(), &"create subscription".into()));
    assert_eq!(report["steps"].as_array().unwrap().len(), 1, "{report:#}");
    running.stop().await;
}

#[test]
fn json_is_one_object_and_nothing_else() {
    let folder = folder();
    let mut child = Child::start(folder.path(), &["demo", "--json"], &[]);
    let status = child.wait(Duration::from_secs(120));
    assert!(status.success(), "{}", child.everything());
    let printed = child.printed();
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert_report(&serde_json::from_str(&printed).unwrap(), "embedded", "sqlite");
}

#[test]
fn the_timeline_tells_every_step() {
    let folder = folder();
    let mut child = Child::start(folder.path(), &["demo"], &[]);
    let status = child.wait(Duration::from_secs(120));
    assert!(status.success(), "{}", child.everything());
    let printed = child.printed();
    assert!(STEPS.iter().all(|step| printed.contains(&format!("✓ {step}"))), "{printed}");
    assert!(printed.contains(&format!("all {} steps done", STEPS.len())), "{printed}");
}

#[test]
fn a_broker_that_is_not_there_is_named_in_bounded_time() {
    let folder = folder();
    let url = format!("nats://127.0.0.1:{}", free_port());
    let mut child = Child::start(folder.path(), &["demo", "--json", "--bus", &url], &[]);
    let status = child.wait(Duration::from_secs(60));
    assert_eq!(status.code(), Some(1), "{}", child.everything());
    assert!(child.complained().contains(&url), "{}", child.everything());
    assert_eq!(child.printed(), "");
}

#[test]
fn a_bus_or_store_that_does_not_exist_is_refused() {
    for (flag, key) in [("--bus", "bus: "), ("--store", "store: ")] {
        let folder = folder();
        let mut child = Child::start(folder.path(), &["demo", flag, "floppy"], &[]);
        assert_eq!(child.wait(Duration::from_secs(60)).code(), Some(1), "{}", child.everything());
        assert!(child.complained().contains(key), "{}", child.everything());
    }
}
