//! The process that is killed. `presence` publishes facts; `signaling` notes each in its trace and publishes an echo;
//! `presence` notes the echo in its own. One event in five fails once, so that there are redeliveries.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, EmbeddedOptions, Envelope, NatsOptions, Trail};
use clock::{Clock, Entropy};
use contracts::Fact;
use outbox::{
    ConsumeOptions, Consumer, Effects, Failure, Options, Order, Outbox, RetryPolicy, Step, Subscription, Unit, consume,
};
use store::{Condition, Item};
use testkit::eventually;
use tokio_util::sync::CancellationToken;

use crate::ledger::{self, AGGREGATES};

const NOTED: &str = "presence.noted.v1";
const ECHOED: &str = "signaling.echoed.v1";
/// Facts about each aggregate in one life: more than enough to reach every step.
const FACTS: u64 = 25;

const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 1_000,
    initial: Duration::from_millis(2),
    max: Duration::from_millis(10),
    attempt_timeout: Duration::from_secs(10),
};
static LISTENS: [Subscription; 1] =
    [Subscription { kind: NOTED, retry: RETRY, order: Order::Every, effects: Effects::Local }];
static HEARS_ECHOES: [Subscription; 1] = [Subscription {
    kind: ECHOED,
    retry: RETRY,
    order: Order::Every,
    effects: Effects::External { lease: Duration::from_secs(2) },
}];

struct Spoken {
    kind: &'static str,
    number: u64,
}

impl Fact for Spoken {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn aggregate(&self) -> String {
        format!("peer/p{}", self.number)
    }

    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&serde_json::json!({ "number": self.number }))
    }
}

/// `child <work|drain> <bus> <step> <pass> <folder>`
pub(crate) fn main(arguments: &[String]) {
    let [what, url, step, pass, folder] = arguments else { panic!("five arguments, not {arguments:?}") };
    let passes = Arc::new(AtomicU64::new(pass.parse().unwrap()));
    let step = step.clone();
    let on_step: Arc<dyn Fn(Step) + Send + Sync> = Arc::new(move |at| {
        if format!("{at:?}") == step && passes.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let on_step = (what == "work").then_some(on_step);
    runtime.block_on(live(what == "work", url, PathBuf::from(folder), on_step));
}

async fn connect(url: &str, clock: &Clock) -> Bus {
    if url == "embedded" {
        let routes = [(NOTED, "signaling"), (ECHOED, "presence")];
        let routes = routes.map(|(kind, service)| (kind.to_owned(), vec![service.to_owned()]));
        let options = EmbeddedOptions { routes: Some(routes.into()), ..EmbeddedOptions::default() };
        return Bus::embedded(options, clock.clone());
    }
    let options = NatsOptions {
        url: url.to_owned(),
        partitions: 4,
        takeover: Duration::from_secs(1),
        max_age: Duration::from_secs(3_600),
        ..NatsOptions::default()
    };
    Bus::nats(options, clock.clone()).await.unwrap()
}

async fn live(works: bool, url: &str, folder: PathBuf, on_step: Option<Arc<dyn Fn(Step) + Send + Sync>>) {
    let clock = Clock::system();
    let bus = connect(url, &clock).await;
    let make = |service: &str| {
        let options = Options { on_step: on_step.clone(), ..Options::default() };
        let store = ledger::open(&folder, service, &clock);
        Outbox::new(service, store, bus.clone(), clock.clone(), Entropy::system(), options)
    };
    let (publisher, listener) = (make("presence"), make("signaling"));
    let stop = CancellationToken::new();
    for (outbox, subscriptions, echoes) in [(&listener, &LISTENS, true), (&publisher, &HEARS_ECHOES, false)] {
        let (outbox, relayed, stop, again) = (outbox.clone(), outbox.clone(), stop.clone(), stop.clone());
        let consumer = Arc::new(Tracer { outbox: outbox.clone(), echoes, failed: Mutex::default() });
        let options = ConsumeOptions { lease: Duration::from_secs(1), ..ConsumeOptions::default() };
        tokio::spawn(async move { consume(outbox, subscriptions, consumer, options, stop).await.unwrap() });
        tokio::spawn(async move { relayed.run_relay(again).await });
    }
    println!("working");
    if works {
        let speakers = (0..AGGREGATES).map(|number| speak(&publisher, number));
        futures::future::join_all(speakers).await;
        // Until it is killed.
        std::future::pending::<()>().await;
    }
    drained(&publisher, &listener).await;
    stop.cancel();
}

async fn speak(publisher: &Outbox, number: u64) {
    let said = ledger::facts(publisher.store(), number).await;
    for version in said + 1..=said + FACTS {
        let condition = if version == 1 { Condition::Absent } else { Condition::Version(version - 1) };
        let mut unit = Unit::new();
        unit.put(Item::new(ledger::aggregate(number), version, "{}"), condition);
        unit.publish(&"acme".parse().unwrap(), version, &Trail::new("crash"), &Spoken { kind: NOTED, number });
        publisher.commit(unit).await.unwrap();
    }
}

async fn drained(publisher: &Outbox, listener: &Outbox) {
    eventually(Duration::from_secs(50), "every effect", async || {
        let rows = publisher.pending().await.unwrap() + listener.pending().await.unwrap();
        let mut missing = Vec::new();
        for number in 0..AGGREGATES {
            let facts = ledger::facts(publisher.store(), number).await;
            for store in [listener.store(), publisher.store()] {
                let seen = ledger::entries(store, number).await.len() as u64;
                if seen < facts {
                    missing.push((number, seen, facts));
                }
            }
        }
        if rows == 0 && missing.is_empty() { Ok(()) } else { Err(format!("{rows} rows, effects missing: {missing:?}")) }
    })
    .await;
}

struct Tracer {
    outbox: Outbox,
    echoes: bool,
    failed: Mutex<HashSet<String>>,
}

#[async_trait]
impl Consumer for Tracer {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        if event.sequence.is_multiple_of(5) && self.failed.lock().unwrap().insert(event.id.to_string()) {
            return Err(Failure::Transient("one in five fails once in a life".to_owned()));
        }
        let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
        let number = data["number"].as_u64().unwrap();
        let old = self.outbox.store().get(&ledger::trace(number)).await?;
        let (version, mut seen): (u64, Vec<u64>) =
            old.map_or((0, Vec::new()), |item| (item.version, serde_json::from_str(&item.body).unwrap()));
        seen.push(event.sequence);
        let condition = if version == 0 { Condition::Absent } else { Condition::Version(version) };
        unit.put(Item::new(ledger::trace(number), version + 1, serde_json::to_string(&seen).unwrap()), condition);
        if self.echoes {
            // Its own count, not the event's: an effect that happened twice would show at both ends.
            unit.publish(&event.tenant, version + 1, &event.follow(), &Spoken { kind: ECHOED, number });
        }
        Ok(())
    }
}
