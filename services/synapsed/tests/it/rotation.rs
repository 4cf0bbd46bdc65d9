//! Secrets in files are replaced while everything runs.

use std::path::Path;

use auth::{Grant, Role, TokenMinter};
use clock::{Clock, Entropy};
use serde_json::json;
use synapsed::development::STRIPE_KEY;
use synapsed::fleet::Overrides;
use testkit::eventually;

use crate::child::PATIENCE;
use crate::running::{Running, set};

const OLD: &str = "an old secret that has more than 32 bytes";
const NEW: &str = "a new secret that has more than 32 bytes";

fn in_file(overrides: &mut Overrides, key: &str, file: &Path, secret: &str) {
    std::fs::write(file, secret).unwrap();
    overrides.retain(|(name, _)| *name != format!("SYNAPSE_{key}"));
    set(overrides, &format!("{key}_FILE"), file.to_str().unwrap());
    set(overrides, "PLATFORM__SECRET_REFRESH_MS", "100");
}

fn token(secret: &str) -> String {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let minter = TokenMinter::hs256("synapse", "synapse-gateway", "hs-1", secret.to_owned().into()).unwrap();
    let now_ms = clock.now_ms();
    let token_id = entropy.uuid_v7(now_ms).to_string();
    let (tenant, user) = ("acme".parse().unwrap(), "ada".parse().unwrap());
    minter.mint(&Grant { tenant, user, role: Role::Admin, ttl_ms: 600_000, token_id }, now_ms)
}

async fn peers(running: &Running, secret: &str) -> u16 {
    let request = running.http.get(running.url("/v1/peers")).bearer_auth(token(secret));
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_takes_the_new_token_secret_and_no_longer_the_old_one() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("token");
    let running = Running::start(|overrides, _| in_file(overrides, "GATEWAY__TOKEN_SECRET", &file, OLD)).await;
    assert_eq!((peers(&running, OLD).await, peers(&running, NEW).await), (200, 401));
    std::fs::write(&file, NEW).unwrap();
    eventually(PATIENCE, "the new secret", async || match peers(&running, NEW).await {
        200 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    assert_eq!(peers(&running, OLD).await, 401);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_service_takes_bodies_that_are_signed_with_the_new_secret() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("secrets");
    let running = Running::start(|overrides, _| in_file(overrides, "WEBHOOK__SECRETS", &file, "whsec_old")).await;
    let post = async |secret: &str| {
        let event = json!({"id": "evt_rotation", "object": "event", "type": "x.y", "livemode": false, "created": 1});
        running.webhook(secret, &event, "").await.status().as_u16()
    };
    assert_eq!((post("whsec_old").await, post("whsec_new").await), (200, 400));
    // As it is rolled: both, then the new one alone.
    std::fs::write(&file, "whsec_new\nwhsec_old\n").unwrap();
    eventually(PATIENCE, "the new secret", async || (post("whsec_new").await == 200).then_some(())).await;
    assert_eq!(post("whsec_old").await, 200);
    std::fs::write(&file, "whsec_new\n").unwrap();
    eventually(PATIENCE, "the end of the old one", async || (post("whsec_old").await == 400).then_some(())).await;
    assert_eq!(post("whsec_new").await, 200);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stripe_is_called_with_the_new_key() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("stripe");
    let key = "SUBSCRIPTION__STRIPE__SECRET_KEY";
    let running = Running::start(|overrides, _| in_file(overrides, key, &file, "sk_test_revoked")).await;
    assert_ne!(running.create("k-1", "").await.status(), 201, "the emulator knows no such key");
    std::fs::write(&file, STRIPE_KEY).unwrap();
    eventually(PATIENCE, "the new key", async || match running.create("k-1", "").await.status().as_u16() {
        201 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    running.stop().await;
}
