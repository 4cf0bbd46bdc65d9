//! What a service stands on: bus, store with outbox, time, lifecycle. Built once per process ([`Host`]) and once per
//! service in it ([`Platform`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use auth::ProofRules;
use axum::Router;
use bus::{Asked, Bus, EmbeddedOptions, NatsOptions, Sender, SqsOptions};
use clock::{Clock, Entropy};
use contracts::{NodeId, Request, TenantId};
use outbox::{ConsumeOptions, Consumer, Outbox, Subscription};
use store::{DynamoOptions, SqliteOptions, Store};

use crate::Rejection;
use crate::config::{Mode, Secret, rotate};
use crate::dead_letters::DeadLetterDesk;
use crate::health::Health;
use crate::lifecycle::Lifecycle;
use crate::platform_config::{BusTarget, PlatformConfig, StoreTarget};
use crate::spans::{Traced, answer_in, consumer_span, publish_span, request_span};
use crate::telemetry::scrub;

/// One process: what its services share.
#[derive(Clone)]
pub struct Host {
    /// Its settings.
    pub config: PlatformConfig,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// The bus.
    pub bus: Bus,
    /// Its tasks and its end.
    pub lifecycle: Lifecycle,
    /// What readiness depends on.
    pub health: Health,
    /// The dead letters of its services, for operators.
    pub dead_letters: DeadLetterDesk,
    /// What its services add to the admin listener.
    pub(crate) desks: Desks,
    /// Whoever answers requests ends after those who may still ask while they stop.
    answering: Lifecycle,
    /// The relays end last: what others commit while stopping still goes out.
    relays: Lifecycle,
}

/// What one service stands on. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    /// Its name.
    pub service: &'static str,
    /// This process of it.
    pub node_id: NodeId,
    /// Whether this is somebody's real installation.
    pub mode: Mode,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// The bus.
    pub bus: Bus,
    /// Its store, and the way for its facts.
    pub outbox: Outbox,
    /// Makes its requests and signals.
    pub sender: Sender,
    /// Its tasks and its end.
    pub lifecycle: Lifecycle,
    /// What readiness depends on.
    pub health: Health,
    desks: Desks,
    answering: Lifecycle,
    consume: ConsumeOptions,
    secret_refresh: Duration,
}

/// Routes that services add to the admin listener. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Desks(Arc<Mutex<Vec<Router>>>);

impl Desks {
    fn add(&self, router: Router) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(router);
    }

    /// All of them in one.
    pub(crate) fn router(&self) -> Router {
        let added = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        added.into_iter().fold(Router::new(), Router::merge)
    }
}

/// The tenant of facts that belong to no customer, such as published keys.
pub fn platform_tenant() -> TenantId {
    "platform".parse().expect("a valid id")
}

/// Who issues proofs, and for whom: the whole installation is one audience.
pub fn proof_rules() -> ProofRules {
    ProofRules::new(PROOF_ISSUER, PROOF_AUDIENCE)
}

/// `iss` of subscription proofs.
pub const PROOF_ISSUER: &str = "synapse/subscription";
/// `aud` of subscription proofs.
pub const PROOF_AUDIENCE: &str = "synapse";

/// How long the bus may take to hand over what was settled and sent.
const BUS_DRAIN: Duration = Duration::from_secs(1);

impl Host {
    /// Connects the bus that the configuration names.
    ///
    /// # Errors
    /// When it can't be reached or lacks a feature.
    pub async fn start(config: PlatformConfig, clock: Clock, entropy: Entropy) -> anyhow::Result<Self> {
        let bus = match config.bus_target() {
            Some(BusTarget::Embedded) => Bus::embedded(EmbeddedOptions::default(), clock.clone()),
            Some(BusTarget::Nats(url)) => {
                let context = format!("bus: {} can't be used", scrub(&url));
                Bus::nats(nats_options(url), clock.clone()).await.context(context)?
            }
            Some(BusTarget::Sqs) => {
                let endpoint = if config.sqs_endpoint.is_empty() { "AWS" } else { &config.sqs_endpoint };
                let context = format!("bus: sqs at {} with {} can't be used", scrub(endpoint), scrub(&config.nats_url));
                Bus::sqs(sqs_options(&config), clock.clone()).await.context(context)?
            }
            None => anyhow::bail!("bus: {:?} names no bus", config.bus),
        };
        Ok(Self::on(config, bus, clock, entropy))
    }

