//! Mutates good headers and bodies, by a seed so that a failure comes again: nothing panics, nothing that was changed is
//! good, nothing that is good is answered with anything but 200. `SYNAPSE_TEST_SCALE=100` runs a hundred times as many.

use clock::Entropy;
use serde_json::json;
use service::config::Secret;
use tempfile::tempdir;
use webhook::{Event, Verifier};

use crate::harness::{NOW_S, Running, SECRET, event, pretty, signed, subscription_event, v1};

struct Dice(Entropy);

impl Dice {
    fn below(&self, end: usize) -> usize {
        usize::try_from(self.0.up_to(end.max(1) as u64 - 1)).unwrap()
    }

    fn byte(&self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    /// A few changes: bytes flipped, cut out, doubled, put in; ends cut off.
    fn mutate(&self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        for _ in 0..=self.below(4) {
            let (at, until) = (self.below(text.len()), self.below(text.len()));
            let range = at.min(until)..at.max(until);
            match self.below(7) {
                0 if !text.is_empty() => text[at] ^= 1 << self.below(8),
                1 if !text.is_empty() => text[at] = self.byte(),
                2 => drop(text.drain(range)),
                3 => {
                    let part = text[range].to_vec();
                    text.splice(at..at, part);
                }
                4 => text.insert(at, self.byte()),
                5 => text.truncate(at),
                _ => {
                    let tokens: [&[u8]; 10] =
                        [b"{", b"}", b"[", b"\"", b"null", b"\\u0000", b",", b"1e999", b"v1=", b"t="];
                    text.splice(at..at, tokens[self.below(tokens.len())].iter().copied());
                }
            }
        }
        text
    }
}

#[test]
fn a_mutated_header_is_never_good_for_a_body_it_was_not_made_for() {
    let dice = Dice(Entropy::seeded(11));
    let verifier = Verifier::try_new(Secret::new(format!("whsec_other,{SECRET}")), 300).unwrap();
    let body = br#"{"id":"evt_1","object":"event"}"#;
    let good = signed(SECRET, NOW_S, body);
    let tag = v1(SECRET, NOW_S, body);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..20_000 * testkit::scale() {
        let header = dice.mutate(good.as_bytes());
        // Good only with the whole signature and the whole time in it, once.
        let untouched = |part: &str| header.windows(part.len()).any(|window| window == part.as_bytes());
        match verifier.verify(&header, body, NOW_S * 1_000) {
            Ok(()) => {
                assert!(untouched(&tag) && untouched(&format!("t={NOW_S}")), "{}", String::from_utf8_lossy(&header));
                taken += 1;
            }
            Err(_) => refused += 1,
        }
        assert!(verifier.verify(&header, b"{}", NOW_S * 1_000).is_err());
    }
    assert!(taken > 100 && refused > 1_000, "{taken} taken, {refused} refused");
}

#[test]
fn a_mutated_event_is_read_or_refused_and_never_a_panic() {
    let dice = Dice(Entropy::seeded(12));
    let seeds = [
        pretty(&subscription_event("evt_1", "active")),
        json!({"id": "evt_1", "object": "v2.core.event", "type": "x", "livemode": false, "created": "2026-09-21T14:13:18Z",
               "related_object": {"id": "sub_1"}})
        .to_string(),
        pretty(&event("evt_1", "invoice.paid", &json!({"id": "in_1", "parent": {"subscription_details": {"subscription": "sub_1"}}}))),
        pretty(&event("evt_1", "entitlements.active_entitlement_summary.updated", &json!({"customer": "cus_1", "entitlements": {"data": []}}))),
    ];
    let (mut events, mut others) = (0, 0);
    for number in 0..20_000 * testkit::scale() {
        let body = dice.mutate(seeds[number % seeds.len()].as_bytes());
        if Event::parse(&body).is_ok() { events += 1 } else { others += 1 }
    }
    assert!(events > 500 && others > 500, "{events} events, {others} others");
}

#[tokio::test]
async fn whatever_stripe_signs_is_answered_with_200() {
    let folder = tempdir().unwrap();
    let service = Running::start(folder.path()).await;
    let dice = Dice(Entropy::seeded(13));
    let seed = pretty(&subscription_event("evt_1", "active"));
    for _ in 0..300 * testkit::scale() {
        let body = dice.mutate(seed.as_bytes());
        let answer = service.post(&body).await;
        assert_eq!(answer.status, 200, "{}: {}", String::from_utf8_lossy(&body), answer.text);
    }
}
