//! The private halves of proof keys: sealed where they are stored, sealed anew, lost, withdrawn.

use auth::{Expected, ProofVerifier};
use contracts::Answer;
use contracts::events::subscription::SubscriptionEvent;
use contracts::requests::subscription::SubscriptionView;
use reqwest::Method;
use serde_json::Value;
use store::{Condition, Item, Key, Query};

use crate::harness::{World, prove, tenant, until, wish};

async fn stored(world: &World) -> Vec<Item> {
    let query = Query::prefix("proof-keys", "key#", 100);
    world.service.platform.outbox.store().query(&query).await.unwrap().items
}

fn body(item: &Item) -> Value {
    serde_json::from_str(&item.body).unwrap()
}

async fn proof(world: &World, view: &SubscriptionView) -> String {
    match world.service.ask("acme", &prove(view, "ada")).await {
        Answer::Ok(issued) => issued.proof,
        other => panic!("{other:?}"),
    }
}

/// Whether a verifier that knows what the service tells takes the proof.
async fn is_good(world: &World, proof: &str) -> bool {
    let verifier = ProofVerifier::new(service::proof_rules());
    let now_ms = world.service.platform.clock.now_ms();
    for key in crate::proofs::keys(world).await {
        verifier.add_key(&key, now_ms).unwrap();
    }
    let (tenant, peer) = (tenant(), "alice".parse().unwrap());
    verifier.verify(proof, Expected { tenant: &tenant, peer: &peer, peer_key: None }, now_ms).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_holds_no_private_key_and_the_service_still_finds_it_after_a_restart() {
    let mut world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let before = proof(&world, &view).await;
    let items = stored(&world).await;
    assert_eq!(items.len(), 1);
    let key = body(&items[0]);
    assert!(key["seed"].is_null() && key["sealed"]["text"].is_string(), "{key}");
    world.crash_and_restart().await;
    let after = proof(&world, &view).await;
    assert_eq!(stored(&world).await.len(), 1, "the same key goes on");
    assert!(is_good(&world, &before).await && is_good(&world, &after).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_an_earlier_version_wrote_in_the_open_is_sealed_at_the_first_look() {
    let mut world = World::start(&[]).await;
    let now_ms = world.service.platform.clock.now_ms();
    let key = auth::SigningKey::from_seed("proof-old", &[9; 32]).unwrap();
    let seed = secrecy::ExposeSecret::expose_secret(&key.to_secret()).to_owned();
    let open = serde_json::json!({"kid": "proof-old", "seed": seed, "use_from_ms": now_ms,
        "not_after_ms": now_ms + 86_400_000});
    let item = Item::new(Key::new("proof-keys", "key#proof-old"), 1, open.to_string());
    world.service.platform.outbox.store().put(item, Condition::Absent).await.unwrap();
    world.crash_and_restart().await;
    let items = stored(&world).await;
    assert!(items.iter().all(|item| !item.body.contains(&seed)), "sealed, or gone");
    assert!(items.iter().all(|item| body(item)["sealed"].is_object()));
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let proof = proof(&world, &view).await;
    assert!(is_good(&world, &proof).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_seals_every_key_anew_and_the_old_one_may_go() {
    let mut world = World::start(&[]).await;
    let sealed_by = async |world: &World| body(&stored(world).await[0])["sealed"]["by"].as_str().unwrap().to_owned();
    let old = sealed_by(&world).await;
    let both = "a-newer-secret-of-the-tests-0123456789 sealing-secret-of-the-tests-0123456789";
    world.set("proofs.sealing_secret", both);
    world.crash_and_restart().await;
    assert_ne!(sealed_by(&world).await, old);
    world.set("proofs.sealing_secret", "a-newer-secret-of-the-tests-0123456789");
    world.crash_and_restart().await;
    assert_eq!(stored(&world).await.len(), 1, "no other key was needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_secret_is_lost_another_key_signs_and_the_old_proofs_stay_good() {
    let mut world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let before = proof(&world, &view).await;
    world.set("proofs.sealing_secret", "somebody-forgot-the-older-one-0123456789");
    world.crash_and_restart().await;
    assert_eq!(stored(&world).await.len(), 2);
    let after = proof(&world, &view).await;
    assert!(is_good(&world, &before).await && is_good(&world, &after).await);
    let (_, told) = world.admin(Method::GET, "/billing/proof-keys").await;
    let mut signs: Vec<bool> =
        told["keys"].as_array().unwrap().iter().map(|key| key["can_sign"].as_bool().unwrap()).collect();
    signs.sort_unstable();
    assert_eq!(signs, [false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_key_is_told_to_everybody_and_another_signs_at_once() {
    let world = World::start(&[]).await;
    let view = world.service.create(&wish("ada", "key-1")).await.unwrap();
    let before = proof(&world, &view).await;
    let (_, told) = world.admin(Method::GET, "/billing/proof-keys").await;
    let kid = told["keys"][0]["kid"].as_str().unwrap().to_owned();
    assert_eq!(told["keys"][0]["state"], "signing");
    let path = format!("/billing/proof-keys/{kid}/withdraw");
    let (status, why) = world.admin(Method::POST, &path).await;
    assert_eq!((status, why["error"].as_str().unwrap().starts_with("reason: is missing")), (400, true));
    let (status, _) = world.admin(Method::POST, "/billing/proof-keys/other/withdraw?reason=x").await;
    assert_eq!(status, 404);
    let (status, _) = world.admin(Method::POST, &format!("{path}?reason=leaked")).await;
    assert_eq!(status, 200);
    assert!(!is_good(&world, &before).await, "its key is told no more");
    let after = proof(&world, &view).await;
    assert!(is_good(&world, &after).await);
    let withdrawn = world.service.facts().await.into_iter().find_map(|(_, fact)| match fact {
        SubscriptionEvent::ProofKeyWithdrawn(fact) => Some((fact.kid, fact.reason)),
        _ => None,
    });
    assert_eq!(withdrawn, Some((kid.clone(), "leaked".to_owned())));
    // A verifier that listens all the time, and one that starts now.
    let book = service::ProofBook::start(&world.service.webhook, service::proof_rules()).await.unwrap();
    let (tenant, peer) = (tenant(), "alice".parse().unwrap());
    until("the book knows the new key", async || book.verify(&tenant, &peer, &after).await.is_ok()).await;
    assert!(book.verify(&tenant, &peer, &before).await.is_err());
    assert!(!book.knows_key(&kid));
}