    /// A host on a bus that is there already.
    pub fn on(config: PlatformConfig, bus: Bus, clock: Clock, entropy: Entropy) -> Self {
        let health = Health::new(clock.clone());
        let connected = bus.clone();
        health.add_check("bus", move || {
            let connected = connected.is_connected();
            async move { if connected { Ok(()) } else { Err("not connected".to_owned()) } }
        });
        let [lifecycle, answering, relays] = std::array::from_fn(|_| Lifecycle::new(clock.clone()));
        let dead_letters = DeadLetterDesk::default();
        let desks = Desks::default();
        Self { config, clock, entropy, bus, lifecycle, health, dead_letters, desks, answering, relays }
    }

    /// Opens a service's own store and starts its relay.
    ///
    /// # Errors
    /// When the store can't be opened.
    pub async fn platform(&self, service: &'static str) -> anyhow::Result<Platform> {
        let store = self.open_store(service).await?;
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        let options = outbox::Options {
            in_flight: self.config.relay_in_flight,
            make_publish_span: Some(publish_span),
            ..outbox::Options::default()
        };
        let outbox = Outbox::new(service, store, self.bus.clone(), clock.clone(), entropy.clone(), options);
        self.dead_letters.add(service, outbox.dead_letters());
        let (relay, stop) = (outbox.clone(), self.relays.token());
        self.relays.spawn(format!("{service}.relay"), async move { relay.run_relay(stop).await });
        let node = format!("{service}-{}", entropy.uuid_v7(clock.now_ms()).simple());
        let consume = ConsumeOptions {
            max_in_flight: self.config.consume_in_flight,
            lease: Duration::from_millis(self.config.consume_lease_ms),
            make_span: Some(consumer_span),
            ..ConsumeOptions::default()
        };
        Ok(Platform {
            service,
            node_id: node.parse().expect("a service's name and a UUID are a valid id"),
            mode: self.config.common.mode,
            sender: Sender::new(service, clock.clone(), entropy.clone()),
            clock,
            entropy,
            bus: self.bus.clone(),
            outbox,
            lifecycle: self.lifecycle.clone(),
            health: self.health.clone(),
            desks: self.desks.clone(),
            answering: self.answering.clone(),
            consume,
            secret_refresh: Duration::from_millis(self.config.secret_refresh_ms),
        })
    }

    async fn open_store(&self, service: &str) -> anyhow::Result<Store> {
        match self.config.store_target() {
            Some(StoreTarget::Sqlite(folder)) => {
                std::fs::create_dir_all(&folder).map_err(|error| {
                    anyhow::anyhow!("store: the folder {} can't be made: {error}", folder.display())
                })?;
                let options = SqliteOptions::at(folder.join(format!("{service}.db")));
                Ok(Store::sqlite(options, self.clock.clone())?)
            }
            Some(StoreTarget::Dynamo(endpoint)) => {
                let table = format!("synapse-{service}");
                let options = match endpoint {
                    Some(endpoint) => DynamoOptions::emulator(endpoint, table),
                    None => DynamoOptions::table(table),
                };
                let options = DynamoOptions {
                    create_table: self.config.create_resources,
                    region: Some(self.config.aws_region.clone()),
                    ..options
                };
                Ok(Store::dynamo(options, self.clock.clone()).await?)
            }
            None => anyhow::bail!("store: {:?} names no store", self.config.store),
        }
    }

