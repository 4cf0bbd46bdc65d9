//! How readers treat what they don't know, and how an old version becomes a new one.

use contracts::events::presence::{OfflineReason, PeerStatus, PeerWentOfflineV1, PresenceEvent};
use contracts::events::subscription::{Status, StatusChangedV1, StatusChangedV2, SubscriptionEvent};
use contracts::{Contract, EventId, PeerId, SessionId, SubscriptionId, TenantId, TunnelId, UserId, catalogue};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::name;

#[test]
fn unknown_fields_are_tolerated_at_the_top_of_every_message() {
    for entry in catalogue() {
        for mut sample in (entry.samples)() {
            let expected = sample.clone();
            // An answer is a one-field wrapper; what a newer owner adds stands inside it.
            let object = match entry.class {
                contracts::Class::Reply => sample.as_object_mut().unwrap().values_mut().next().unwrap(),
                _ => &mut sample,
            };
            let object = object.as_object_mut().unwrap_or_else(|| panic!("{}: not an object", name(&entry)));
            object.insert("from_a_newer_version".into(), json!({"a": [1, null]}));
            let seen = (entry.reparse)(&sample).unwrap_or_else(|error| panic!("{}: {error}", name(&entry)));
            assert_eq!(seen, expected, "{}", name(&entry));
        }
    }
}

#[test]
fn values_newer_than_the_reader_read_as_unknown() {
    assert_eq!(serde_json::from_str::<Status>("\"on_the_house\"").unwrap(), Status::Unknown);
    assert_eq!(serde_json::from_str::<PeerStatus>("\"busy\"").unwrap(), PeerStatus::Unknown);
    let event = json!({"peer_id": "alice", "generation": 1, "reason": "abducted"}).to_string();
    let PresenceEvent::WentOffline(event) =
        PresenceEvent::decode(PeerWentOfflineV1::KIND, event.as_bytes()).unwrap().unwrap()
    else {
        panic!("another event");
    };
    assert_eq!(event.reason, OfflineReason::Unknown);
}

#[test]
fn the_payload_of_an_unknown_kind_is_not_parsed() {
    assert!(PresenceEvent::decode("presence.peer_was_abducted.v1", b"not even JSON").is_none());
    assert!(PresenceEvent::decode("presence.peer_went_offline.v2", b"not even JSON").is_none());
    assert!(PresenceEvent::decode(StatusChangedV1::KIND, b"not even JSON").is_none(), "another owner's kind");
    assert!(PresenceEvent::decode(PeerWentOfflineV1::KIND, b"not even JSON").unwrap().is_err());
}

#[test]
fn version_1_is_upcast_and_version_2_still_serves_its_readers() {
    let old = json!({"subscription_id": "sub-01", "status": "past_due"}).to_string();
    let read = SubscriptionEvent::decode(StatusChangedV1::KIND, old.as_bytes()).unwrap().unwrap();
    let SubscriptionEvent::StatusChangedV2(new) = read.latest() else { panic!("it was not upcast") };
    assert_eq!((new.current, new.entitled, new.previous), (Status::PastDue, true, None));
    assert_eq!(new.current_period_end_ms, None, "what v1 did not say stays unsaid");
    let back = StatusChangedV1::from(&new);
    assert_eq!(
        serde_json::to_value(back).unwrap().to_string(),
        serde_json::from_str::<Value>(&old).unwrap().to_string()
    );
    for (status, entitled) in [(Status::Active, true), (Status::Unpaid, false), (Status::Unknown, false)] {
        let v1 = StatusChangedV1 { subscription_id: new.subscription_id.clone(), status };
        assert_eq!(StatusChangedV2::from(v1).entitled, entitled, "{status:?}");
    }
    let newest = StatusChangedV2::samples().remove(0);
    assert_eq!(SubscriptionEvent::from(newest.clone()).latest(), SubscriptionEvent::from(newest));
}

/// Two candidates for `candidate()` where `T: From<Other>`, so that naming it does not compile; one where not.
trait NotFrom<Other, Marker> {
    fn candidate() {}
}

impl<T, Other> NotFrom<Other, ()> for T {}
impl<T: From<Other>, Other> NotFrom<Other, u8> for T {}

#[test]
fn ids_are_plain_text_on_the_wire_and_one_does_not_become_another() {
    // Passing one for another is the compile_fail example in `ids`; this does not compile once a conversion exists.
    <PeerId as NotFrom<SessionId, _>>::candidate();
    <SessionId as NotFrom<PeerId, _>>::candidate();
    <SubscriptionId as NotFrom<TenantId, _>>::candidate();
    <TenantId as NotFrom<UserId, _>>::candidate();
    <TunnelId as NotFrom<EventId, _>>::candidate();
    let id: PeerId = "alice".parse().unwrap();
    assert_eq!(serde_json::to_value(&id).unwrap(), json!("alice"));
}

proptest! {
    #[test]
    fn no_payload_makes_a_reader_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        for entry in catalogue() {
            let _ = PresenceEvent::decode(entry.kind, &data);
            let _ = SubscriptionEvent::decode(entry.kind, &data);
        }
    }
}
