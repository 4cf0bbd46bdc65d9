//! Lives of subscriptions at Stripe, recorded from its events and heard in any order, doubled, late and within one second:
//! what we say in the end is what Stripe says.

use clock::Entropy;
use contracts::Answer;
use contracts::events::subscription::SubscriptionEvent;
use contracts::requests::subscription::SubscriptionView;
use futures::future::join_all;
use serde_json::Value;

use crate::harness::{World, prove, until, wish};

/// What happens at Stripe after the purchase.
const LIVES: [&[&str]; 8] = [
    &["canceled"],
    &["past_due", "active"],
    &["past_due", "unpaid", "canceled"],
    &["past_due", "active", "past_due", "canceled"],
    &["trialing", "paused", "active"],
    &["unpaid", "active", "past_due", "active", "canceled"],
    &["trialing", "past_due", "active", "past_due", "unpaid", "active"],
    &["paused", "active", "past_due", "active", "past_due", "active", "past_due", "unpaid", "canceled"],
];

/// The statuses that Stripe's events of this subscription told, oldest first.
async fn recorded(world: &World, view: &SubscriptionView) -> Vec<String> {
    let mut events: Vec<Value> = Vec::new();
    loop {
        let after = events.last().map(|last| format!("&starting_after={}", last["id"].as_str().unwrap()));
        let path = format!("/v1/events?limit=100&type=customer.subscription.*{}", after.unwrap_or_default());
        let page = world.stripe_get(&path).await;
        events.extend(page["data"].as_array().unwrap().clone());
        if page["has_more"] != true {
            break;
        }
    }
    events.retain(|event| event["data"]["object"]["id"] == view.stripe_subscription_id.as_str());
    events.reverse();
    events.iter().map(|event| event["data"]["object"]["status"].as_str().unwrap().to_owned()).collect()
}

fn shuffle<T>(entropy: &Entropy, list: &mut [T]) {
    for at in (1..list.len()).rev() {
        list.swap(at, usize::try_from(entropy.up_to(at as u64)).unwrap());
    }
}

/// Lives `life` at Stripe; hints of what happened until then come at random, some twice, the rest when all is over.
async fn live(world: &World, life: &[&str], seed: u64) {
    let entropy = Entropy::seeded(seed);
    let view = world.service.create(&wish(&format!("user-{seed}"), "key")).await.unwrap();
    let mut number = 0;
    let mut tell = async |status: &str| {
        number += 1;
        world.service.hint(&view, status, number).await;
    };
    let mut waiting: Vec<String> = Vec::new();
    for status in life {
        world.set_status(&view, status).await;
        waiting.push((*status).to_owned());
        shuffle(&entropy, &mut waiting);
        while !waiting.is_empty() && entropy.up_to(2) == 0 {
            let status = waiting.pop().unwrap();
            tell(&status).await;
        }
    }
    // Everything that Stripe announced, once more, among what was held back.
    let mut rest = recorded(world, &view).await;
    assert!(rest.len() >= life.len(), "{rest:?}");
    rest.extend(waiting);
    shuffle(&entropy, &mut rest);
    for status in &rest {
        tell(status).await;
    }
    let truth = world.stripe_get(&format!("/v1/subscriptions/{}", view.stripe_subscription_id)).await;
    let truth = truth["status"].as_str().unwrap();
    assert_eq!(truth, *life.last().unwrap());
    let told = async || serde_json::to_value(world.service.get(&view).await.status).unwrap() == truth;
    until(&format!("seed {seed}: {life:?} ends at {truth}"), told).await;
    world.service.settled().await;
    assert!(told().await, "seed {seed}: a late hint took {truth} back");
    let proof = world.service.ask("acme", &prove(&view, view.user_id.as_str())).await;
    let is_entitled = matches!(truth, "trialing" | "active" | "past_due");
    assert_eq!(matches!(proof, Answer::Ok(_)), is_entitled, "seed {seed}: {truth} gives {proof:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_of_what_stripe_announces_ends_where_stripe_is() {
    let world = World::start(&[("stripe.rate_per_endpoint", "100"), ("stripe.rate_wait_ms", "60000")]).await;
    join_all((0..16).map(|seed| live(&world, LIVES[seed as usize % LIVES.len()], seed))).await;
    // Of each subscription: numbered without gaps, and the last status told is the true one.
    let facts = world.service.facts().await;
    for (_, fact) in &facts {
        if let SubscriptionEvent::Created(created) = fact {
            let id = &created.subscription_id;
            let mut numbers: Vec<u64> = facts
                .iter()
                .filter(|(_, fact)| match fact {
                    SubscriptionEvent::Created(fact) => fact.subscription_id == *id,
                    SubscriptionEvent::StatusChangedV2(fact) => fact.subscription_id == *id,
                    SubscriptionEvent::TransitionRejected(fact) => fact.subscription_id == *id,
                    SubscriptionEvent::ProofRevoked(fact) => fact.subscription_id == *id,
                    _ => false,
                })
                .map(|(number, _)| *number)
                .collect();
            numbers.dedup();
            assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{id}: {numbers:?}");
        }
    }
}
