//! `synapse contract verify`: what a running system promises, held against what it does.
//!
//! ```text
//! bus part     (--nats)     requests as a gateway asks them ─▶ services ─▶ answers, events, signals ─▶ judged
//! Stripe part  (--stripe)   buys in test mode, connects peers, cancels: the events that only money makes
//! public part  (--gateway)  HTTP and WebSocket as a customer speaks them
//! ```
//!
//! Everything of the bus part happens in a tenant of its own with a random name. At the end, however it ends, the run's
//! peers leave and its subscription is canceled. Nothing else is written, nobody's messages are taken.

mod asking;
mod audit;
mod billing;
mod bodies;
mod book;
mod ear;
mod presence;
mod public;
mod report;
mod sessions;
mod subscriptions;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use bus::{Bus, Envelope};
use clock::{Clock, Entropy};
use contracts::TenantId;
use serde_json::json;

pub use book::{Check, Offence, Promise, Sort, Verdict};
pub use public::Public;
pub use report::{Contract, Report};

use asking::{Run, Traces};
use book::Book;
use ear::Ear;
use public::{Forms, Visit};

pub(crate) use book::short;

use super::schemas::Schemas;

/// How often our peers are said to be alive; leases are at least 3 s long.
const BEAT: Duration = Duration::from_secs(1);

/// Bounds of a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole run. What was not reached by then is not testable. Default 5 min.
    pub total: Duration,
    /// One answer, event or signal. Default 5 s.
    pub patience: Duration,
    /// How long to look for what must not come. Default 500 ms.
    pub quiet: Duration,
    /// Most requests a second. Default 50.
    pub rate_per_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(300),
            patience: Duration::from_secs(5),
            quiet: Duration::from_millis(500),
            rate_per_s: 50,
        }
    }
}

impl Limits {
    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.rate_per_s.max(1)
    }
}

/// Stripe's test mode, or its emulator: where the run may buy and cancel.
#[derive(Clone, Debug)]
pub struct Stripe {
    url: String,
    key: String,
    /// The price to buy.
    pub price: String,
}

impl Stripe {
    /// Stripe at `url` with a key of its test mode.
    ///
    /// # Errors
    /// A key that could move real money.
    pub fn try_new(url: &str, key: &str, price: &str) -> anyhow::Result<Self> {
        let test = key.starts_with("sk_test_") || key.starts_with("rk_test_");
        ensure!(test, "--stripe-key: only keys of the test mode (sk_test_…, rk_test_…): this would move real money");
        Ok(Self { url: url.trim_end_matches('/').to_owned(), key: key.to_owned(), price: price.to_owned() })
    }

    /// Cancels a subscription, as its customer would.
    async fn cancel(&self, id: &str) -> anyhow::Result<()> {
        let url = format!("{}/v1/subscriptions/{id}", self.url);
        let call = reqwest::Client::new().delete(url).bearer_auth(&self.key).timeout(Duration::from_secs(10));
        call.send().await.context("Stripe does not answer")?.error_for_status()?;
        Ok(())
    }
}

/// What to look at.
pub struct Target {
    /// The installation's bus.
    pub bus: Option<Bus>,
    /// Its public API.
    pub public: Option<Public>,
    /// Where to buy.
    pub stripe: Option<Stripe>,
    /// Only these services; all when empty.
    pub services: Vec<String>,
}

