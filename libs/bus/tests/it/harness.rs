use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::{Bus, BusError, BusErrorKind, Deliveries, Delivery, EmbeddedOptions, Envelope, NatsOptions, SqsOptions};
use bus::{Incoming, Subscribe, Trail};
use clock::Clock;
use testkit::servers::{Moto, Nats, NatsVersion};
use tokio::task::JoinHandle;

/// Read by `alpha` alone.
pub(crate) const THING: &str = "test.happened.v1";
/// Read by `alpha` and `beta`.
pub(crate) const SHARED: &str = "test.shared.v1";
/// Read by nobody.
pub(crate) const UNREAD: &str = "test.unread.v1";
/// Nothing here takes longer than this on a machine full of tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a test looks before it believes that nothing comes.
pub(crate) const QUIET: Duration = Duration::from_millis(400);
pub(crate) const LEASE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
    Nats(NatsVersion),
    Sqs,
}

pub(crate) struct Harness {
    pub(crate) kind: Kind,
    pub(crate) nats: Option<Nats>,
    pub(crate) prefix: String,
    pub(crate) bus: Bus,
}

static MOTO: LazyLock<Moto> = LazyLock::new(Moto::start);
static NEXT: AtomicU64 = AtomicU64::new(1);

fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn routes() -> BTreeMap<String, Vec<String>> {
    let both = vec!["alpha".to_owned(), "beta".to_owned()];
    BTreeMap::from([(THING.to_owned(), vec!["alpha".to_owned()]), (SHARED.to_owned(), both)])
}

impl Harness {
    pub(crate) async fn start(kind: Kind) -> Self {
        let nats = match kind {
            Kind::Embedded => None,
            Kind::Nats(version) => Some(tokio::task::spawn_blocking(move || Nats::start(version)).await.unwrap()),
            Kind::Sqs => Some(tokio::task::spawn_blocking(|| Nats::start(NatsVersion::V2_15_1)).await.unwrap()),
        };
        let prefix = format!("t{}-{}-", std::process::id(), next_number());
        let bus = connect(kind, nats.as_ref(), &prefix).await;
        Self { kind, nats, prefix, bus }
    }

    /// The bus of another process.
    pub(crate) async fn process(&self) -> Bus {
        match self.kind {
            Kind::Embedded => self.bus.clone(),
            _ => self.another().await,
        }
    }

    /// The bus of another process, of which nothing is left when it is dropped.
    pub(crate) async fn another(&self) -> Bus {
        connect(self.kind, self.nats.as_ref(), &self.prefix).await
    }

    pub(crate) fn is_sqs(&self) -> bool {
        self.kind == Kind::Sqs
    }

    pub(crate) async fn subscribe(&self, service: &str) -> Deliveries {
        // The emulator takes one call at a time; what is held must not outlive its lease waiting for that.
        subscribe_with(&self.bus, service, if self.is_sqs() { 8 } else { 64 }).await
    }

    pub(crate) fn publish(&self, batch: Vec<Envelope>) -> JoinHandle<Vec<Result<(), BusError>>> {
        publish(&self.bus, batch)
    }

    /// What lies in the queue or stream as somebody else could have put it there.
    pub(crate) async fn inject(&self, headers: &[(&str, &str)], body: &[u8]) {
        match self.kind {
            Kind::Embedded => panic!("nobody else can reach the embedded bus"),
            Kind::Sqs => {
                let client = sqs_client().await;
                let url = client.get_queue_url().queue_name(format!("{}alpha.fifo", self.prefix)).send().await.unwrap();
                client
                    .send_message()
                    .queue_url(url.queue_url.unwrap())
                    .message_body(String::from_utf8_lossy(body))
                    .message_group_id("g")
                    .message_deduplication_id(format!("d{}", next_number()))
                    .send()
                    .await
                    .unwrap();
            }
            Kind::Nats(_) => {
                let client = async_nats::connect(self.nats.as_ref().unwrap().url()).await.unwrap();
                let mut map = async_nats::HeaderMap::new();
                for (name, value) in headers {
                    map.insert(*name, *value);
                }
                let context = async_nats::jetstream::new(client);
                let subject = format!("synapse.event.{THING}.03");
                context.publish_with_headers(subject, map, body.to_vec().into()).await.unwrap().await.unwrap();
            }
        }
    }
}

pub(crate) fn nats_options(nats: &Nats) -> NatsOptions {
    NatsOptions {
        url: nats.url(),
        takeover: Duration::from_secs(1),
        publish_timeout: Duration::from_secs(3),
        reconnect_max: Duration::from_millis(250),
        ..NatsOptions::default()
    }
}

