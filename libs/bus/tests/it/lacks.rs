//! `atomic_batch`: shown where it is declared, and its lack where it is not. (The other capabilities: `cases`.)

use async_nats::HeaderMap;
use async_nats::jetstream;
use bus::{Bus, BusErrorKind, EmbeddedOptions};
use clock::Clock;
use testkit::servers::NatsVersion;

use crate::harness::*;

async fn jetstream_of(h: &Harness) -> jetstream::Context {
    jetstream::new(async_nats::connect(h.nats.as_ref().unwrap().url()).await.unwrap())
}

/// How many messages of what this bus published carry the header of a batch.
async fn batched(h: &Harness, count: u64) -> usize {
    let stream = jetstream_of(h).await.get_stream("SYNAPSE_EVENTS").await.unwrap();
    let mut batched = 0;
    for sequence in 1..=count {
        let message = stream.get_raw_message(sequence).await.unwrap();
        batched += usize::from(message.headers.get("Nats-Batch-Id").is_some());
    }
    batched
}

/// How many messages of a batch that was never finished are stored.
async fn stored_of_an_unfinished_batch(h: &Harness) -> u64 {
    let context = jetstream_of(h).await;
    let before = context.get_stream("SYNAPSE_EVENTS").await.unwrap().cached_info().state.messages;
    let client = async_nats::connect(h.nats.as_ref().unwrap().url()).await.unwrap();
    for number in 1..=3 {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", "unfinished");
        headers.insert("Nats-Batch-Sequence", number.to_string().as_str());
        client.publish_with_headers(format!("synapse.event.{THING}.03"), headers, "{}".into()).await.unwrap();
    }
    // A message behind them, outside any batch: once it is stored, the server has seen them.
    let after = context.publish(format!("synapse.event.{THING}.03"), "{}".into()).await.unwrap();
    after.await.unwrap();
    context.get_stream("SYNAPSE_EVENTS").await.unwrap().cached_info().state.messages - before - 1
}

#[tokio::test]
async fn nats_2_15_1_stores_a_batch_whole() {
    let h = Harness::start(Kind::Nats(NatsVersion::V2_15_1)).await;
    assert!(h.bus.capabilities().atomic_batch);
    all_ok(&h.publish((1..=10).flat_map(|n| ["a", "b"].map(|key| event(key, n))).collect()).await.unwrap());
    assert_eq!(batched(&h, 20).await, 20, "events of keys that have several waiting go together");
    all_ok(&h.publish((0..20).map(|key| event(&format!("k{key}"), 1)).collect()).await.unwrap());
    assert_eq!(batched(&h, 40).await, 20, "others by themselves");
    assert_eq!(stored_of_an_unfinished_batch(&h).await, 0, "of an unfinished one nothing is stored");
}

#[tokio::test]
async fn nats_2_9_10_has_no_batches_and_the_bus_makes_none() {
    let h = Harness::start(Kind::Nats(NatsVersion::V2_9_10)).await;
    assert!(!h.bus.capabilities().atomic_batch);
    all_ok(&h.publish((1..=10).flat_map(|n| ["a", "b"].map(|key| event(key, n))).collect()).await.unwrap());
    assert_eq!(batched(&h, 20).await, 0);
    assert_eq!(stored_of_an_unfinished_batch(&h).await, 3, "this server ignores what it does not know");
}

#[tokio::test]
async fn nats_stores_the_good_events_of_a_batch_that_the_server_refuses() {
    for version in NatsVersion::ALL {
        let h = Harness::start(Kind::Nats(version)).await;
        let context = jetstream_of(&h).await;
        let mut config = context.get_stream("SYNAPSE_EVENTS").await.unwrap().cached_info().config.clone();
        config.max_message_size = 2_048;
        context.update_stream(config).await.unwrap();
        let mut large = event("b", 1);
        large.data = format!("\"{}\"", "x".repeat(4_000)).into();
        let mut behind = event("b", 2);
        behind.data = "{}".into();
        let results = h.publish(vec![event("a", 1), large, behind, event("c", 1)]).await.unwrap();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true], "{results:?}");
        let mut deliveries = h.subscribe("alpha").await;
        let mut keys: Vec<_> = take(&mut deliveries, 2).await.into_iter().map(|(key, _)| key).collect();
        keys.sort();
        assert_eq!(keys, ["acme/a", "acme/c"]);
    }
}

#[tokio::test]
async fn sqs_stores_part_of_what_fails() {
    let h = Harness::start(Kind::Sqs).await;
    assert!(!h.bus.capabilities().atomic_batch);
    // One of the two queues that an event goes to is gone.
    let client = sqs_client().await;
    let name = format!("{}beta.fifo", h.prefix);
    let url = client.get_queue_url().queue_name(name).send().await.unwrap().queue_url.unwrap();
    client.delete_queue().queue_url(url).send().await.unwrap();
    let mut alpha = h.subscribe("alpha").await;
    let result = h.publish(vec![envelope(SHARED, "a", 1)]).await.unwrap().remove(0);
    assert_eq!(kind_of(result), BusErrorKind::Unavailable);
    assert_eq!(take(&mut alpha, 1).await[0].1, 1, "the other one has it: the outbox publishes again, the inbox drops");
}

#[tokio::test]
async fn the_embedded_bus_takes_part_of_a_batch_that_does_not_fit() {
    let routes = std::collections::BTreeMap::from([(THING.to_owned(), vec!["alpha".to_owned()])]);
    let options = EmbeddedOptions { queue_capacity: 2, routes: Some(routes), ..EmbeddedOptions::default() };
    let bus = Bus::embedded(options, Clock::system());
    assert!(!bus.capabilities().atomic_batch);
    let published = publish(&bus, (1..=3).map(|key| event(&format!("k{key}"), 1)).collect());
    let mut deliveries = subscribe_with(&bus, "alpha", 4).await;
    assert_eq!(take(&mut deliveries, 2).await.len(), 2);
    let results = published.await.unwrap();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2, "{results:?}");
    assert_eq!(kind_of(results.into_iter().find(Result::is_err).unwrap()), BusErrorKind::Full);
    quiet(&mut deliveries).await;
}
