//! The same verification as against a deployed system, on the embedded bus in this process; and the defects that it
//! must not overlook.

use std::time::Duration;

use clock::{Clock, Entropy};
use synapse::contract::{Limits, Public, Report, Stripe, Target, Verdict, verify, watch};
use synapsed::development::{PRICE, STRIPE_KEY};

use crate::running::{Running, set};

/// Everything at once on a machine full of tests.
fn limits() -> Limits {
    Limits {
        total: Duration::from_secs(60),
        patience: Duration::from_secs(15),
        quiet: Duration::from_millis(400),
        rate_per_s: 1_000,
    }
}

pub(crate) async fn running() -> Running {
    let running = Running::start(|overrides, _| {
        // A third of it is over in a second: a heartbeat then renews it.
        set(overrides, "PRESENCE__LEASE_MS", "3000");
        // Each change reads Stripe's object; at the default of a second a run would mostly wait.
        set(overrides, "SUBSCRIPTION__STRIPE__FETCH_SPACING_MS", "100");
        set(overrides, "PLATFORM__TELEMETRY__LOG_FILTER", "off");
    })
    .await;
    running.point_webhooks().await;
    running
}

pub(crate) fn stripe(running: &Running) -> Stripe {
    Stripe::try_new(running.stripe.base_url(), STRIPE_KEY, PRICE).unwrap()
}

/// What a run does not cause: keys, quotas and comparisons by the hour or the day, other news of Stripe's, and what
/// gateways say to each other.
const UNSEEN: [&str; 12] = [
    "subscription.proof_key_published.v1",
    "subscription.proof_key_withdrawn.v1",
    "subscription.quota_restored.v1",
    "subscription.reconciled.v1",
    "webhook.stripe_catalogue_changed.v1",
    "webhook.stripe_checkout_changed.v1",
    "webhook.stripe_entitlements_changed.v1",
    "gateway.broadcast.v1",
    "gateway.call.v1",
    "gateway.reply.v1",
    "signaling.receipt.v1",
    "signaling.taken.v1",
];

fn by_name(report: &Report, wanted: fn(&Verdict) -> bool) -> Vec<String> {
    report.contracts.iter().filter(|one| wanted(&one.verdict)).map(|one| one.name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_contract_holds_in_one_process() {
    let running = running().await;
    let target = Target {
        bus: Some(running.bus()),
        public: Some(Public::try_new(&running.url(""), &running.token()).unwrap()),
        stripe: Some(stripe(&running)),
        services: Vec::new(),
    };
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let watching = async {
        let sightings = watch(&running.bus(), &clock, clock.sleep(Duration::from_secs(10))).await.unwrap();
        assert!(sightings.ok, "{}", sightings.text());
        sightings
    };
    let verifying = verify(&target, limits(), &clock, &entropy, std::future::pending());
    let (report, sightings) = tokio::join!(verifying, watching);
    let report = report.unwrap();
    assert!(report.ok && report.cut_short.is_none(), "{}", report.text());
    let unseen = by_name(&report, |verdict| matches!(verdict, Verdict::NotTestable { .. }));
    assert_eq!(unseen, UNSEEN, "{}", report.text());
    assert!(!report.text().contains("not reached"), "each of them says why:\n{}", report.text());
    assert!(sightings.kinds.len() > 25, "{}", sightings.text());
    running.stop().await;
}
