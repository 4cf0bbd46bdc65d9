//! The browser SDK's example page at `/example/`, and the piece of a backend that it needs: it hands a peer a ticket and a
//! proof, bought and asked for by the public API as a backend of somebody else would do it. Development on loopback only:
//! whoever reaches it gets in.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use auth::Role;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clock::{Clock, Entropy};
use contracts::PeerId;
use contracts::http::TicketIssued;
use contracts::requests::subscription::{ProofIssued, SubscriptionPage, SubscriptionView};
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::http::{Code, ProblemResponse};
use tokio::sync::Mutex;

use crate::development::{PRICE, Secrets};

/// Everybody on the page is this user, each with a peer of their own.
const USER: &str = "example";
/// How long the emulator may take to say that the subscription is paid.
const ACTIVE_WITHIN: Duration = Duration::from_secs(10);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// The page loads nothing from elsewhere, and talks to gateways on this machine alone.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; connect-src 'self' ws://127.0.0.1:* ws://localhost:*; base-uri 'none'; frame-ancestors 'none'",
);

/// A file of the page: where it is served, what it is, what it holds.
type File = (&'static str, &'static str, &'static str);

macro_rules! script {
    ($served:literal, $file:literal) => {
        ($served, "text/javascript", include_str!(concat!("../../../clients/typescript/", $file)))
    };
}

/// The modules lie to each other as they do in `clients/typescript`.
const FILES: &[File] = &[
    ("", "text/html; charset=utf-8", include_str!("../../../clients/typescript/example/index.html")),
    ("style.css", "text/css", include_str!("../../../clients/typescript/example/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("../../../clients/typescript/example/icon.svg")),
    script!("app/main.js", "example/dist/main.js"),
    script!("app/view.js", "example/dist/view.js"),
    script!("dist/backoff.js", "dist/backoff.js"),
    script!("dist/channel.js", "dist/channel.js"),
    script!("dist/contracts.js", "dist/contracts.js"),
    script!("dist/emitter.js", "dist/emitter.js"),
    script!("dist/errors.js", "dist/errors.js"),
    script!("dist/gateway.js", "dist/gateway.js"),
    script!("dist/index.js", "dist/index.js"),
    script!("dist/link.js", "dist/link.js"),
    script!("dist/negotiation.js", "dist/negotiation.js"),
    script!("dist/papers.js", "dist/papers.js"),
    script!("dist/peers.js", "dist/peers.js"),
];

/// The page and its backend.
#[derive(Clone)]
pub struct Example(Arc<Backend>);

struct Backend {
    secrets: Secrets,
    clock: Clock,
    entropy: Entropy,
    http: reqwest::Client,
    /// Where the public API is, once it is served.
    api: OnceLock<SocketAddr>,
    /// The subscription that all peers of the page are entitled by, once there is one.
    subscription: Mutex<Option<String>>,
}

/// Who wants in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Visitor {
    peer_id: PeerId,
}

/// What lets a peer in.
#[derive(Serialize)]
struct Papers {
    ticket: String,
    proof: String,
}

impl Example {
    /// For a system with these secrets.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn try_new(secrets: Secrets, clock: Clock, entropy: Entropy) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build().context("no HTTP client can be made")?;
        let (api, subscription) = (OnceLock::new(), Mutex::new(None));
        Ok(Self(Arc::new(Backend { secrets, clock, entropy, http, api, subscription })))
    }

    /// Its routes.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/example", get(|| async { Redirect::permanent("/example/") }))
            .route("/example/", get(|| async { file("") }))
            .route("/example/{*file}", get(|Path(path): Path<String>| async move { file(&path) }))
            .route("/example/papers", post(papers))
            .with_state(Arc::clone(&self.0))
    }

    /// The public API is at this address now.
    pub fn served_at(&self, api: SocketAddr) {
        // Called once; a second address would be the same system's.
        let _ = self.0.api.set(api);
    }
}

/// The addresses that the page may be opened at when the system listens at `listen`; none when others could reach it, or
/// when the port is not known before the start.
pub fn origins(listen: SocketAddr) -> Vec<String> {
    if !listen.ip().is_loopback() || listen.port() == 0 {
        return Vec::new();
    }
    vec![format!("http://{listen}"), format!("http://localhost:{}", listen.port())]
}

fn file(path: &str) -> Result<Response, ProblemResponse> {
    let found = FILES.iter().find(|(served, ..)| *served == path);
    let (_, kind, text) = found.ok_or_else(|| ProblemResponse::new(Code::NotFound))?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // A rebuilt program has other files.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((headers, *text).into_response())
}

