use bytes::Bytes;

use crate::harness::*;

on_every_backend!(a_large_payload_arrives, a_tampered_or_missing_claim_is_malformed);

fn large(number: u64, size: usize) -> bus::Envelope {
    let mut envelope = event("large", number);
    let text: String = (0..size).map(|at| char::from(b'a' + ((at as u64 * 7 + number) % 26) as u8)).collect();
    envelope.data = Bytes::from(format!("\"{text}\""));
    envelope
}

async fn a_large_payload_arrives(h: &mut Harness) {
    let mut deliveries = h.subscribe("alpha").await;
    let sent = [large(1, 1024 * 1024), event("large", 2), large(3, 3 * 1024 * 1024)];
    let published = h.publish(sent.to_vec());
    for envelope in sent {
        let delivery = next(&mut deliveries).await;
        assert!(good(&delivery.incoming) == &envelope, "{} differs", envelope.sequence);
        delivery.ack().await.unwrap();
    }
    all_ok(&published.await.unwrap());
}

async fn a_tampered_or_missing_claim_is_malformed(h: &mut Harness) {
    let Some(nats) = &h.nats else {
        // Payloads stay in this process: the embedded bus has no claims.
        return assert!(h.bus.capabilities().max_inline_bytes >= 8 * 1024 * 1024);
    };
    all_ok(&h.publish(vec![large(1, 1024 * 1024)]).await.unwrap());
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let claims = context.get_stream("SYNAPSE_CLAIMS").await.unwrap();
    let first = claims.get_last_raw_message_by_subject("synapse.claim.*.0").await.unwrap();
    context.publish(first.subject.clone(), Bytes::from_static(b"tampered")).await.unwrap().await.unwrap();
    let mut deliveries = h.subscribe("alpha").await;
    let delivery = next(&mut deliveries).await;
    let reason = delivery.incoming.as_ref().unwrap_err().reason.clone();
    assert!(reason.starts_with("datasha256: "), "{reason}");
    delivery.term("tampered").await.unwrap();
    all_ok(&h.publish(vec![large(2, 1024 * 1024)]).await.unwrap_or_default());
    drop(next(&mut deliveries).await);
    claims.purge().await.unwrap();
    let delivery = next(&mut deliveries).await;
    let reason = delivery.incoming.as_ref().unwrap_err().reason.clone();
    assert!(reason.starts_with("dataref: piece 0"), "{reason}");
    delivery.term("missing").await.unwrap();
}
