use std::collections::BTreeMap;

use bus::{Bus, EmbeddedOptions};
use clock::{Clock, Entropy, ManualClock};
use service::config::{Sources, load};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS};
use tempfile::TempDir;

use super::*;

struct World {
    metering: Metering,
    hand: ManualClock,
    _folder: TempDir,
}

async fn world() -> World {
    let folder = TempDir::new().unwrap();
    let env = [("SYNAPSE_PLATFORM__STORE".to_owned(), format!("sqlite:{}", folder.path().display()))];
    let sources = Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env: env.into_iter() };
    let (clock, hand) = Clock::manual(1_790_000_000_000);
    // Somebody reads it who is not here: facts wait in the outbox.
    let kind = "tunnel.usage_recorded.v1".to_owned();
    let routes = Some(BTreeMap::from([(kind, vec!["subscription".to_owned()])]));
    let bus = Bus::embedded(EmbeddedOptions { routes, ..EmbeddedOptions::default() }, clock.clone());
    let host = Host::on(load(sources).unwrap(), bus, clock, Entropy::system());
    World { metering: Metering::new(host.platform(crate::NAME).await.unwrap()), hand, _folder: folder }
}

impl World {
    async fn waiting(&self) -> u64 {
        self.metering.platform.outbox.pending().await.unwrap()
    }
}

fn payer() -> Payer {
    ("acme".parse().unwrap(), "sub-1".parse().unwrap())
}

fn amounts(report: &Report) -> BTreeMap<String, u64> {
    let TunnelEvent::UsageRecorded(fact) = &report.fact;
    fact.usage.amounts.clone()
}

#[tokio::test]
async fn a_report_that_is_tried_again_is_the_same_fact_and_later_use_is_another() {
    let world = world().await;
    let meter = world.metering.of(&payer());
    meter.request();
    meter.bytes(700);
    let taken = world.metering.take();
    assert_eq!(amounts(&taken[0].1), [(REQUESTS.to_owned(), 1), (BYTES.to_owned(), 700)].into());
    // The commit came through, and nobody heard of it: the same again, and again with the next flush.
    world.metering.store(&payer(), taken[0].1.clone()).await.unwrap();
    meter.bytes(5);
    let again = world.metering.take();
    assert_eq!((&again[0].1.id, again[0].1.sequence), (&taken[0].1.id, taken[0].1.sequence));
    assert_eq!(amounts(&again[0].1), amounts(&taken[0].1), "what came later is not mixed in");
    world.metering.flush().await;
    assert_eq!(world.waiting().await, 1);
    world.metering.flush().await;
    assert_eq!(world.waiting().await, 2, "the five bytes");
    world.metering.flush().await;
    assert_eq!(world.waiting().await, 2, "and nothing for nothing");
}

#[tokio::test]
async fn use_that_nobody_makes_any_more_is_told_and_forgotten_and_its_numbers_go_on() {
    let world = world().await;
    let meter = world.metering.of(&payer());
    meter.request();
    drop(meter);
    world.metering.flush().await;
    assert_eq!((world.waiting().await, world.metering.lock().len()), (1, 1));
    let last = world.metering.lock()[&payer()].sequence;
    world.metering.flush().await;
    assert_eq!((world.waiting().await, world.metering.lock().len()), (1, 0), "idle accounts are forgotten");
    world.hand.advance(Duration::from_secs(10));
    let meter = world.metering.of(&payer());
    meter.bytes(1);
    assert!(world.metering.lock()[&payer()].sequence >= last);
    world.metering.flush().await;
    assert_eq!(world.waiting().await, 2);
}

#[tokio::test]
async fn two_agents_of_one_subscription_are_one_account() {
    let world = world().await;
    let (one, other) = (world.metering.of(&payer()), world.metering.of(&payer()));
    one.request();
    other.request();
    Meter::default().request();
    let taken = world.metering.take();
    assert_eq!((taken.len(), amounts(&taken[0].1)), (1, [(REQUESTS.to_owned(), 2)].into()));
}
