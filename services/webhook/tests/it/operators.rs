//! What operators see of stored events, and how they publish them again.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::harness::{NOW_S, Running, event, pretty, subscription_event};

async fn three(service: &Running) {
    for (number, id) in ["evt_1", "evt_2", "evt_3"].into_iter().enumerate() {
        let status = ["active", "past_due", "canceled"][number];
        service.post(pretty(&subscription_event(id, status))).await.ok();
        service.hand.advance(Duration::from_secs(10));
    }
}

async fn ids(service: &Running, query: &str) -> Vec<String> {
    let (status, page) = service.operate("GET", &format!("/webhooks?{query}")).await;
    assert_eq!(status, 200, "{page}");
    page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn events_are_listed_by_type_customer_subscription_state_and_time() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    three(&service).await;
    let charge = json!({"id": "ch_1", "object": "charge", "customer": "cus_2"});
    service.post(pretty(&event("evt_4", "charge.failed", &charge))).await.ok();
    service.post("no event").await.ok();
    service.post(pretty(&subscription_event("evt_1", "active"))).await.ok();
    let all = ids(&service, "").await;
    assert_eq!((all.len(), all[2].as_str()), (5, "evt_3"), "newest first: {all:?}");
    assert_eq!(ids(&service, "state=received&limit=500").await, all);
    assert_eq!(ids(&service, "type=charge.failed").await, ["evt_4"]);
    assert_eq!(ids(&service, "customer=cus_2").await, ["evt_4"]);
    assert_eq!(ids(&service, "subscription=sub_1").await, ["evt_3", "evt_2", "evt_1"]);
    assert_eq!(ids(&service, "subscription=sub_1&type=charge.failed").await, [""; 0]);
    assert_eq!(ids(&service, "state=duplicate").await, ["evt_1"]);
    assert_eq!(ids(&service, "state=unmapped").await, ["evt_4"]);
    assert_eq!(ids(&service, "state=quarantined").await.len(), 1);
    assert_eq!(ids(&service, "state=published&customer=cus_1").await.len(), 3);
    let (first, third) = (NOW_S * 1_000, (NOW_S + 20) * 1_000);
    assert_eq!(ids(&service, &format!("since_ms={}&until_ms={third}", first + 1)).await, ["evt_2"]);
    assert_eq!(ids(&service, &format!("until_ms={first}")).await, [""; 0]);
}

#[tokio::test]
async fn pages_follow_each_other_and_none_is_left_out() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    for number in 0..25 {
        // Many at the same millisecond.
        if number % 10 == 0 {
            service.hand.advance(Duration::from_millis(1));
        }
        let kind = if number % 3 == 0 { "a.b" } else { "c.d" };
        service.post(pretty(&event(&format!("evt_{number:02}"), kind, &Value::Null))).await.ok();
    }
    for (filter, total) in [("", 25), ("type=a.b", 9), ("state=unmapped&type=c.d", 16)] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let (status, page) = service.operate("GET", &format!("/webhooks?{filter}&limit=4{after}")).await;
            assert_eq!(status, 200, "{page}");
            let events = page["events"].as_array().unwrap();
            assert!(events.len() <= 4);
            seen.extend(events.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        let (count, mut sorted) = (seen.len(), seen.clone());
        sorted.sort();
        sorted.dedup();
        assert_eq!((count, sorted.len()), (total, total), "{filter}: {seen:?}");
    }
}

#[tokio::test]
async fn a_wrong_question_is_told_what_is_wrong() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    for (method, path, status, says) in [
        ("GET", "/webhooks?limit=0", 400, "limit: 0 is outside 1 to 500"),
        ("GET", "/webhooks?limit=501", 400, "limit: 501"),
        ("GET", "/webhooks?state=weird", 400, "weird"),
        ("GET", "/webhooks?colour=red", 400, "colour"),
        ("GET", "/webhooks?since_ms=2&until_ms=1", 400, "until_ms: "),
        ("GET", "/webhooks?after=%21", 400, "after: "),
        ("GET", "/webhooks?type=", 400, "type: "),
        ("GET", "/webhooks?dry_run=true", 400, "dry_run"),
        ("GET", "/webhooks/evt_none", 404, "evt_none"),
        ("POST", "/webhooks/evt_none/replay", 404, "evt_none"),
        ("POST", "/webhooks/replay", 400, "no filter"),
        ("POST", "/webhooks/replay?customer=cus_1&limit=100000", 400, "limit: "),
        ("POST", "/webhooks/evt_1/replay?customer=cus_1", 400, "leave the filter out"),
    ] {
        let (found, answer) = service.operate(method, path).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(found == status && error.contains(says), "{method} {path}: {found} {answer}");
    }
}

#[tokio::test]
async fn one_event_is_shown_with_its_facts_and_its_body_as_it_came() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let body = pretty(&subscription_event("evt_1", "past_due"));
    service.post(&body).await.ok();
    let (_, shown) = service.operate("GET", "/webhooks/evt_1").await;
    assert_eq!((&shown["body"], &shown["state"], &shown["repeats"]), (&json!(body), &json!("published"), &json!(0)));
    let fact = &shown["published"][0];
    assert_eq!((&fact["sequence"], &fact["payload"]["hinted_status"]), (&json!(1), &json!("past_due")));
    service.post([0xff_u8, 0x00]).await.ok();
    let name = service.listed("quarantined").await[0]["id"].as_str().unwrap().to_owned();
    let (status, shown) = service.operate("GET", &format!("/webhooks/{name}")).await;
    assert_eq!((status, &shown["body_base64"]), (200, &json!("/wA=")), "{shown}");
}

