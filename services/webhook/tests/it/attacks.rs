//! What an attacker, a broken proxy or a confused sender may try, one test each. None acts, none is answered with 5xx,
//! and what Stripe really signed is kept and answered with 200.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Answer, NOW_S, PATIENCE, Running, SECRET, event, pretty, signed, subscription_event, v1};

async fn service() -> (TempDir, Running) {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    (folder, service)
}

/// Nothing was stored and nothing waits to be published.
async fn nothing_happened(service: &Running) {
    assert_eq!(service.listed("received").await, [Value::Null; 0]);
    assert_eq!(service.platform.outbox.pending().await.unwrap(), 0);
}

/// It is kept, and nothing waits to be published.
async fn kept_aside(service: &Running, reason: &str) {
    let events = service.listed("received").await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["reason"], reason, "{events:?}");
    assert_eq!(service.platform.outbox.pending().await.unwrap(), 0);
}

fn ours() -> String {
    pretty(&subscription_event("evt_1", "active"))
}

async fn refused(service: &Running, body: impl Into<Vec<u8>>, header: &str) {
    service.post_with(body, &[header]).await.refused(400, "invalid_signature");
    nothing_happened(service).await;
}

#[tokio::test]
async fn a_forged_event() {
    let (_folder, service) = service().await;
    refused(&service, ours(), &format!("t={NOW_S},v1={}", "a".repeat(64))).await;
}

#[tokio::test]
async fn another_secret() {
    let (_folder, service) = service().await;
    refused(&service, ours(), &signed("whsec_guessed", NOW_S, ours().as_bytes())).await;
}

#[tokio::test]
async fn the_empty_secret() {
    let (_folder, service) = service().await;
    refused(&service, ours(), &signed("", NOW_S, ours().as_bytes())).await;
}

#[tokio::test]
async fn a_replay_after_six_minutes() {
    let (_folder, service) = service().await;
    refused(&service, ours(), &signed(SECRET, NOW_S - 360, ours().as_bytes())).await;
}

#[tokio::test]
async fn a_replay_within_five_minutes_is_a_duplicate() {
    let (_folder, service) = service().await;
    let facts = service.reader().await;
    let header = signed(SECRET, NOW_S, ours().as_bytes());
    for _ in 0..10 {
        service.post_with(ours(), &[&header]).await.ok();
    }
    service.drained().await;
    assert_eq!((facts.all().len(), service.event("evt_1").await.unwrap()["state"].clone()), (1, json!("published")));
    assert_eq!(service.listed("duplicate").await[0]["repeats"], 9);
}

#[tokio::test]
async fn a_date_in_the_future() {
    let (_folder, service) = service().await;
    refused(&service, ours(), &signed(SECRET, NOW_S + 31_536_000, ours().as_bytes())).await;
}

#[tokio::test]
async fn a_time_that_overflows() {
    let (_folder, service) = service().await;
    for time_s in [u64::MAX, u64::MAX / 1_000, u64::MAX / 1_000 + 1] {
        refused(&service, ours(), &signed(SECRET, time_s, ours().as_bytes())).await;
    }
    let tag = v1(SECRET, 0, ours().as_bytes());
    refused(&service, ours(), &format!("t=18446744073709551616,v1={tag}")).await;
}

#[tokio::test]
async fn a_second_time_in_the_header() {
    let (_folder, service) = service().await;
    let good = signed(SECRET, NOW_S - 1_000, ours().as_bytes());
    refused(&service, ours(), &format!("t={NOW_S},{good}")).await;
}

#[tokio::test]
async fn an_older_scheme() {
    let (_folder, service) = service().await;
    refused(&service, ours(), &format!("t={NOW_S},v0={}", v1(SECRET, NOW_S, ours().as_bytes()))).await;
}

