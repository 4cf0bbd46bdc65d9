//! The services behind the gateway: they note what they are asked and answer what a test scripted, else the contract's
//! first sample.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bus::{Asked, Bus, Trail};
use clock::Clock;
use contracts::requests::billing::UsageV1;
use contracts::requests::presence::{
    ConnectV1, Connected, CountV1, DescribeV1, DisconnectV1, ListV1, LookupV1, SetStatusV1,
};
use contracts::requests::signaling::{IceServersV1, OpenSessionV1, SendV1};
use contracts::requests::subscription::{
    CancelV1, ChangePlanV1, CheckPlansV1, CreateCheckoutV1, CreatePortalV1, CreateV1, GetV1, ListPlansV1,
    ListProofKeysV1, ListV1 as ListSubscriptionsV1, ProofKeys, ResumeV1, VerifyV1,
};
use contracts::{Answer, Contract, Request};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// One request that a double was asked.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) kind: &'static str,
    pub(crate) tenant: String,
    pub(crate) trail: Trail,
    pub(crate) body: Value,
}

#[derive(Default)]
pub(crate) struct Doubles {
    seen: Mutex<Vec<Seen>>,
    scripts: Mutex<HashMap<&'static str, Value>>,
    generation: AtomicU64,
    held: watch::Sender<bool>,
}

impl Doubles {
    pub(crate) async fn serve(self: &Arc<Self>, bus: &Bus, clock: &Clock) {
        let next = Arc::clone(self);
        let connected = move |_: &ConnectV1| Connected {
            generation: next.generation.fetch_add(1, Ordering::Relaxed) + 1,
            lease_ms: 30_000,
            network: None,
        };
        self.own(bus, clock, connected).await;
        self.own(bus, clock, sample::<DisconnectV1>).await;
        self.own(bus, clock, sample::<SetStatusV1>).await;
        self.own(bus, clock, sample::<LookupV1>).await;
        self.own(bus, clock, sample::<ListV1>).await;
        self.own(bus, clock, sample::<DescribeV1>).await;
        self.own(bus, clock, sample::<CountV1>).await;
        self.own(bus, clock, sample::<OpenSessionV1>).await;
        self.own(bus, clock, sample::<SendV1>).await;
        self.own(bus, clock, sample::<IceServersV1>).await;
        self.own(bus, clock, sample::<CreateV1>).await;
        self.own(bus, clock, sample::<GetV1>).await;
        self.own(bus, clock, sample::<VerifyV1>).await;
        self.own(bus, clock, sample::<UsageV1>).await;
        self.own(bus, clock, sample::<ListSubscriptionsV1>).await;
        self.own(bus, clock, sample::<ChangePlanV1>).await;
        self.own(bus, clock, sample::<CancelV1>).await;
        self.own(bus, clock, sample::<ResumeV1>).await;
        self.own(bus, clock, sample::<CreateCheckoutV1>).await;
        self.own(bus, clock, sample::<CreatePortalV1>).await;
        self.own(bus, clock, sample::<ListPlansV1>).await;
        self.own(bus, clock, sample::<CheckPlansV1>).await;
        self.own(bus, clock, |_: &ListProofKeysV1| ProofKeys { keys: Vec::new() }).await;
    }

    async fn own<R: Request>(
        self: &Arc<Self>,
        bus: &Bus,
        clock: &Clock,
        reply: impl Fn(&R) -> R::Reply + Send + Sync + 'static,
    ) {
        let doubles = Arc::clone(self);
        let handler = move |asked: Asked, ask: R| {
            let body = serde_json::to_value(&ask).unwrap();
            let seen = Seen { kind: R::KIND, tenant: asked.tenant.to_string(), trail: asked.trail, body };
            doubles.seen.lock().unwrap().push(seen);
            let scripted = doubles.scripts.lock().unwrap().get(R::KIND).cloned();
            let answer: Answer<R::Reply, R::Refusal> = match scripted {
                Some(script) => serde_json::from_value(script).unwrap(),
                None => Answer::Ok(reply(&ask)),
            };
            let mut held = doubles.held.subscribe();
            async move {
                let _ = held.wait_for(|held| !held).await;
                answer
            }
        };
        let serving = bus::serve(bus, "double", clock.clone(), 64, CancellationToken::new(), handler).await.unwrap();
        tokio::spawn(serving);
    }

    /// From now on `R` is answered so.
    pub(crate) fn script<R: Request>(&self, answer: &Answer<R::Reply, R::Refusal>) {
        self.scripts.lock().unwrap().insert(R::KIND, serde_json::to_value(answer).unwrap());
    }

    /// Whether answers are held back from now on; those held are given when it ends.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// How many requests there were until now.
    pub(crate) fn asked(&self) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen.kind != ListProofKeysV1::KIND).count()
    }

    /// What was asked of `R` until now.
    pub(crate) fn seen<R: Request>(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.kind == R::KIND).cloned().collect()
    }
}

fn sample<R: Request>(_: &R) -> R::Reply {
    R::replies().remove(0)
}