#[tokio::test]
async fn a_replay_sends_the_same_facts_once_more_and_a_forced_one_makes_new_ones() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    three(&service).await;
    service.drained().await;
    let first = facts.envelopes();
    let replay = async |query: &str| {
        let (status, answer) = service.operate("POST", &format!("/webhooks/replay?customer=cus_1{query}")).await;
        assert_eq!(status, 200, "{answer}");
        service.drained().await;
        answer
    };
    let answer = replay("&dry_run=true").await;
    let actions: Vec<_> = answer["events"].as_array().unwrap().iter().map(|one| one["action"].clone()).collect();
    assert_eq!(actions, ["resend"; 3]);
    assert_eq!(answer["events"][0]["facts"][0]["change"], "same");
    assert_eq!((facts.envelopes().len(), service.event("evt_1").await.unwrap()["replays"].clone()), (3, Value::Null));

    replay("").await;
    let again = facts.envelopes().split_off(3);
    let seen = |facts: &[bus::Envelope]| {
        facts.iter().map(|one| (one.id.to_string(), one.sequence, one.data.clone())).collect::<Vec<_>>()
    };
    assert_eq!(seen(&again), seen(&first), "whoever handled them drops them: same ids, same content, oldest first");

    replay("&force=true").await;
    let forced = facts.envelopes().split_off(6);
    assert_eq!(forced.iter().map(|one| one.sequence).collect::<Vec<_>>(), [4, 5, 6]);
    assert!(forced.iter().all(|one| first.iter().all(|old| old.id != one.id)));
    let causes: Vec<_> = forced.iter().map(|one| one.trail.causation_id.clone().unwrap()).collect();
    assert_eq!(causes, first.iter().map(|one| one.id.to_string()).collect::<Vec<_>>());
    assert_eq!(service.event("evt_1").await.unwrap()["replays"], 2);
    // Each forced replay has ids of its own.
    replay("&force=true").await;
    let all = facts.envelopes();
    let mut ids: Vec<_> = all.iter().map(|one| one.id.to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((all.len(), ids.len()), (12, 9));
}

#[tokio::test]
async fn a_replay_goes_on_where_its_page_ended() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    three(&service).await;
    service.drained().await;
    let range = format!("since_ms={}&until_ms={}", NOW_S * 1_000, (NOW_S + 15) * 1_000);
    let (_, page) = service.operate("POST", &format!("/webhooks/replay?{range}&limit=1")).await;
    assert_eq!(page["events"][0]["id"], "evt_1");
    let next = page["next"].as_str().unwrap();
    let (_, page) = service.operate("POST", &format!("/webhooks/replay?{range}&limit=1&after={next}")).await;
    assert_eq!(page["events"][0]["id"], "evt_2");
    service.drained().await;
    assert_eq!(facts.envelopes().len(), 5, "evt_3 lies outside");
}

#[tokio::test]
async fn what_was_quarantined_by_a_wrong_setting_is_published_once_it_was_put_right() {
    let folder = tempdir().unwrap();
    {
        let wrong = |config: &mut webhook::Config| config.stripe_mode = webhook::StripeMode::Live;
        let setup = crate::harness::Setup { config: Some(wrong), ..crate::harness::Setup::default() };
        let service = Running::with(folder.path(), setup).await;
        service.post(pretty(&subscription_event("evt_1", "active"))).await.ok();
        let (_, answer) = service.operate("POST", "/webhooks/evt_1/replay?force=true").await;
        assert_eq!(answer["events"][0]["action"], "nothing", "{answer}");
        assert!(answer["events"][0]["why"].as_str().unwrap().starts_with("livemode: "), "{answer}");
        service.host.drain().await;
    }
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    let (_, answer) = service.operate("POST", "/webhooks/replay?state=quarantined&dry_run=true").await;
    assert_eq!(answer["events"][0]["facts"][0]["change"], "new", "{answer}");
    assert_eq!(service.listed("quarantined").await.len(), 1);
    let (_, answer) = service.operate("POST", "/webhooks/replay?state=quarantined").await;
    assert_eq!(answer["events"][0]["action"], "publish", "{answer}");
    service.drained().await;
    assert_eq!(facts.payloads()[0].stripe_event_id, "evt_1");
    assert_eq!((service.listed("quarantined").await.len(), service.listed("published").await.len()), (0, 1));
    // It comes once more from Stripe: known.
    service.post(pretty(&subscription_event("evt_1", "active"))).await.ok();
    service.drained().await;
    assert_eq!(facts.envelopes().len(), 1);
}

#[tokio::test]
async fn a_conflict_is_never_replayed() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let facts = service.reader().await;
    service.post(pretty(&subscription_event("evt_1", "active"))).await.ok();
    service.post(pretty(&subscription_event("evt_1", "canceled"))).await.ok();
    let (_, answer) = service.operate("POST", "/webhooks/replay?state=conflict&force=true").await;
    assert_eq!((&answer["events"][0]["action"], answer["events"].as_array().unwrap().len()), (&json!("nothing"), 1));
    service.drained().await;
    assert_eq!(facts.envelopes().len(), 1);
}

#[tokio::test]
async fn events_are_forgotten_when_their_time_is_over() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    three(&service).await;
    service.hand.advance(Duration::from_secs(30 * 24 * 60 * 60 - 25));
    assert_eq!(ids(&service, "customer=cus_1").await, ["evt_3", "evt_2"]);
    service.hand.advance(Duration::from_secs(60));
    assert_eq!(ids(&service, "").await, [""; 0]);
    assert_eq!(service.operate("GET", "/webhooks/evt_3").await.0, 404);
}
