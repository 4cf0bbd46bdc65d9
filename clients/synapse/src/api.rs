//! The gateway's HTTP API and the few calls to Stripe's that the demo makes as "the customer at Stripe".

use agent::{Proved, Prover};
use contracts::http::{
    ApiKeyIssued, ApiKeyPage, ApiKeyView, CreateApiKey, CreateSubscription, Problem, RotateApiKey, VerifySubscription,
};
use contracts::requests::subscription::{ProofIssued, SubscriptionView};
use contracts::{PeerId, SubscriptionId};
use reqwest::{Client, RequestBuilder, Response};
use serde::de::DeserializeOwned;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The gateway said no.
    #[error("{} ({}): {}{}", .0.title, .0.code, .0.detail.as_deref().unwrap_or("no details"), violations(.0))]
    Problem(Box<Problem>),
    /// No answer, or not one of this API.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// An answer that is neither a result nor a problem.
    #[error("HTTP status {status} without a problem: {body}")]
    Unexpected {
        /// The status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
}

fn violations(problem: &Problem) -> String {
    problem.violations.iter().map(|broken| format!("; {}: {}", broken.field, broken.message)).collect()
}

/// A caller of the gateway.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    gateway: String,
    token: String,
}

impl Api {
    /// A caller with an access token. `gateway` is `http://host:port`.
    pub fn new(gateway: &str, token: &str) -> Self {
        Self { client: Client::new(), gateway: gateway.trim_end_matches('/').to_owned(), token: token.to_owned() }
    }

    /// The WebSocket's address.
    pub fn socket_url(&self) -> String {
        let socket = self.gateway.replacen("http", "ws", 1);
        format!("{socket}/v1/ws")
    }

    /// `POST /v1/subscriptions`.
    ///
    /// # Errors
    /// The gateway's problem, or no answer.
    pub async fn create_subscription(
        &self,
        idempotency_key: &str,
        body: &CreateSubscription,
    ) -> Result<SubscriptionView, ApiError> {
        let url = format!("{}/v1/subscriptions", self.gateway);
        self.call(self.client.post(url).header("Idempotency-Key", idempotency_key).json(body)).await
    }

    /// `GET /v1/subscriptions/{id}`.
    ///
    /// # Errors
    /// The gateway's problem, or no answer.
    pub async fn subscription(&self, id: &SubscriptionId) -> Result<SubscriptionView, ApiError> {
        self.call(self.client.get(format!("{}/v1/subscriptions/{id}", self.gateway))).await
    }

    /// `POST /v1/subscriptions/{id}/verify`.
    ///
    /// # Errors
    /// The gateway's problem, or no answer.
    pub async fn verify(&self, id: &SubscriptionId, body: &VerifySubscription) -> Result<ProofIssued, ApiError> {
        self.call(self.client.post(format!("{}/v1/subscriptions/{id}/verify", self.gateway)).json(body)).await
    }

    /// What an agent asks for a new proof each time one is due.
    pub fn prover(&self, subscription: SubscriptionId, peer_id: PeerId) -> Prover {
        let api = self.clone();
        let ask = VerifySubscription { peer_id, peer_key: None };
        Prover::new(move || {
            let (api, subscription, ask) = (api.clone(), subscription.clone(), ask.clone());
            Box::pin(async move {
                let issued = api.verify(&subscription, &ask).await.map_err(|error| error.to_string())?;
                Ok(Proved { proof: issued.proof, refresh_at_ms: issued.refresh_at_ms })
            })
        })
    }

    /// `POST /v1/api-keys`.
    ///
    /// # Errors
    /// The gateway's problem, or no answer.
    pub async fn create_key(&self, body: &CreateApiKey) -> Result<ApiKeyIssued, ApiError> {
        self.call(self.client.post(self.keys_url("")).json(body)).await
    }

    /// `GET /v1/api-keys`.
    ///
    /// # Errors
    /// The gateway's problem, or no answer.
    pub async fn keys(&self, limit: u32, after: Option<&str>) -> Result<ApiKeyPage, ApiError> {
        // A page token is base64url: it needs no escaping.
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        self.call(self.client.get(self.keys_url(&format!("?limit={limit}{after}")))).await
    }

    /// `GET /v1/api-keys/{id}`.
    ///
    /// # Errors
    /// The gateway's problem, or no answer.
    pub async fn key(&self, key_id: &str) -> Result<ApiKeyView, ApiError> {
        self.call(self.client.get(self.keys_url(&format!("/{key_id}")))).await
    }

    /// `POST /v1/api-keys/{id}/rotate`.
    ///
    /// # Errors
    /// The gateway's problem, or no answer.
    pub async fn rotate_key(&self, key_id: &str, body: &RotateApiKey) -> Result<ApiKeyIssued, ApiError> {
        self.call(self.client.post(self.keys_url(&format!("/{key_id}/rotate"))).json(body)).await
    }

    /// `DELETE /v1/api-keys/{id}`.
    ///
    /// # Errors
    /// The gateway's problem, or no answer.
    pub async fn revoke_key(&self, key_id: &str) -> Result<(), ApiError> {
        let request = self.client.delete(self.keys_url(&format!("/{key_id}"))).bearer_auth(&self.token);
        let response = request.send().await?;
        if response.status().is_success() {
            return Ok(());
        }
        read::<()>(response).await
    }

    fn keys_url(&self, rest: &str) -> String {
        format!("{}/v1/api-keys{rest}", self.gateway)
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        read(request.bearer_auth(&self.token).send().await?).await
    }
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, ApiError> {
    let status = response.status();
    let body = response.bytes().await?;
    if status.is_success()
        && let Ok(result) = serde_json::from_slice(&body)
    {
        return Ok(result);
    }
    match serde_json::from_slice(&body) {
        Ok(problem) => Err(ApiError::Problem(Box::new(problem))),
        Err(_) => {
            let body = String::from_utf8_lossy(&body).chars().take(200).collect();
            Err(ApiError::Unexpected { status: status.as_u16(), body })
        }
    }
}
