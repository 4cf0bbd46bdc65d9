//! How much may come in: rate limits by address, user and token, and shedding when there is too much at once.
//!
//! Connections that are open are not counted here: their heartbeats, refreshes and closings always get through.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Extensions, Method};
use std::sync::Arc;

use auth::Principal;
use serde::{Deserialize, Serialize};
use service::Platform;
use service::config::{Checks, ConfigProblem, Mode};
use service::http::{ClientAddress, Code, ProblemResponse};
use service::limits::{
    FailMode, Importance, Limiter, LimiterSettings, Policy, Quota, ShedSettings, Shedder, Standings, Verdict,
    limits_desk,
};

use crate::{Config, Gateway};

/// How much may come in; `[limits]` in `config.toml` explains each and holds the defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // config.toml is their documentation
pub struct LimitsConfig {
    pub in_development: bool,
    pub when_unknown: FailMode,
    pub max_keys: usize,
    pub lease_ms: u64,
    pub wait_ms: u64,
    pub requests_per_address: Quota,
    pub requests_per_user: Quota,
    pub connections_per_address: Quota,
    pub connections_per_token: Quota,
    pub shedding: ShedSettings,
}

impl LimitsConfig {
    pub(crate) fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("limits.max_keys", self.max_keys, 100..=10_000_000);
        checks.range("limits.lease_ms", self.lease_ms, 100..=60_000);
        checks.range("limits.wait_ms", self.wait_ms, 10..=60_000);
        for (name, quota) in self.quotas() {
            checks.extend(quota.problems(&format!("limits.{name}")));
        }
        checks.extend(self.shedding.problems("limits.shedding"));
        checks.finish()
    }

    fn quotas(&self) -> [(&'static str, Quota); 4] {
        [
            ("requests_per_address", self.requests_per_address),
            ("requests_per_user", self.requests_per_user),
            ("connections_per_address", self.connections_per_address),
            ("connections_per_token", self.connections_per_token),
        ]
    }
}

/// The limits of this process.
pub(crate) struct Edge {
    limiter: Limiter,
    shedder: Shedder,
    requests_per_address: Option<Policy>,
    requests_per_user: Option<Policy>,
    connections_per_address: Option<Policy>,
    connections_per_token: Option<Policy>,
}

impl Edge {
    /// Limits as configured, with their statistics and the operators' routes.
    pub(crate) fn start(config: &Config, platform: &Platform) -> Self {
        let limits = &config.limits;
        let settings = LimiterSettings {
            when_unknown: limits.when_unknown,
            max_keys: limits.max_keys,
            lease_ms: limits.lease_ms,
            wait_ms: limits.wait_ms,
        };
        let (clock, store) = (platform.clock.clone(), platform.outbox.store().clone());
        let limiter = Limiter::new(store, clock.clone(), &platform.entropy, settings);
        let binds = platform.mode == Mode::Production || limits.in_development;
        let [a, b, c, d] = limits.quotas().map(|(name, quota)| quota.policy(name).filter(|_| binds));
        let policies = [a, b, c, d].into_iter().flatten().collect();
        platform.add_admin_routes(limits_desk(limiter.clone(), policies, clock.clone()));
        let (stop, counting) = (platform.lifecycle.token(), limiter.clone());
        platform.lifecycle.spawn("gateway.limits", async move {
            stop.run_until_cancelled(counting.statistics().run()).await;
            if let Err(error) = counting.statistics().flush().await {
                tracing::warn!(%error, "the last statistics of rate limits are lost");
            }
        });
        Self {
            shedder: Shedder::new(limits.shedding, clock),
            limiter,
            requests_per_address: a,
            requests_per_user: b,
            connections_per_address: c,
            connections_per_token: d,
        }
    }