#[tokio::test]
async fn a_signature_of_the_body_without_the_time() {
    let (_folder, service) = service().await;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag: String =
        aws_lc_rs::hmac::sign(&key, ours().as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    refused(&service, ours(), &format!("t={NOW_S},v1={tag}")).await;
}

#[tokio::test]
async fn two_signature_headers() {
    let (_folder, service) = service().await;
    let header = signed(SECRET, NOW_S, ours().as_bytes());
    service.post_with(ours(), &[&header, &header]).await.refused(400, "invalid_signature");
    nothing_happened(&service).await;
}

#[tokio::test]
async fn a_thousand_guesses_in_one_header() {
    let (_folder, service) = service().await;
    let guesses = format!(",v1={}", "a".repeat(64)).repeat(100);
    let header = format!("t={NOW_S}{guesses},v1={}", v1(SECRET, NOW_S, ours().as_bytes()));
    refused(&service, ours(), &header).await;
}

#[tokio::test]
async fn a_changed_price() {
    let (_folder, service) = service().await;
    let mut event = subscription_event("evt_1", "active");
    event["data"]["object"]["items"]["data"][0]["price"] = json!({"id": "price_team", "unit_amount": 1_900});
    let header = signed(SECRET, NOW_S, pretty(&event).as_bytes());
    event["data"]["object"]["items"]["data"][0]["price"]["unit_amount"] = json!(1);
    refused(&service, pretty(&event), &header).await;
}

#[tokio::test]
async fn the_signature_of_one_event_on_another() {
    let (_folder, service) = service().await;
    let other = pretty(&subscription_event("evt_2", "active"));
    refused(&service, other, &signed(SECRET, NOW_S, ours().as_bytes())).await;
}

#[tokio::test]
async fn text_before_and_behind_a_signed_body() {
    let (_folder, service) = service().await;
    let header = signed(SECRET, NOW_S, ours().as_bytes());
    refused(&service, format!(" {}", ours()), &header).await;
    refused(&service, format!("{}\n", ours()), &header).await;
    refused(&service, format!("{}\0", ours()), &header).await;
}

#[tokio::test]
async fn a_huge_body() {
    let (_folder, service) = service().await;
    service.post(vec![b' '; (1 << 20) + 1]).await.refused(413, "payload_too_large");
    nothing_happened(&service).await;
}

/// One request in raw bytes; the answer as far as it came.
async fn raw(service: &Running, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    // The other side may close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = clock::Clock::system().timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_some(), "the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

fn head(lines: &str) -> String {
    format!("POST /stripe/webhook HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n\r\n")
}

#[tokio::test]
async fn a_body_announced_as_a_terabyte() {
    let (_folder, service) = service().await;
    let answer = raw(&service, head("Stripe-Signature: t=1,v1=x\r\nContent-Length: 1099511627776").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    nothing_happened(&service).await;
}

#[tokio::test]
async fn a_chunked_body_is_read_whole_and_an_endless_one_is_not() {
    let (_folder, service) = service().await;
    let body = ours();
    let header = signed(SECRET, NOW_S, body.as_bytes());
    let chunks: String = body.as_bytes().chunks(7).fold(String::new(), |text, chunk| {
        text + &format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap())
    });
    let begin = head(&format!("Stripe-Signature: {header}\r\nTransfer-Encoding: chunked"));
    let answer = raw(&service, format!("{begin}{chunks}0\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let endless = format!("{begin}{}", format!("10000\r\n{}\r\n", "x".repeat(0x1_0000)).repeat(40));
    let answer = raw(&service, endless.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(service.listed("received").await.len(), 1);
}

#[tokio::test]
async fn a_body_of_two_lengths() {
    let (_folder, service) = service().await;
    let body = ours();
    let header = signed(SECRET, NOW_S, body.as_bytes());
    let lengths = format!("Content-Length: {}\r\nContent-Length: 5", body.len());
    for lines in [lengths, format!("Content-Length: {}\r\nTransfer-Encoding: chunked", body.len())] {
        let request = head(&format!("Stripe-Signature: {header}\r\n{lines}")) + &body;
        let answer = raw(&service, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lines}: {answer}");
    }
    nothing_happened(&service).await;
}

#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let (_folder, service) = service().await;
    // 1 KiB of gzip that would become 1 MiB is taken as the bytes it is.
    let bomb = [&[0x1f_u8, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0_u8; 1_014][..]].concat();
    let header = signed(SECRET, NOW_S, &bomb);
    let url = format!("http://{}/stripe/webhook", service.address);
    let request = service.client.post(url).header("stripe-signature", header).header("content-encoding", "gzip");
    assert_eq!(request.body(bomb).send().await.unwrap().status(), 200);
    kept_aside(&service, "not_an_event").await;
}

#[tokio::test]
async fn line_breaks_in_the_header() {
    let (_folder, service) = service().await;
    let body = ours();
    let tag = v1(SECRET, NOW_S, body.as_bytes());
    for separator in ["\n", "\r", "\0", "\r\n "] {
        let lines = format!("Stripe-Signature: t={NOW_S},{separator}v1={tag}\r\nContent-Length: {}", body.len());
        let answer = raw(&service, (head(&lines) + &body).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{separator:?}: {answer}");
    }
    nothing_happened(&service).await;
}

#[tokio::test]
async fn a_slow_sender_of_headers_and_bodies_holds_no_place_for_ever() {
    let (_folder, service) = service().await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(head("Content-Length: 1000\r\nStripe-Signature: t=1,v1=x").as_bytes()).await.unwrap();
        stream.write_all(b"{").await.unwrap();
        streams.push(stream);
    }
    // Others are served meanwhile.
    service.post(ours()).await.ok();
    for mut stream in streams {
        let reading = tokio::spawn(async move {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        });
        testkit::eventually(PATIENCE, "it to be given up", async || {
            service.hand.advance(Duration::from_secs(5));
            reading.is_finished().then_some(())
        })
        .await;
        assert!(reading.await.unwrap().starts_with("HTTP/1.1 408 "));
    }
}

async fn taken(service: &Running, body: impl AsRef<[u8]>) {
    let answer: Answer = service.post(body).await;
    answer.ok();
}

#[tokio::test]
async fn deep_nesting() {
    let (_folder, service) = service().await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let body =
        subscription_event("evt_1", "active").to_string().replace("\"team\":\"blue\"", &format!("\"team\":{deep}"));
    taken(&service, body).await;
    kept_aside(&service, "unreadable_object").await;
}

#[tokio::test]
async fn an_id_that_comes_twice() {
    let (_folder, service) = service().await;
    let body = ours().replacen("\"id\": \"evt_1\"", "\"id\": \"evt_1\", \"id\": \"evt_2\"", 1);
    assert!(body.contains("evt_2"));
    taken(&service, body).await;
    kept_aside(&service, "not_an_event").await;
}

#[tokio::test]
async fn a_tenant_that_comes_twice() {
    let (_folder, service) = service().await;
    let body = ours().replacen("\"synapse_tenant\"", "\"synapse_tenant\": \"evil\", \"synapse_tenant\"", 1);
    taken(&service, body).await;
    kept_aside(&service, "unreadable_object").await;
}

#[tokio::test]
async fn confused_types() {
    let (_folder, service) = service().await;
    for (number, (field, value)) in [
        ("/data/object/id", json!({"$gt": ""})),
        ("/data/object/id", json!(7)),
        ("/data/object/status", json!(["active"])),
        ("/data/object/metadata", json!("synapse_tenant=acme")),
        ("/data/object/metadata/synapse_tenant", json!(true)),
        ("/data/object/metadata/synapse_subscription", json!({"a": "s-1"})),
    ]
    .into_iter()
    .enumerate()
    {
        let mut event = subscription_event(&format!("evt_{number}"), "active");
        *event.pointer_mut(field).unwrap() = value;
        taken(&service, pretty(&event)).await;
    }
    let aside = service.listed("quarantined").await;
    assert!(aside.len() == 6 && aside.iter().all(|event| event["reason"] == "unreadable_object"), "{aside:?}");
    assert_eq!(service.platform.outbox.pending().await.unwrap(), 0);
}

#[tokio::test]
async fn ids_that_would_leave_their_place() {
    let (_folder, service) = service().await;
    for (number, id) in ["sub_../../v1/customers", "sub_1/x", "sub_1#head", "sub_ 1", "sub_%2e"].into_iter().enumerate()
    {
        let mut event = subscription_event(&format!("evt_{number}"), "active");
        event["data"]["object"]["id"] = json!(id);
        taken(&service, pretty(&event)).await;
    }
    for (number, tenant) in ["a/b", "../x", "a#b", "a b", "a\u{0}b", &"x".repeat(101)].into_iter().enumerate() {
        let mut event = subscription_event(&format!("evt_t{number}"), "active");
        event["data"]["object"]["metadata"]["synapse_tenant"] = json!(tenant);
        taken(&service, pretty(&event)).await;
    }
    assert_eq!((service.listed("quarantined").await.len(), service.listed("unassigned").await.len()), (5, 6));
    assert_eq!(service.platform.outbox.pending().await.unwrap(), 0);
}

#[tokio::test]
async fn an_event_id_that_would_leave_its_partition() {
    let (_folder, service) = service().await;
    for id in ["evt_1#head", "evt/../x", "evt 1", "evt_\u{e9}"] {
        taken(&service, pretty(&event(id, "a.b", &Value::Null))).await;
    }
    taken(&service, pretty(&event(&"e".repeat(256), "a.b", &Value::Null))).await;
    taken(&service, pretty(&event("evt_\n", "a.b", &Value::Null))).await;
    assert_eq!((service.listed("unmapped").await.len(), service.listed("quarantined").await.len()), (4, 2));
}

#[tokio::test]
async fn a_subscription_of_another_tenant() {
    let (_folder, service) = service().await;
    let facts = service.reader().await;
    taken(&service, ours()).await;
    let mut event = subscription_event("evt_2", "active");
    event["data"]["object"]["metadata"]["synapse_tenant"] = json!("evil");
    taken(&service, pretty(&event)).await;
    service.drained().await;
    let aside = service.listed("quarantined").await;
    assert_eq!((aside.len(), &aside[0]["reason"]), (1, &json!("owner_changed")), "{aside:?}");
    assert!(facts.all().iter().all(|fact| fact.tenant.as_str() == "acme"));
}

#[tokio::test]
async fn a_customer_of_another_tenant() {
    let (_folder, service) = service().await;
    let facts = service.reader().await;
    taken(&service, ours()).await;
    let mut event = subscription_event("evt_2", "active");
    event["data"]["object"]["id"] = json!("sub_2");
    event["data"]["object"]["metadata"] = json!({"synapse_tenant": "evil", "synapse_subscription": "s-2"});
    taken(&service, pretty(&event)).await;
    // Its own subscription may not be moved under another id of ours either.
    let mut event = subscription_event("evt_3", "active");
    event["data"]["object"]["metadata"]["synapse_subscription"] = json!("s-9");
    taken(&service, pretty(&event)).await;
    service.drained().await;
    let aside = service.listed("quarantined").await;
    assert!(aside.len() == 2 && aside.iter().all(|event| event["reason"] == "owner_changed"), "{aside:?}");
    assert_eq!(facts.all().len(), 1);
}

#[tokio::test]
async fn real_money_where_test_money_is_dealt_with() {
    let (_folder, service) = service().await;
    let mut event = subscription_event("evt_1", "active");
    event["livemode"] = json!(true);
    taken(&service, pretty(&event)).await;
    kept_aside(&service, "wrong_livemode").await;
}

#[tokio::test]
async fn a_connected_accounts_owner_writes_our_metadata() {
    let (_folder, service) = service().await;
    let mut event = subscription_event("evt_1", "active");
    event["account"] = json!("acct_evil");
    taken(&service, pretty(&event)).await;
    kept_aside(&service, "other_account").await;
}

#[tokio::test]
async fn a_thin_event_of_another_context() {
    let (_folder, service) = service().await;
    taken(&service, ours()).await;
    let thin = json!({
        "id": "evt_2", "object": "v2.core.event", "type": "v2.x", "livemode": false, "context": "acct_evil",
        "created": "2026-09-21T14:13:18.000Z", "related_object": {"id": "sub_1", "type": "subscription"},
    });
    taken(&service, thin.to_string()).await;
    assert_eq!(service.event("evt_2").await.unwrap()["reason"], "other_account");
}

#[tokio::test]
async fn metadata_without_end() {
    let (_folder, service) = service().await;
    let facts = service.reader().await;
    let mut event = subscription_event("evt_1", "active");
    for number in 0..5_000 {
        event["data"]["object"]["metadata"][format!("z{number:05}")] = json!("x".repeat(100));
    }
    taken(&service, event.to_string()).await;
    service.drained().await;
    assert!(facts.payloads()[0].metadata.len() <= 50);
}

#[tokio::test]
async fn another_method_or_media_type() {
    let (_folder, service) = service().await;
    let url = format!("http://{}/stripe/webhook", service.address);
    let answer = service.client.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    // The media type is not what makes it Stripe's.
    let body = ours();
    let header = signed(SECRET, NOW_S, body.as_bytes());
    let request = service.client.post(url).header("stripe-signature", header).header("content-type", "text/html");
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
}
