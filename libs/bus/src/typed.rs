//! Typed requests and signals on top of envelopes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Clock, Entropy};
use contracts::{Answer, Class, Contract, EventId, Failure, Request, Signal, TenantId};
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Bus, BusError, BusErrorKind, Envelope, Incoming, Trail};

/// Who asks, for whom and since when: what every typed call carries.
#[derive(Clone, Debug)]
pub struct Asked {
    /// For whom.
    pub tenant: TenantId,
    /// What it belongs to.
    pub trail: Trail,
    /// When the asker stops waiting, Unix milliseconds.
    pub deadline_ms: Option<u64>,
}

impl Bus {
    /// Asks the owner of `R` on behalf of a tenant.
    ///
    /// # Errors
    /// When no answer came; refusals and failures of the owner are answers.
    pub async fn ask<R: Request>(
        &self,
        from: &Sender,
        tenant: &TenantId,
        trail: &Trail,
        request: &R,
        timeout: Duration,
    ) -> Result<Answer<R::Reply, R::Refusal>, BusError> {
        let mut envelope = from.envelope(tenant, trail, request)?;
        envelope.expires_at_ms = Some(envelope.time_ms.saturating_add(millis(timeout)));
        let data = self.request(envelope, timeout).await?;
        contracts::read(from.service(), Class::Reply, R::KIND, &data)
            .map_err(|error| invalid(format!("{}: the reply is not of its contract", R::KIND)).with_source(error))
    }

    /// Sends a typed signal.
    ///
    /// # Errors
    /// When it could not be handed over.
    pub async fn tell<S: Signal>(
        &self,
        from: &Sender,
        address: &str,
        tenant: &TenantId,
        trail: &Trail,
        signal: &S,
    ) -> Result<(), BusError> {
        self.signal(address, from.envelope(tenant, trail, signal)?).await
    }
}

/// Makes envelopes for requests and signals of one service.
#[derive(Clone, Debug)]
pub struct Sender {
    source: String,
    clock: Clock,
    entropy: Entropy,
}

impl Sender {
    /// A sender for `service`.
    pub fn new(service: &str, clock: Clock, entropy: Entropy) -> Self {
        Self { source: format!("/synapse/{service}"), clock, entropy }
    }

    fn service(&self) -> &str {
        self.source.strip_prefix("/synapse/").unwrap_or(&self.source)
    }

    fn envelope<C: Contract>(&self, tenant: &TenantId, trail: &Trail, payload: &C) -> Result<Envelope, BusError> {
        let now_ms = self.clock.now_ms();
        let data = serde_json::to_vec(payload)
            .map_err(|error| invalid(format!("{}: the payload can't be written", C::KIND)).with_source(error))?;
        Ok(Envelope {
            id: new_id(&self.entropy, now_ms),
            source: self.source.clone(),
            kind: C::KIND.to_owned(),
            tenant: tenant.clone(),
            key: tenant.to_string(),
            sequence: 0,
            time_ms: now_ms,
            trail: trail.clone(),
            expires_at_ms: None,
            data: data.into(),
        })
    }
}

/// A fresh event id for the moment `now_ms`.
fn new_id(entropy: &Entropy, now_ms: u64) -> EventId {
    entropy.uuid_v7(now_ms).to_string().parse().expect("a UUID is a valid id")
}

/// Begins to serve one request kind. Once this returns, requests are taken in; the future inside answers them and is for
/// the caller to spawn. At `stop` (or when the bus closes) it takes in no more and ends when the last one is answered.
/// `handler` runs for at most `max_in_flight` requests at once; what can't be
/// parsed or came too late is answered without it.
///
/// # Errors
/// When serving could not be started.
pub async fn serve<R, H, F>(
    bus: &Bus,
    service: &str,
    clock: Clock,
    max_in_flight: usize,
    stop: CancellationToken,
    handler: H,
) -> Result<BoxFuture<'static, ()>, BusError>
where
    R: Request,
    H: Fn(Asked, R) -> F + Send + Sync + 'static,
    F: Future<Output = Answer<R::Reply, R::Refusal>> + Send + 'static,
{
    let mut requests = bus.requests(service, &[R::KIND], max_in_flight).await?;
    let (handler, service) = (Arc::new(handler), Arc::<str>::from(service));
    Ok(Box::pin(async move {
        let permits = Arc::new(Semaphore::new(max_in_flight));
        let mut running = JoinSet::new();
        while let Some(Some(request)) = stop.run_until_cancelled(requests.next()).await {
            while running.try_join_next().is_some() {}
            let permit = Arc::clone(&permits).acquire_owned().await;
            let (handler, service, now_ms) = (Arc::clone(&handler), Arc::clone(&service), clock.now_ms());
            running.spawn(async move {
                let _permit = permit;
                let answer = match parse::<R>(&service, &request.incoming, now_ms) {
                    Ok((asked, body)) => handler(asked, body).await,
                    Err(failure) => Answer::Failed(failure),
                };
                request.respond(encode(&answer));
            });
        }
        while running.join_next().await.is_some() {}
    }))
}

fn parse<R: Request>(service: &str, incoming: &Incoming, now_ms: u64) -> Result<(Asked, R), Failure> {
    let refuse = |message: String| Failure { retryable: false, message, retry_after_ms: None };
    let envelope = match incoming {
        Ok(envelope) => envelope,
        Err(malformed) => return Err(refuse(malformed.reason.clone())),
    };
    if envelope.expires_at_ms.is_some_and(|deadline| deadline <= now_ms) {
        return Err(refuse(format!("{}: the deadline passed before the request was read", R::KIND)));
    }
    let body = contracts::read(service, Class::Request, R::KIND, &envelope.data)
        .map_err(|error| refuse(format!("{}: the body breaks its contract: {error}", R::KIND)))?;
    let asked =
        Asked { tenant: envelope.tenant.clone(), trail: envelope.follow(), deadline_ms: envelope.expires_at_ms };
    Ok((asked, body))
}

fn encode<T: Serialize, E: Serialize>(answer: &Answer<T, E>) -> Bytes {
    serde_json::to_vec(answer).expect("answers are plain data").into()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn invalid(detail: String) -> BusError {
    BusError::new(BusErrorKind::Invalid, detail)
}