    /// Ends everything in order: readiness, then the services' tasks, then the answering of requests, then relays, then
    /// the bus. Each of these has `drain_ms`; what is not done then is left, and the outbox holds it.
    pub async fn drain(&self) {
        self.health.drain();
        let limit = Duration::from_millis(self.config.common.drain_ms);
        let mut late = Vec::new();
        for stage in [&self.lifecycle, &self.answering, &self.relays] {
            late.extend(stage.shutdown(limit).await);
        }
        if !late.is_empty() {
            tracing::warn!(tasks = ?late, "these did not end in time");
        }
        // Whoever could settle something has ended; only what is on its way to the broker may need a moment.
        self.bus.drain(limit.min(BUS_DRAIN)).await;
    }
}

fn nats_options(url: String) -> NatsOptions {
    NatsOptions { url, ..NatsOptions::default() }
}

fn sqs_options(config: &PlatformConfig) -> SqsOptions {
    let options = if config.sqs_endpoint.is_empty() {
        SqsOptions { create_queues: config.create_resources, ..SqsOptions::default() }
    } else {
        SqsOptions::emulator(config.sqs_endpoint.clone())
    };
    let region = Some(config.aws_region.clone());
    SqsOptions { region, nats: nats_options(config.nats_url.clone()), ..options }
}

impl Platform {
    /// Serves requests of `R` with `handler` on `state`, at most `max_in_flight` at once. Once this returns, requests
    /// are taken in.
    ///
    /// # Errors
    /// When the bus can't be reached.
    pub async fn serve<R, S, H, F>(&self, state: &Arc<S>, max_in_flight: usize, handler: H) -> anyhow::Result<()>
    where
        R: Request,
        S: Send + Sync + 'static,
        H: Fn(Arc<S>, Asked, R) -> F + Send + Sync + 'static,
        F: Future<Output = Result<R::Reply, Rejection<R::Refusal>>> + Send + 'static,
    {
        let (state, service) = (Arc::clone(state), self.service);
        let respond = move |asked, request| {
            let (span, asked) = request_span(service, R::KIND, asked);
            answer_in(span, handler(Arc::clone(&state), asked, request))
        };
        let (clock, stop) = (self.clock.clone(), self.answering.token());
        let serving = bus::serve::<R, _, _>(&self.bus, self.service, clock, max_in_flight, stop, respond).await?;
        self.answering.spawn(format!("{}.serve.{}", self.service, R::KIND), serving);
        Ok(())
    }

    /// Reads events until the process stops.
    ///
    /// # Errors
    /// When the bus can't be reached.
    pub async fn consume(
        &self,
        subscriptions: &'static [Subscription],
        consumer: Arc<dyn Consumer>,
    ) -> anyhow::Result<()> {
        let service = self.service;
        let consumer = Arc::new(Traced::new(service, consumer));
        let consuming =
            outbox::consume(self.outbox.clone(), subscriptions, consumer, self.consume.clone(), self.lifecycle.token());
        self.lifecycle.spawn(format!("{service}.consume"), async move {
            if let Err(error) = consuming.await {
                tracing::error!(service, error = &error as &dyn std::error::Error, "events are no longer read");
            }
        });
        Ok(())
    }

    /// Adds routes to the process's admin listener, for operators: under a path that begins with the service's own word.
    /// What is added after the listener has opened is not served.
    pub fn add_admin_routes(&self, router: Router) {
        self.desks.add(router);
    }

    /// Reads the files of these secrets again every `secret_refresh_ms` until the process stops. `changed` is called
    /// when one has another value; whoever asks [`Secret::current`] at each use needs nothing there.
    pub fn rotate(&self, secrets: Vec<(&'static str, Secret)>, changed: impl Fn() + Send + 'static) {
        let (stop, rotating) =
            (self.lifecycle.token(), rotate(secrets, self.secret_refresh, self.clock.clone(), changed));
        self.lifecycle.spawn(format!("{}.secrets", self.service), async move {
            stop.run_until_cancelled(rotating).await;
        });
    }
}
