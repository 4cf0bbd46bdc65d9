//! The real program, killed with SIGKILL again and again while events pour in over HTTP and out over NATS: none is lost,
//! none has its effect twice.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, Envelope, NatsOptions};
use clock::{Clock, Entropy};
use contracts::Contract;
use contracts::events::webhook::StripeSubscriptionChangedV1;
use futures::future::join_all;
use outbox::{ConsumeOptions, Consumer, Effects, Failure, Order, Outbox, RetryPolicy, Subscription, Unit};
use store::{Key, Query, SqliteOptions, Store};
use tempfile::tempdir;
use testkit::servers::{Nats, NatsVersion};
use testkit::{Process, eventually, free_port};
use tokio_util::sync::CancellationToken;

use crate::harness::{SECRET, pretty, signed, subscription_event};

const EVENTS: usize = 20_000;
const SENDERS: usize = 32;
const KILLS: usize = 4;
const SUBSCRIPTIONS_IN_PLAY: usize = 200;
const DEADLINE: Duration = Duration::from_secs(300);

static READS: &[Subscription] = &[Subscription {
    kind: StripeSubscriptionChangedV1::KIND,
    retry: RetryPolicy::DEFAULT,
    order: Order::Every,
    effects: Effects::Local,
}];

/// Counts what it handles, per event of Stripe's, in the transaction of the inbox record.
struct Counting;

#[async_trait]
impl Consumer for Counting {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        let fact: StripeSubscriptionChangedV1 =
            serde_json::from_slice(&event.data).map_err(|error| Failure::Poison(error.to_string()))?;
        unit.add(Key::new("effects", fact.stripe_event_id), 1);
        Ok(())
    }
}

fn start(folder: &Path, run: usize, port: u16, nats: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webhook"));
    command.envs([
        ("SYNAPSE_PLATFORM__BUS", nats),
        ("SYNAPSE_PLATFORM__STORE", &format!("sqlite:{}", folder.display())),
        ("SYNAPSE_PLATFORM__HTTP_LISTEN", &format!("127.0.0.1:{port}")),
        ("SYNAPSE_PLATFORM__ADMIN__LISTEN", "127.0.0.1:0"),
        ("SYNAPSE_PLATFORM__MODE", "development"),
        ("SYNAPSE_PLATFORM__TELEMETRY__LOG_FILTER", "error"),
        ("SYNAPSE_WEBHOOK__SECRETS", SECRET),
        // A machine full of tests may take longer than Stripe would wait.
        ("SYNAPSE_WEBHOOK__STORE_TIMEOUT_MS", "30000"),
    ]);
    Process::spawn(&command, &folder.join(format!("webhook-{run}.log")))
}

fn body(number: usize) -> String {
    let mut event = subscription_event(&format!("evt_{number:06}"), "active");
    let subscription = number % SUBSCRIPTIONS_IN_PLAY;
    event["data"]["object"]["id"] = format!("sub_{subscription}").into();
    event["data"]["object"]["customer"] = format!("cus_{subscription}").into();
    event["data"]["object"]["metadata"]["synapse_subscription"] = format!("s-{subscription}").into();
    pretty(&event)
}

/// Sends as Stripe does: again until it is told 200.
async fn send(client: &reqwest::Client, port: u16, next: &AtomicUsize, done: &AtomicUsize, events: usize) {
    let clock = Clock::system();
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= events {
            return;
        }
        let body = body(number);
        eventually(DEADLINE, "an event to be taken", async || {
            let header = signed(SECRET, clock.now_ms() / 1_000, body.as_bytes());
            let request = client.post(format!("http://127.0.0.1:{port}/stripe/webhook"));
            let answer = request.header("stripe-signature", header).body(body.clone()).send().await;
            let status = answer.map_err(|error| error.to_string())?.status();
            if status == 200 { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
        done.fetch_add(1, Ordering::SeqCst);
    }
}

/// What each event did: its id and how often.
async fn effects(store: &Store) -> Vec<(String, i64)> {
    let (mut query, mut found) = (Query::all("effects", 1_000), Vec::new());
    loop {
        let page = store.query(&query).await.unwrap();
        found.extend(page.items.into_iter().map(|item| (item.key.sort, item.counter)));
        query.after = page.next;
        if query.after.is_none() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_loses_nothing_and_does_nothing_twice() {
    let events = EVENTS * testkit::scale();
    let (nats, folder, port) = (Nats::start(NatsVersion::V2_15_1), tempdir().unwrap(), free_port());
    let (clock, stop) = (Clock::system(), CancellationToken::new());
    let bus = Bus::nats(NatsOptions { url: nats.url(), ..NatsOptions::default() }, clock.clone()).await.unwrap();
    let table = Store::sqlite(SqliteOptions::at(folder.path().join("reader.db")), clock.clone()).unwrap();
    let reader =
        Outbox::new("subscription", table.clone(), bus, clock.clone(), Entropy::system(), outbox::Options::default());
    let reading = outbox::consume(reader, READS, Arc::new(Counting), ConsumeOptions::default(), stop.clone());
    let reading = tokio::spawn(reading);

    let mut process = Some(start(folder.path(), 0, port, &nats.url()));
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(40)).build().unwrap();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let sender = |_| send(&client, port, &next, &done, events);
    let killing = async {
        for kill in 1..=KILLS {
            let enough = events * kill / (KILLS + 1);
            eventually(DEADLINE, "enough events to be taken", async || {
                let taken = done.load(Ordering::SeqCst);
                let process = process.as_mut().unwrap();
                if let Some(status) = process.exited() {
                    panic!("it ended by itself ({status}):\n{}", process.output());
                }
                if taken >= enough { Ok(()) } else { Err(format!("{taken} of {enough}")) }
            })
            .await;
            assert!(done.load(Ordering::SeqCst) < events, "there are requests under way");
            // Dropping it kills it.
            drop(process.take());
            process = Some(start(folder.path(), kill, port, &nats.url()));
        }
    };
    tokio::join!(join_all((0..SENDERS).map(sender)), killing);
    let found = eventually(DEADLINE, "every event's effect", async || {
        let found = effects(&table).await;
        if found.len() >= events { Ok(found) } else { Err(format!("{} of {events}", found.len())) }
    })
    .await;
    assert_eq!(found.len(), events, "none that was not sent");
    let twice: Vec<_> = found.iter().filter(|(_, times)| *times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    stop.cancel();
    reading.await.unwrap().unwrap();
}
