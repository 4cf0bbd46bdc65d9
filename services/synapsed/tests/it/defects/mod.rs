//! Planted defects: each is put between the real services and the verifier, which must name it. Everything runs at once
//! on one system, every run in its own tenant; right before, the same checks pass without a defect.

mod ends;
mod events;
mod interposer;
mod requests;
mod signals;

use std::time::Duration;

use clock::{Clock, Entropy};
use futures::StreamExt;
use synapse::contract::{Limits, Report, Stripe, Target, Verdict, verify};

use crate::contracts::{running, stripe};
use interposer::{Faults, Interposer};

/// Runs at a time: as many as a small machine answers in time.
const AT_ONCE: usize = 16;

/// A defect and what must catch it.
pub(crate) struct Defect {
    name: &'static str,
    /// Whose contracts are verified.
    services: &'static [&'static str],
    /// Whether a subscription's life is needed to see it.
    needs_stripe: bool,
    /// The contract that must be called broken.
    contract: &'static str,
    /// By this check.
    check: &'static str,
    faults: Faults,
}

impl Defect {
    /// A defect of presence.
    fn new(name: &'static str, contract: &'static str, check: &'static str, faults: Faults) -> Self {
        Self { name, services: &["presence"], needs_stripe: false, contract, check, faults }
    }

    /// One that shows only in a subscription's life.
    fn paid(self, services: &'static [&'static str]) -> Self {
        Self { services, needs_stripe: true, ..self }
    }
}

fn limits(is_paid: bool) -> Limits {
    Limits {
        total: Duration::from_secs(45),
        // Stripe's news take their time: the service reads an object at most once a second.
        patience: Duration::from_millis(if is_paid { 6_000 } else { 2_000 }),
        quiet: Duration::from_millis(300),
        rate_per_s: 500,
    }
}

async fn run(bus: bus::Bus, services: &[&str], stripe: Option<Stripe>) -> Report {
    let limits = limits(stripe.is_some());
    let services = services.iter().map(|name| (*name).to_owned()).collect();
    let target = Target { bus: Some(bus), public: None, stripe, services };
    verify(&target, limits, &Clock::system(), &Entropy::system(), std::future::pending()).await.unwrap()
}

/// What a run says about a defect: the line of the check that caught it, or what was broken instead.
fn verdict(defect: &Defect, report: &Report) -> Result<String, String> {
    let mut others = Vec::new();
    for contract in &report.contracts {
        for check in &contract.checks {
            let Verdict::Broken(offence) = &check.verdict else { continue };
            if contract.name == defect.contract && check.name == defect.check {
                return Ok(format!("{} {}: {}; got {}", contract.sort.word(), contract.name, check.name, offence.got));
            }
            others.push(format!("{} {}: {}", contract.sort.word(), contract.name, check.name));
        }
    }
    let instead = if others.is_empty() { "nothing was broken".to_owned() } else { others.join("; ") };
    Err(format!("not by {}: {}; {instead}", defect.contract, defect.check))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_planted_defect_is_caught_and_nothing_else_is_called_broken() {
    let running = running().await;
    let bus = running.bus();
    // The pristine system by the same way: else every defect would be caught for nothing.
    for (services, paid) in
        [(&["presence"][..], false), (&["presence", "signaling", "subscription", "webhook", "gateway"][..], true)]
    {
        let way = Interposer::between(bus.clone(), Faults::default());
        let report = run(way, services, paid.then(|| stripe(&running))).await;
        assert!(report.ok, "without a defect:\n{}", report.text());
    }
    let mut defects = events::defects();
    defects.extend(requests::defects());
    defects.extend(signals::defects());
    // Those that take long begin first.
    defects.sort_by_key(|defect| !defect.needs_stripe);
    let planted = defects.into_iter().enumerate().map(|(place, mut defect)| {
        let way = Interposer::between(bus.clone(), std::mem::take(&mut defect.faults));
        let stripe = defect.needs_stripe.then(|| stripe(&running));
        async move {
            let report = run(way, defect.services, stripe).await;
            (place, verdict(&defect, &report), report.ms, defect.name)
        }
    });
    let mut judged: Vec<_> = futures::stream::iter(planted).buffer_unordered(AT_ONCE).collect().await;
    judged.sort_by_key(|(place, ..)| *place);
    let mut missed = Vec::new();
    for (_, verdict, ms, name) in &judged {
        match verdict {
            Ok(by) => println!("caught  {name:<52} {ms:>6} ms  by {by}"),
            Err(why) => {
                println!("MISSED  {name:<52} {ms:>6} ms  {why}");
                missed.push(*name);
            }
        }
    }
    println!("{} of {} planted defects caught", judged.len() - missed.len(), judged.len());
    assert!(judged.len() >= 25 && missed.is_empty(), "missed: {missed:?}");
    running.stop().await;
}