/// Runs everything that the target allows. `stop` ends it early; traces are removed all the same.
///
/// # Errors
/// It could not even begin: nothing to look at, an unknown service, no way to the bus.
pub async fn run(
    target: &Target,
    limits: Limits,
    clock: &Clock,
    entropy: &Entropy,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Report> {
    ensure!(target.bus.is_some() || target.public.is_some(), "nothing to verify: give --nats, --gateway or both");
    let schemas = Schemas::built_in()?;
    let book = Book::default();
    open_pages(&book, &schemas, target)?;
    let begun = clock.monotonic();
    let name = format!("verify-{:016x}", entropy.next_u64());
    let deadline = cut_short(stop, clock, limits.total);
    let bought = Mutex::default();
    let visit = target.public.as_ref().map(|public| Visit {
        public,
        book: &book,
        stripe: target.stripe.as_ref(),
        limits,
        clock,
        entropy,
        name: &name,
        forms: Forms::new(),
        open: &bought,
        silences: Mutex::default(),
    });
    let run = match &target.bus {
        Some(bus) => {
            let tenant: TenantId = name.parse()?;
            let node = format!("{name}-node").parse()?;
            let ear = Ear::open(bus, &tenant, &node, clock, entropy).await.context("can't look at the bus")?;
            Some(Run {
                bus,
                tenant,
                node,
                book: &book,
                schemas: &schemas,
                ear,
                clock: clock.clone(),
                entropy: entropy.clone(),
                limits,
                stripe: target.stripe.as_ref(),
                services: &target.services,
                pace: Mutex::default(),
                silences: Mutex::new(BTreeMap::new()),
                misses: Mutex::new(BTreeMap::new()),
                traces: Mutex::new(Traces::default()),
            })
        }
        None => None,
    };
    let parts = async {
        if let Some(run) = &run {
            bus_part(run).await;
        }
        if let Some(visit) = visit.as_ref().filter(|_| wants(target, "gateway")) {
            public::check(visit).await;
        }
    };
    let cut = tokio::select! {
        biased;
        () = parts => None,
        () = beats(run.as_ref()) => None,
        why = deadline => Some(why),
    };
    let mut gone = Vec::new();
    if let Some(run) = &run {
        gone = run.gone_services();
        run.tidy_up().await;
    }
    let left = std::mem::take(&mut *bought.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(visit) = &visit {
        cancel_all(target.stripe.as_ref(), public::left(visit, left).await).await;
    }
    let took = clock.monotonic().saturating_sub(begun);
    Ok(Report::new(book.close(), target, &name, took, &gone, cut))
}

/// Why the run has to end before it is through.
async fn cut_short(stop: impl Future<Output = ()>, clock: &Clock, total: Duration) -> &'static str {
    tokio::select! {
        () = stop => "it was interrupted",
        () = clock.sleep(total) => "the time of the whole run was over (--timeout)",
    }
}

/// Cancels what was bought and not canceled. What fails is told on standard error.
async fn cancel_all(stripe: Option<&Stripe>, ids: Vec<String>) {
    for id in ids {
        if let Some(stripe) = stripe
            && let Err(error) = stripe.cancel(&id).await
        {
            tell(&format!("{id} is still there at Stripe: {error:#}; cancel it"));
        }
    }
}

fn wants(target: &Target, owner: &str) -> bool {
    target.services.is_empty() || target.services.iter().any(|service| service == owner)
}

/// A page for every contract that is wanted, so that what was not reached is told.
fn open_pages(book: &Book, schemas: &Schemas, target: &Target) -> anyhow::Result<()> {
    let mut owners: Vec<&str> = schemas.all().iter().filter_map(|known| known.kind.split('.').next()).collect();
    owners.sort_unstable();
    owners.dedup();
    for service in &target.services {
        ensure!(owners.contains(&service.as_str()), "--service {service}: there is none; use {}", owners.join(", "));
    }
    let wanted = |owner: &str| wants(target, owner);
    for known in schemas.all() {
        let promise = Promise::new(known.class.into(), known.kind);
        if target.bus.is_some() && wanted(promise.owner()) {
            book.open(promise);
        }
    }
    if target.public.is_some() && wanted("gateway") {
        public::promises().into_iter().for_each(|promise| book.open(promise));
    }
    Ok(())
}

/// Keeps our peers here for as long as the run takes, as their gateway would. Never ends.
async fn beats(run: Option<&Run<'_>>) {
    let Some(run) = run else { return std::future::pending().await };
    loop {
        run.clock.sleep(BEAT).await;
        presence::beat(run).await;
    }
}

async fn bus_part(run: &Run<'_>) {
    if run.wants("presence") {
        presence::check(run).await;
    }
    if run.wants("signaling") {
        sessions::check(run).await;
    }
    let paid = ["subscription", "webhook", "tunnel", "gateway"].iter().any(|service| run.wants(service));
    if paid {
        subscriptions::check(run).await;
        billing::check(run).await;
    }
    if (paid || run.wants("signaling"))
        && let Some(bought) = subscriptions::buy(run).await
    {
        if run.wants("signaling") {
            sessions::live(run, &bought).await;
        }
        if let Some(stripe) = run.stripe.filter(|_| paid) {
            billing::live(run, &bought, &stripe.price).await;
        }
        subscriptions::cancel(run, &bought).await;
    }
    others(run).await;
    // What must not come has its time to come.
    run.quiet().await;
    audit::all(run);
    billing::unseen(run);
}

/// Request kinds that no scenario knows: what is safe to ask of any.
async fn others(run: &Run<'_>) {
    let requests = contracts::catalogue().into_iter().filter(|entry| entry.class == contracts::Class::Request);
    for entry in requests {
        let promise = Promise::new(Sort::Request, entry.kind);
        let sample = (entry.samples)().into_iter().next();
        if let Some(sample) = sample.filter(|_| run.wants(promise.owner()) && run.book.is_blank(&promise)) {
            bodies::check_broken(run, entry.kind, &sample).await;
        }
    }
}

impl Run<'_> {
    /// Waits for as long as something that must not come may take.
    async fn quiet(&self) {
        self.clock.sleep(self.limits.quiet).await;
    }

    /// Plays the broker: hands an event of our tenant to whoever reads it.
    async fn deliver(&self, envelope: Envelope) {
        self.wait_turn().await;
        let delivered = futures::future::join_all(self.bus.publisher().publish(vec![envelope]));
        // In process it resolves when every reader is done with it.
        let _ = self.clock.timeout(self.limits.patience, delivered).await;
    }

    /// Our peers leave, our subscription is canceled. Each try is bounded; what fails is told on standard error.
    async fn tidy_up(&self) {
        let traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (peer, generation) in traces.peers {
            let leave = json!({"peer_id": peer, "generation": generation, "reason": "left"});
            let asked = self.ask(presence::DISCONNECT, &leave).await;
            if let Err(offence) = asked.ok() {
                tell(&format!("peer {peer} of {} stays until its lease ends: {}", self.tenant, offence.got));
            }
        }
        let mut bought = traces.stripe;
        if let Some(order) = traces.order {
            bought.extend(subscriptions::ordered(self, &order).await);
        }
        cancel_all(self.stripe, bought).await;
    }
}

/// For the operator, beside the report.
fn tell(text: &str) {
    eprintln!("synapse: left behind: {text}");
}
