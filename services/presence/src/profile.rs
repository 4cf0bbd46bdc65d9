//! What a peer may tell of itself: the rules of tags, capabilities, transports, identity keys and rooms.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::requests::presence::{
    IdentityKey, KeyKind, MAX_ADDRESS_CHARS, MAX_IDENTITY_KEYS, MAX_LABEL_CHARS, MAX_LABELS, MAX_ROOMS, MAX_TRANSPORTS,
    PeerFilter, Profile, Transport, TransportKind,
};

/// Longest name of a room (rule F-6 of the protocol).
const MAX_ROOM_CHARS: usize = 100;

/// Every rule that the profile breaks, as `field: rule`.
pub(crate) fn violations(profile: &Profile) -> Vec<String> {
    let mut found = Vec::new();
    labels(&mut found, "tags", &profile.tags);
    labels(&mut found, "capabilities", &profile.capabilities);
    at_most(&mut found, "transports", profile.transports.len(), MAX_TRANSPORTS);
    for (number, transport) in profile.transports.iter().enumerate() {
        check_transport(&mut found, number, transport);
    }
    at_most(&mut found, "identity_keys", profile.identity_keys.len(), MAX_IDENTITY_KEYS);
    for (number, key) in profile.identity_keys.iter().enumerate() {
        if let Some(rule) = broken_key(key) {
            found.push(format!("identity_keys[{number}].{rule}"));
        }
    }
    found
}

/// Every rule that a peer's rooms break.
pub(crate) fn room_violations(rooms: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    at_most(&mut found, "rooms", rooms.len(), MAX_ROOMS);
    for (number, room) in rooms.iter().enumerate() {
        found.extend(broken_room(room).map(|rule| format!("rooms[{number}]: {rule}")));
    }
    found
}

/// The first rule that a filter breaks.
pub(crate) fn broken_filter(filter: &PeerFilter) -> Option<String> {
    let room = filter.room.as_deref().and_then(|room| Some(format!("room: {}", broken_room(room)?)));
    let label = |name: &str, text: &Option<String>| Some(format!("{name}: {}", broken_label(text.as_deref()?)?));
    let network = || {
        let text = filter.network.as_deref()?;
        let known = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        (!known).then(|| "network: is none that presence named".to_owned())
    };
    room.or_else(|| label("tag", &filter.tag)).or_else(|| label("capability", &filter.capability)).or_else(network)
}

/// The rule that a room's name breaks.
pub(crate) fn broken_room(room: &str) -> Option<&'static str> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let holds = (1..=MAX_ROOM_CHARS).contains(&room.len()) && room.bytes().all(good);
    (!holds).then_some("must be 1 to 100 characters of A-Z, a-z, 0-9, '_' and '-'")
}

fn broken_label(label: &str) -> Option<&'static str> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
    let holds = (1..=MAX_LABEL_CHARS).contains(&label.len()) && label.bytes().all(good);
    (!holds).then_some("must be 1 to 50 characters of A-Z, a-z, 0-9, '_', '-', '.' and ':'")
}

fn labels(found: &mut Vec<String>, field: &str, labels: &[String]) {
    at_most(found, field, labels.len(), MAX_LABELS);
    let mut seen = BTreeSet::new();
    for (number, label) in labels.iter().enumerate() {
        if let Some(rule) = broken_label(label) {
            found.push(format!("{field}[{number}]: {rule}"));
        } else if !seen.insert(label) {
            found.push(format!("{field}[{number}]: comes twice; leave it out"));
        }
    }
}

fn at_most(found: &mut Vec<String>, field: &str, len: usize, max: usize) {
    if len > max {
        found.push(format!("{field}: {len} of them; at most {max}"));
    }
}

fn check_transport(found: &mut Vec<String>, number: usize, transport: &Transport) {
    if transport.kind == TransportKind::Unknown {
        let known = "webrtc, local_network, bluetooth, relay";
        found.push(format!("transports[{number}].kind: must be one of: {known}"));
    }
    let graphic = |address: &str| address.bytes().all(|byte| byte.is_ascii_graphic());
    let holds = |address: &String| (1..=MAX_ADDRESS_CHARS).contains(&address.len()) && graphic(address);
    if !transport.address.as_ref().is_none_or(holds) {
        let rule = "must be 1 to 200 printable ASCII characters without spaces";
        found.push(format!("transports[{number}].address: {rule}"));
    }
}