pub(crate) fn sqs_options(nats: &Nats, prefix: &str) -> SqsOptions {
    SqsOptions {
        queue_prefix: prefix.to_owned(),
        routes: Some(routes()),
        nats: nats_options(nats),
        ..SqsOptions::emulator(MOTO.url())
    }
}

pub(crate) async fn sqs_client() -> aws_sdk_sqs::Client {
    let credentials = aws_sdk_sqs::config::Credentials::new("emulator", "emulator", None, None, "fixed");
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
        .region(aws_sdk_sqs::config::Region::new("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(MOTO.url());
    aws_sdk_sqs::Client::from_conf(config.build())
}

async fn connect(kind: Kind, nats: Option<&Nats>, prefix: &str) -> Bus {
    match kind {
        Kind::Embedded => {
            let options = EmbeddedOptions { routes: Some(routes()), ..EmbeddedOptions::default() };
            Bus::embedded(options, Clock::system())
        }
        Kind::Nats(_) => Bus::nats(nats_options(nats.unwrap()), Clock::system()).await.unwrap(),
        Kind::Sqs => Bus::sqs(sqs_options(nats.unwrap(), prefix), Clock::system()).await.unwrap(),
    }
}

pub(crate) async fn subscribe_with(bus: &Bus, service: &str, max_in_flight: usize) -> Deliveries {
    let kinds = vec![THING.to_owned(), SHARED.to_owned()];
    let subscribe = Subscribe { service: service.to_owned(), kinds, max_in_flight, lease: LEASE };
    bus.subscribe(subscribe).await.unwrap()
}

pub(crate) fn publish(bus: &Bus, batch: Vec<Envelope>) -> JoinHandle<Vec<Result<(), BusError>>> {
    tokio::spawn(futures::future::join_all(bus.publisher().publish(batch)))
}

pub(crate) fn all_ok(results: &[Result<(), BusError>]) {
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

pub(crate) fn kind_of<T: std::fmt::Debug>(result: Result<T, BusError>) -> BusErrorKind {
    result.unwrap_err().kind()
}

pub(crate) fn event(key: &str, number: u64) -> Envelope {
    envelope(THING, key, number)
}

pub(crate) fn envelope(kind: &str, key: &str, number: u64) -> Envelope {
    Envelope {
        id: format!("e{}-{number}", next_number()).parse().unwrap(),
        source: "/synapse/tester".to_owned(),
        kind: kind.to_owned(),
        tenant: "acme".parse().unwrap(),
        key: format!("acme/{key}"),
        sequence: number,
        time_ms: Clock::system().now_ms(),
        trail: Trail::new("c-1"),
        expires_at_ms: None,
        data: format!("{{\"n\":{number}}}").into(),
    }
}

pub(crate) fn events(key: &str, numbers: std::ops::RangeInclusive<u64>) -> Vec<Envelope> {
    numbers.map(|number| event(key, number)).collect()
}

pub(crate) async fn next(deliveries: &mut Deliveries) -> Delivery {
    let next = tokio::time::timeout(PATIENCE, deliveries.next()).await;
    next.expect("a delivery comes").expect("the bus is open")
}

pub(crate) fn good(incoming: &Incoming) -> &Envelope {
    incoming.as_ref().unwrap_or_else(|malformed| panic!("malformed: {}", malformed.reason))
}

pub(crate) fn number(delivery: &Delivery) -> u64 {
    good(&delivery.incoming).sequence
}

pub(crate) async fn quiet(deliveries: &mut Deliveries) {
    if let Ok(Some(delivery)) = tokio::time::timeout(QUIET, deliveries.next()).await {
        panic!("nothing should come, but this did: {delivery:?}");
    }
}

/// Takes and acknowledges `count` deliveries; gives (key, number) in the order they came.
pub(crate) async fn take(deliveries: &mut Deliveries, count: usize) -> Vec<(String, u64)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let delivery = next(deliveries).await;
        seen.push((good(&delivery.incoming).key.clone(), number(&delivery)));
        delivery.ack().await.unwrap();
    }
    seen
}

/// Makes a test of each case for each backend.
macro_rules! on_every_backend {
    ($($case:ident),+ $(,)?) => {
        on_every_backend!(@ embedded, crate::harness::Kind::Embedded, $($case),+);
        on_every_backend!(@ nats_2_9_10, crate::harness::Kind::Nats(testkit::servers::NatsVersion::V2_9_10), $($case),+);
        on_every_backend!(@ nats_2_15_1, crate::harness::Kind::Nats(testkit::servers::NatsVersion::V2_15_1), $($case),+);
        on_every_backend!(@ sqs, crate::harness::Kind::Sqs, $($case),+);
    };
    (@ $module:ident, $kind:expr, $($case:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let mut harness = crate::harness::Harness::start($kind).await;
                    super::$case(&mut harness).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_backend;
