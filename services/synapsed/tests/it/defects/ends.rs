//! Runs that do not get through: interrupted, or with a service that stops answering.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clock::{Clock, Entropy};
use serde_json::Value;
use synapse::contract::{Limits, Target, Verdict, verify};
use synapsed::development::STRIPE_KEY;

use super::interposer::{Faults, Interposer};
use crate::contracts::{running, stripe};
use crate::running::Running;

const SOON: Duration = Duration::from_secs(60);

/// The status of every subscription at Stripe.
async fn statuses(running: &Running) -> Vec<String> {
    let url = format!("{}/v1/subscriptions?status=all&limit=100", running.stripe.base_url());
    let answer = reqwest::Client::new().get(url).bearer_auth(STRIPE_KEY).send().await.unwrap();
    let list: Value = answer.json().await.unwrap();
    let list = list["data"].as_array().unwrap().iter();
    list.map(|one| one["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_cleans_up_and_says_that_it_is_not_through() {
    let running = running().await;
    let services = vec!["subscription".to_owned()];
    let target = Target { bus: Some(running.bus()), public: None, stripe: Some(stripe(&running)), services };
    // At Stripe it is there before the run knows.
    let bought =
        testkit::eventually(
            SOON,
            "a purchase",
            async || {
                if statuses(&running).await.is_empty() { None } else { Some(()) }
            },
        );
    let report = verify(&target, super::limits(true), &Clock::system(), &Entropy::system(), bought).await.unwrap();
    let end = (report.exit_code(), report.cut_short.as_deref());
    assert_eq!(end, (2, Some("it was interrupted")), "{}", report.text());
    assert_eq!(statuses(&running).await, ["canceled"], "what it bought is canceled");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_answering_is_named_and_not_waited_for_again_and_again() {
    let running = running().await;
    let answered = AtomicU32::new(0);
    let stops = move |asked: bus::Envelope| {
        let is_silent = asked.kind.starts_with("subscription.") && answered.fetch_add(1, Ordering::Relaxed) >= 20;
        if is_silent { Duration::from_secs(3_600) } else { Duration::ZERO }
    };
    let way = Interposer::between(running.bus(), Faults { delay: Box::new(stops), ..Faults::default() });
    let services = ["presence", "subscription"].map(str::to_owned).to_vec();
    let target = Target { bus: Some(way), public: None, stripe: Some(stripe(&running)), services };
    let limits = Limits { patience: Duration::from_secs(3), total: Duration::from_secs(120), ..super::limits(false) };
    let report = verify(&target, limits, &Clock::system(), &Entropy::system(), std::future::pending()).await.unwrap();
    let text = report.text();
    assert_eq!((report.exit_code(), report.cut_short.as_deref()), (1, None), "{text}");
    assert_eq!(report.not_answering, ["subscription"], "{text}");
    let broken: Vec<&str> = report
        .contracts
        .iter()
        .filter(|contract| matches!(contract.verdict, Verdict::Broken(_)))
        .map(|contract| contract.owner.as_str())
        .collect();
    assert!((1..=2).contains(&broken.len()) && broken.iter().all(|owner| *owner == "subscription"), "{text}");
    assert!(text.contains("no answer") && text.contains("not asked again"), "{text}");
    assert!(statuses(&running).await.is_empty(), "nothing was bought");
    running.stop().await;
}