/// Which field of the key breaks which rule.
fn broken_key(key: &IdentityKey) -> Option<String> {
    let bytes = match key.kind {
        KeyKind::Ed25519 | KeyKind::X25519 => 32,
        KeyKind::P256 => 65,
        KeyKind::Unknown => return Some("kind: must be one of: ed25519, x25519, p256".into()),
    };
    // Before it is decoded: nobody makes us decode a megabyte.
    let decoded = (key.key.len() == (bytes * 4_usize).div_ceil(3)).then(|| URL_SAFE_NO_PAD.decode(&key.key).ok());
    match decoded.flatten() {
        Some(decoded) if decoded.iter().all(|byte| *byte == 0) => Some("key: is all zeros".into()),
        Some(decoded) if key.kind == KeyKind::P256 && decoded[0] != 4 => {
            Some("key: must be an uncompressed point: its first byte is 4 (SEC 1 section 2.3.3)".into())
        }
        Some(_) => None,
        None => Some(format!("key: must be {bytes} bytes in base64url without padding (RFC 4648 section 5)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn key(kind: KeyKind, key: &str) -> Profile {
        Profile { identity_keys: vec![IdentityKey { kind, key: key.into() }], ..Profile::default() }
    }

    fn point(first: u8) -> String {
        let mut bytes = [7; 65];
        bytes[0] = first;
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn keys_have_a_kind_a_length_and_a_grammar() {
        let good = [(KeyKind::Ed25519, GOOD), (KeyKind::X25519, GOOD), (KeyKind::P256, &point(4))];
        for (kind, text) in good {
            assert_eq!(violations(&key(kind, text)), Vec::<String>::new(), "{kind:?}");
        }
        let padded = format!("{GOOD}=");
        for bad in ["", "AA", GOOD.trim_end_matches('o'), &padded, &GOOD.replace('_', "/"), &GOOD.replace('q', " ")] {
            let rule = "identity_keys[0].key: must be 32 bytes in base64url without padding (RFC 4648 section 5)";
            assert_eq!(violations(&key(KeyKind::Ed25519, bad)), [rule], "{bad:?}");
        }
        assert!(violations(&key(KeyKind::P256, GOOD))[0].contains("65 bytes"));
        assert!(violations(&key(KeyKind::P256, &point(2)))[0].contains("uncompressed"));
        assert_eq!(violations(&key(KeyKind::Ed25519, &"A".repeat(43))), ["identity_keys[0].key: is all zeros"]);
        let unknown = "identity_keys[0].kind: must be one of: ed25519, x25519, p256";
        assert_eq!(violations(&key(KeyKind::Unknown, GOOD)), [unknown]);
    }

    #[test]
    fn every_broken_rule_is_named_with_its_place() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let many: Vec<String> = (0..11).map(|number| format!("t{number}")).collect();
        let transport = |kind, address: &str| Transport { kind, address: Some(address.to_owned()) };
        let profile = Profile {
            tags: words(&["good", "", "good", "a b", &"x".repeat(51), "file:v2.1_a-b"]),
            capabilities: many,
            transports: vec![
                Transport { kind: TransportKind::Webrtc, address: None },
                transport(TransportKind::Unknown, "x"),
                transport(TransportKind::Relay, "a b"),
                transport(TransportKind::LocalNetwork, ""),
            ],
            identity_keys: vec![IdentityKey { kind: KeyKind::Ed25519, key: GOOD.into() }; 3],
        };
        let fields: Vec<String> =
            violations(&profile).iter().map(|line| line.split_once(": ").unwrap().0.to_owned()).collect();
        let expected = [
            "tags[1]",
            "tags[2]",
            "tags[3]",
            "tags[4]",
            "capabilities",
            "transports[1].kind",
            "transports[2].address",
            "transports[3].address",
            "identity_keys",
        ];
        assert_eq!(fields, expected);
        assert_eq!(violations(&Profile::default()), Vec::<String>::new());
    }

    #[test]
    fn rooms_and_filters_keep_the_same_rules() {
        let rooms: Vec<String> = (0..MAX_ROOMS).map(|number| format!("room-{number}")).collect();
        assert_eq!(room_violations(&rooms), Vec::<String>::new());
        assert_eq!(room_violations(&[rooms, vec!["a#b".into()]].concat()).len(), 2);
        assert_eq!(broken_filter(&PeerFilter::default()), None);
        let of = |filter: PeerFilter| broken_filter(&filter).unwrap().split_once(": ").unwrap().0.to_owned();
        assert_eq!(of(PeerFilter { room: Some("a#b".into()), ..PeerFilter::default() }), "room");
        assert_eq!(of(PeerFilter { tag: Some(String::new()), ..PeerFilter::default() }), "tag");
        assert_eq!(of(PeerFilter { capability: Some("ä".into()), ..PeerFilter::default() }), "capability");
        assert_eq!(of(PeerFilter { network: Some("x".into()), ..PeerFilter::default() }), "network");
    }
}
