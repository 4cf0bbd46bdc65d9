use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::events::subscription::ProofKey;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use service::http::{Code, ProblemResponse};

use crate::Gateway;

/// `GET /.well-known/jwks.json`: the keys that verify subscription proofs, as a JWK set (RFC 7517, RFC 8037), for
/// verifiers outside the bus. Keys not used yet are in it, so that nobody meets a proof before its key.
pub(super) async fn jwks(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Result<Response, ProblemResponse> {
    let keys = gateway.proofs.keys().await;
    if keys.is_empty() {
        let detail = "no key for proofs is known here yet";
        return Err(ProblemResponse::new(Code::Unavailable).detail(detail).retry_after_s(1));
    }
    let etag = etag(&keys);
    let caching = format!("public, max-age={}", gateway.config.jwks_max_age_s);
    let is_known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|line| {
        // Weak comparison (RFC 9110 §13.1.2).
        line.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
    });
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag), (CACHE_CONTROL, caching)]).into_response());
    }
    let body = json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }).to_string();
    let media_type = "application/jwk-set+json".to_owned();
    Ok(([(CONTENT_TYPE, media_type), (ETAG, etag), (CACHE_CONTROL, caching)], body).into_response())
}

fn jwk(key: &ProofKey) -> Value {
    json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
        "kid": key.kid,
        "x": key.public_key,
    })
}

/// The same for the same keys in every process of one version.
fn etag(keys: &[ProofKey]) -> String {
    let mut hash = DefaultHasher::new();
    for key in keys {
        (&key.kid, &key.public_key).hash(&mut hash);
    }
    format!("\"{:016x}\"", hash.finish())
}
