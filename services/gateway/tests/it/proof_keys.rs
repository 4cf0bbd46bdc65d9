//! The keys of proofs: told to the world, withdrawn, and how many peers a proof admits.

use contracts::Answer;
use contracts::events::subscription::{ProofKeyWithdrawnV1, SubscriptionEvent};
use contracts::requests::presence::{ConnectRefusal, ConnectV1};
use serde_json::{Value, json};

use crate::harness::{START_MS, run, run_alone};

const PATH: &str = "GET /.well-known/jwks.json";

#[tokio::test]
async fn the_keys_are_public_cacheable_and_enough_to_check_a_proof() {
    run(async |world| {
        let answer = world.http_as(PATH, "", "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        let keys: Value = serde_json::from_str(&answer.body).unwrap();
        let key = &keys["keys"][0];
        assert_eq!(
            (key["kty"].as_str(), key["crv"].as_str(), key["kid"].as_str()),
            (Some("OKP"), Some("Ed25519"), Some("k-1"))
        );
        assert_eq!((key["use"].as_str(), key["alg"].as_str()), (Some("sig"), Some("EdDSA")));
        assert!(key.get("d").is_none(), "the private half stays home");
        // Another library, with nothing but the document.
        let jwk = serde_json::from_value::<jsonwebtoken::jwk::Jwk>(key.clone()).unwrap();
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
        (rules.validate_exp, rules.validate_aud) = (false, false);
        let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let proof = jsonwebtoken::decode::<Value>(&world.proof("alice", 2), &key, &rules).unwrap();
        assert_eq!(proof.claims["sub"], "alice");
    })
    .await;
}

#[tokio::test]
async fn who_has_the_keys_already_is_told_so() {
    run(async |world| {
        let etag = world.http_as(PATH, "", "").await.header("etag").unwrap().to_owned();
        for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".into()] {
            let answer = world.http_as(PATH, &format!("If-None-Match: {known}\r\n"), "").await;
            assert_eq!((answer.status, answer.body.as_str()), (304, ""), "{known}");
            assert_eq!(answer.header("etag"), Some(etag.as_str()));
        }
        let answer = world.http_as(PATH, "If-None-Match: \"other\"\r\n", "").await;
        assert_eq!(answer.status, 200);
    })
    .await;
}

#[tokio::test]
async fn without_any_key_the_answer_says_when_to_come_back() {
    run_alone(async |world| {
        let withdrawn = ProofKeyWithdrawnV1 { kid: "k-1".into(), until_ms: START_MS + 60_000, reason: "test".into() };
        world.publish(&SubscriptionEvent::from(withdrawn)).await;
        let answer = world.http_as(PATH, "", "").await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    })
    .await;
}

#[tokio::test]
async fn a_withdrawn_key_closes_what_it_opened_and_opens_nothing_more() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        let withdrawn =
            ProofKeyWithdrawnV1 { kid: "k-1".into(), until_ms: START_MS + 86_400_000, reason: "leaked".into() };
        world.publish(&SubscriptionEvent::from(withdrawn)).await;
        assert_eq!(alice.closed().await.code, Some(4403));
        let mut again = world.connect().await;
        assert_eq!(again.refused(&world.auth_frame("alice")).await.code, "proof_refused");
        assert_eq!(again.closed().await.code, Some(4403));
    })
    .await;
}

#[tokio::test]
async fn a_peer_too_many_is_told_that_the_plan_is_full() {
    run(async |world| {
        world.doubles.script::<ConnectV1>(&Answer::Refused(ConnectRefusal::TooManyPeers { limit: 50 }));
        let mut client = world.connect().await;
        let problem = client.refused(&world.auth_frame("alice")).await;
        assert_eq!((problem.code.as_str(), problem.status), ("quota_exceeded", 429));
        assert!(problem.detail.unwrap().contains("50"));
        assert_eq!(client.closed().await.code, Some(4411));
        assert_eq!(world.doubles.seen::<ConnectV1>()[0].body["max_peers"], json!(50));
    })
    .await;
}