    /// Counts a call; `standings` learn where its caller stands.
    async fn count(&self, policy: Option<Policy>, key: &str, standings: &Standings) -> Result<(), ProblemResponse> {
        let Some(policy) = policy else { return Ok(()) };
        match self.limiter.take(&policy, key).await {
            Verdict::Allowed(standing) => {
                standings.add(standing);
                Ok(())
            }
            Verdict::Refused(standing) => {
                standings.add(standing);
                Err(standing.problem())
            }
            Verdict::Unknown { passes: true } => Ok(()),
            Verdict::Unknown { passes: false } => {
                let detail = "whether this is too much can't be told now";
                Err(ProblemResponse::new(Code::Unavailable).detail(detail).retry_after_s(1))
            }
        }
    }

    /// Counts a request of a known caller.
    pub(crate) async fn count_request(
        &self,
        principal: &Principal,
        extensions: &Extensions,
    ) -> Result<(), ProblemResponse> {
        let standings = extensions.get::<Standings>().cloned().unwrap_or_default();
        self.count(self.requests_per_user, &user_key(principal), &standings).await
    }

    /// Counts a new connection by where it comes from.
    pub(crate) async fn count_connection(&self, extensions: &Extensions) -> Result<(), ProblemResponse> {
        let Some(address) = extensions.get::<ClientAddress>() else { return Ok(()) };
        let standings = extensions.get::<Standings>().cloned().unwrap_or_default();
        self.count(self.connections_per_address, &address.key(), &standings).await
    }

    /// Counts a new connection by its token; tokens without an id are counted together per user.
    pub(crate) async fn count_entry(&self, principal: &Principal) -> Result<(), ProblemResponse> {
        let key = match &principal.token_id {
            // An id is whatever the issuer likes, of up to 255 bytes.
            Some(id) => format!("{}/{id}", user_key(principal)),
            None => user_key(principal),
        };
        self.count(self.connections_per_token, &key, &Standings::default()).await
    }
}

fn user_key(principal: &Principal) -> String {
    format!("{}/{}", principal.tenant, principal.user)
}

/// Around every route: sheds what is too much at once, counts by address, and tells callers where they stand.
pub(crate) async fn around(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let edge = &gateway.edge;
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let Some(_admission) = edge.shedder.admit(importance(request.method(), route)) else {
        let detail = "more is asked of this process than it can answer in time";
        return ProblemResponse::new(Code::Unavailable).detail(detail).retry_after_s(1).into_response();
    };
    let standings = Standings::default();
    let counted = match request.extensions().get::<ClientAddress>().map(ClientAddress::key) {
        Some(address) => edge.count(edge.requests_per_address, &address, &standings).await,
        None => Ok(()),
    };
    let mut response = match counted {
        Ok(()) => {
            request.extensions_mut().insert(standings.clone());
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    standings.write(response.headers_mut());
    response
}

/// What keeps clients connected (proofs, tickets, frames of event streams, keys) and what takes access away is never
/// shed; what only looks goes first.
fn importance(method: &Method, route: &str) -> Importance {
    const CRITICAL: [&str; 5] = [
        "/.well-known/jwks.json",
        "/v1/tickets",
        "/v1/frames",
        "/v1/subscriptions/{id}/verify",
        "/v1/subscriptions/{id}/cancel",
    ];
    if CRITICAL.contains(&route) || method == Method::DELETE {
        return Importance::Critical;
    }
    let connects = matches!(route, "/v1/ws" | "/v1/stream");
    if method == Method::GET && !connects { Importance::Deferrable } else { Importance::Ordinary }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_clients_connected_comes_first() {
        let of = |method: Method, route| importance(&method, route);
        assert_eq!(of(Method::POST, "/v1/subscriptions/{id}/verify"), Importance::Critical);
        assert_eq!(of(Method::DELETE, "/v1/keys/{id}"), Importance::Critical);
        assert_eq!(of(Method::GET, "/v1/ws"), Importance::Ordinary);
        assert_eq!(of(Method::POST, "/v1/subscriptions"), Importance::Ordinary);
        assert_eq!(of(Method::GET, "/v1/peers"), Importance::Deferrable);
    }
}
