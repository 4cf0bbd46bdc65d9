//! Servers and options that are refused by name.

use bus::{Bus, BusErrorKind, EmbeddedOptions, NatsOptions};
use clock::Clock;
use testkit::servers::{Nats, NatsVersion};

use crate::harness::*;

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let options = NatsOptions { url: format!("nats://127.0.0.1:{}", testkit::free_port()), ..NatsOptions::default() };
    let error = Bus::nats(options, Clock::system()).await.err().unwrap();
    assert_eq!(error.kind(), BusErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused_by_name() {
    for version in NatsVersion::ALL {
        let nats = tokio::task::spawn_blocking(move || Nats::start_core(version)).await.unwrap();
        let error = Bus::nats(nats_options(&nats), Clock::system()).await.err().unwrap();
        assert_eq!(error.kind(), BusErrorKind::Unfit, "{error}");
        let expected = format!("nats-server {}: JetStream is disabled; start it with --jetstream", version.number());
        assert!(error.to_string().contains(&expected), "{error}");
        // Requests and signals of the SQS bus would run there, but its large payloads would not.
        let error = Bus::sqs(sqs_options(&nats, "core-"), Clock::system()).await.err().unwrap();
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

#[tokio::test]
async fn an_account_without_jetstream_is_refused_by_name() {
    for version in NatsVersion::ALL {
        let nats = tokio::task::spawn_blocking(move || {
            let accounts = "accounts { PLAIN { users: [{user: u, password: p}] } }\nno_auth_user: u";
            Nats::start_with(version, accounts)
        });
        let nats = nats.await.unwrap();
        let error = Bus::nats(nats_options(&nats), Clock::system()).await.err().unwrap();
        assert_eq!(error.kind(), BusErrorKind::Unfit, "{error}");
        assert!(error.to_string().contains("JetStream is disabled"), "{error}");
        assert!(error.to_string().contains(version.number()), "{error}");
    }
}

#[tokio::test]
async fn a_stream_of_another_purpose_is_refused_by_name() {
    let nats = tokio::task::spawn_blocking(|| Nats::start(NatsVersion::V2_15_1)).await.unwrap();
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let config = async_nats::jetstream::stream::Config {
        name: "SYNAPSE_EVENTS".to_owned(),
        subjects: vec!["synapse.event.>".to_owned()],
        retention: async_nats::jetstream::stream::RetentionPolicy::WorkQueue,
        ..Default::default()
    };
    context.create_stream(config).await.unwrap();
    let error = Bus::nats(nats_options(&nats), Clock::system()).await.err().unwrap();
    assert_eq!(error.kind(), BusErrorKind::Unfit, "{error}");
    assert!(error.to_string().contains("SYNAPSE_EVENTS"), "{error}");
}

#[tokio::test]
async fn a_small_max_payload_lowers_the_inline_limit() {
    let start = || Nats::start_with(NatsVersion::V2_15_1, "max_payload: 64KB");
    let nats = tokio::task::spawn_blocking(start).await.unwrap();
    let bus = Bus::nats(nats_options(&nats), Clock::system()).await.unwrap();
    assert_eq!(bus.capabilities().max_inline_bytes, 48 * 1024);
    let mut large = event("a", 1);
    large.data = format!("\"{}\"", "x".repeat(100_000)).into();
    let mut deliveries = subscribe_with(&bus, "alpha", 4).await;
    all_ok(&publish(&bus, vec![large.clone()]).await.unwrap());
    let delivery = next(&mut deliveries).await;
    assert_eq!(good(&delivery.incoming), &large);
}

#[tokio::test]
async fn a_missing_queue_is_refused_by_name() {
    let nats = tokio::task::spawn_blocking(|| Nats::start(NatsVersion::V2_15_1)).await.unwrap();
    let options = bus::SqsOptions { create_queues: false, ..sqs_options(&nats, "missing-") };
    let error = Bus::sqs(options, Clock::system()).await.err().unwrap();
    assert_eq!(error.kind(), BusErrorKind::Unfit, "{error}");
    assert!(error.to_string().contains("missing-alpha.fifo"), "{error}");
}

#[tokio::test]
async fn options_out_of_range_are_refused_by_name() {
    let options = NatsOptions { partitions: 0, ..NatsOptions::default() };
    let error = Bus::nats(options, Clock::system()).await.err().unwrap();
    assert_eq!((error.kind(), error.to_string().contains("partitions: ")), (BusErrorKind::Invalid, true));
}

#[tokio::test]
async fn the_embedded_bus_is_full_at_its_bound_and_gives_up_in_time() {
    let (clock, hand) = Clock::manual(1_000);
    let routes = std::collections::BTreeMap::from([(THING.to_owned(), vec!["alpha".to_owned()])]);
    let options = EmbeddedOptions { queue_capacity: 2, routes: Some(routes), ..EmbeddedOptions::default() };
    let bus = Bus::embedded(options, clock);
    let mut results = bus.publisher().publish(events("a", 1..=3));
    assert_eq!(kind_of(results.pop().unwrap().await), BusErrorKind::Full);
    let waiting = tokio::spawn(futures::future::join_all(results));
    testkit::eventually(PATIENCE, "the time to be up", async || {
        hand.advance(std::time::Duration::from_secs(31));
        waiting.is_finished().then_some(())
    })
    .await;
    for result in waiting.await.unwrap() {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), BusErrorKind::Unavailable);
        assert!(error.to_string().contains("alpha"), "{error}");
    }
}

#[tokio::test]
async fn leases_and_delays_follow_a_manual_clock() {
    let (clock, hand) = Clock::manual(1_000);
    let routes = std::collections::BTreeMap::from([(THING.to_owned(), vec!["alpha".to_owned()])]);
    let bus = Bus::embedded(EmbeddedOptions { routes: Some(routes), ..EmbeddedOptions::default() }, clock);
    let mut deliveries = subscribe_with(&bus, "alpha", 4).await;
    let published = publish(&bus, vec![event("a", 1)]);
    next(&mut deliveries).await.nak(std::time::Duration::from_secs(5)).await.unwrap();
    quiet(&mut deliveries).await;
    hand.advance(std::time::Duration::from_secs(5));
    let second = next(&mut deliveries).await;
    assert_eq!(second.attempt, 2);
    hand.advance(LEASE);
    let third = next(&mut deliveries).await;
    assert_eq!(third.attempt, 3);
    third.ack().await.unwrap();
    all_ok(&published.await.unwrap());
}