async fn papers(
    State(backend): State<Arc<Backend>>,
    headers: HeaderMap,
    body: Result<Json<Visitor>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<Papers>, ProblemResponse> {
    check_host(&headers)?;
    let Json(visitor) =
        body.map_err(|rejection| ProblemResponse::new(Code::Validation).violation("peer_id", rejection.body_text()))?;
    let failed = |error: anyhow::Error| ProblemResponse::new(Code::Unavailable).detail(format!("{error:#}"));
    backend.papers(&visitor.peer_id).await.map(Json).map_err(failed)
}

/// A name that resolves to loopback may be anybody's (DNS rebinding): only loopback's own names are let in.
fn check_host(headers: &HeaderMap) -> Result<(), ProblemResponse> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        return Ok(());
    }
    Err(ProblemResponse::new(Code::Forbidden).detail("open the example at 127.0.0.1 or localhost"))
}

impl Backend {
    async fn papers(&self, peer_id: &PeerId) -> anyhow::Result<Papers> {
        let token = self.secrets.token_for(USER.parse()?, Role::User, &self.clock, &self.entropy)?;
        let mut known = self.subscription.lock().await;
        let id = match &*known {
            Some(id) => id.clone(),
            None => self.subscription(&token).await.context("the example's subscription")?,
        };
        let proof = self.proof(&token, &id, peer_id).await.context("a proof of the example's subscription");
        // One that is no good any more is looked for, or bought, anew the next time.
        *known = proof.is_ok().then_some(id);
        let ticket: TicketIssued = self.ask(self.post("/v1/tickets", &token)?).await?;
        Ok(Papers { ticket: ticket.ticket, proof: proof?.proof })
    }

    /// One that is active, or a new one.
    async fn subscription(&self, token: &str) -> anyhow::Result<String> {
        let listed = self.http.get(self.url("/v1/subscriptions?status=active&limit=1")?).bearer_auth(token);
        let page: SubscriptionPage = self.ask(listed).await?;
        if let Some(view) = page.subscriptions.first() {
            return Ok(view.subscription_id.to_string());
        }
        let key = format!("example-{}", self.entropy.uuid_v7(self.clock.now_ms()));
        let order = json!({"price_id": PRICE, "payment_method_id": "pm_card_visa"});
        let bought = self.post("/v1/subscriptions", token)?.header("idempotency-key", key).json(&order);
        let view: SubscriptionView = self.ask(bought).await?;
        Ok(view.subscription_id.to_string())
    }

    /// Right after a purchase there is none yet: Stripe says by webhook that it was paid.
    async fn proof(&self, token: &str, subscription: &str, peer_id: &PeerId) -> anyhow::Result<ProofIssued> {
        let path = format!("/v1/subscriptions/{subscription}/verify");
        let begun = self.clock.monotonic();
        loop {
            let asked = self.ask(self.post(&path, token)?.json(&json!({"peer_id": peer_id}))).await;
            if asked.is_ok() || self.clock.monotonic().saturating_sub(begun) > ACTIVE_WITHIN {
                return asked;
            }
            self.clock.sleep(ASK_AGAIN_AFTER).await;
        }
    }

    fn url(&self, path: &str) -> anyhow::Result<String> {
        let api = self.api.get().context("the API is not served yet; try again")?;
        Ok(format!("http://{api}{path}"))
    }

    fn post(&self, path: &str, token: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.http.post(self.url(path)?).bearer_auth(token))
    }

    async fn ask<Answer: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.send().await?;
        if response.status().is_success() {
            return Ok(response.json().await?);
        }
        let problem: Value = response.json().await?;
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        anyhow::bail!("{}: {} ({})", text("title"), text("detail"), text("code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_for_loopback_at_a_known_port() {
        assert_eq!(origins("127.0.0.1:8080".parse().unwrap()), ["http://127.0.0.1:8080", "http://localhost:8080"]);
        for elsewhere in ["0.0.0.0:8080", "192.0.2.1:8080", "127.0.0.1:0"] {
            assert!(origins(elsewhere.parse().unwrap()).is_empty(), "{elsewhere}");
        }
    }

    #[test]
    fn only_loopbacks_own_names_get_papers() {
        let of = |host: &'static str| check_host(&HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]));
        for good in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "localhost"] {
            assert!(of(good).is_ok(), "{good}");
        }
        for bad in ["rebound.example:8080", "127.0.0.1.example:8080", "localhost.example", ""] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert!(check_host(&HeaderMap::new()).is_err());
    }

    #[test]
    fn every_module_that_is_imported_is_served() {
        let modules = FILES.iter().filter(|(_, kind, _)| *kind == "text/javascript");
        for (served, _, text) in modules {
            let folder = served.split_once('/').unwrap().0;
            for import in text.split("from \"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let path = match import.strip_prefix("../") {
                    Some(up) => up.to_owned(),
                    None => format!("{folder}/{}", import.trim_start_matches("./")),
                };
                assert!(file(&path).is_ok(), "{served} imports {import}");
            }
        }
    }
}
