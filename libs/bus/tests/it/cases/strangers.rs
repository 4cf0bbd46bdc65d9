//! What others may put into the stream or queue.

use crate::harness::*;

on_every_backend!(a_malformed_message_is_handed_out_as_such, structured_mode_is_read, a_foreign_kind_is_never_parsed);

const GOOD: &[(&str, &str)] = &[
    ("ce-id", "x1"),
    ("ce-source", "/somebody"),
    ("ce-specversion", "1.0"),
    ("ce-type", "synapse.test.happened.v1"),
    ("ce-time", "2026-01-01T00:00:00Z"),
    ("ce-tenant", "acme"),
    ("ce-partitionkey", "acme/stranger"),
    ("ce-sequence", "41"),
];

fn json(kind: &str, changed: &str, value: Option<&str>) -> String {
    let members: Vec<String> = GOOD
        .iter()
        .filter_map(|(name, good)| {
            let name = name.trim_start_matches("ce-");
            let good = if name == "type" { kind } else { good };
            let value = if name == changed { value? } else { good };
            Some(format!("{name:?}:{value:?}"))
        })
        .collect();
    format!("{{{},\"data\":{{\"n\":41}}}}", members.join(","))
}

async fn a_malformed_message_is_handed_out_as_such(h: &mut Harness) {
    if h.kind == Kind::Embedded {
        // Nobody else can reach it, and what it is given is checked.
        let mut bad = event("a", 1);
        bad.kind = "nonsense".to_owned();
        return assert!(h.publish(vec![bad]).await.unwrap()[0].is_err());
    }
    let mut deliveries = h.subscribe("alpha").await;
    for (name, value) in [("id", None), ("time", Some("yesterday")), ("specversion", Some("0.3")), ("tenant", None)] {
        if h.is_sqs() {
            h.inject(&[], json("synapse.test.happened.v1", name, value).as_bytes()).await;
        } else {
            let header = format!("ce-{name}");
            let mut headers: Vec<_> = GOOD.iter().copied().filter(|(other, _)| *other != header).collect();
            headers.extend(value.map(|value| (header.as_str(), value)));
            h.inject(&headers, b"{}").await;
        }
        let delivery = next(&mut deliveries).await;
        let malformed = delivery.incoming.as_ref().unwrap_err();
        assert!(malformed.reason.starts_with(&format!("{name}: ")), "{}", malformed.reason);
        assert!(!malformed.raw.is_empty());
        delivery.term("malformed").await.unwrap();
    }
    h.inject(&[], b"\xff\xfe not an event").await;
    let delivery = next(&mut deliveries).await;
    assert!(delivery.incoming.is_err());
    delivery.term("malformed").await.unwrap();
    // Good ones go on.
    let _published = h.publish(vec![event("a", 1)]);
    take(&mut deliveries, 1).await;
}

async fn structured_mode_is_read(h: &mut Harness) {
    if h.kind == Kind::Embedded {
        return;
    }
    let mut deliveries = h.subscribe("alpha").await;
    let headers = [("Content-Type", "application/cloudevents+json")];
    h.inject(&headers, json("synapse.test.happened.v1", "", None).as_bytes()).await;
    let delivery = next(&mut deliveries).await;
    let envelope = good(&delivery.incoming);
    assert_eq!(
        (envelope.sequence, &envelope.data[..], envelope.key.as_str()),
        (41, &b"{\"n\":41}"[..], "acme/stranger")
    );
    delivery.ack().await.unwrap();
}

async fn a_foreign_kind_is_never_parsed(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    if h.kind == Kind::Embedded {
        all_ok(&h.publish(vec![envelope(UNREAD, "a", 1)]).await.unwrap());
    } else if h.is_sqs() {
        h.inject(&[], json("synapse.test.unread.v1", "", None).as_bytes()).await;
    } else {
        all_ok(&h.publish(vec![envelope(UNREAD, "a", 1)]).await.unwrap());
    }
    let _published = h.publish(vec![event("a", 2)]);
    assert_eq!(take(&mut deliveries, 1).await[0].1, 2);
    quiet(&mut deliveries).await;
}
