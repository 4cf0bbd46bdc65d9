//! Client frames: text in, a typed frame or every violation out.

use contracts::frames::ClientFrame;
use contracts::http::Violation;
use contracts::signals::signaling::PeerSignal;
use serde_json::{Map, Value};

/// A frame that was refused: its id, where one could be read, and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadFrame {
    pub(crate) id: Option<String>,
    pub(crate) violations: Vec<Violation>,
}

/// Frame types and the fields that each may have besides `type` and `id`.
const TYPES: [(&str, &[&str]); 5] = [
    ("auth", &["token", "peer_id", "proof"]),
    ("ping", &[]),
    ("presence", &["action", "after", "status"]),
    ("session", &["to"]),
    ("signal", &["session_id", "signal"]),
];

/// Longest token and proof, characters.
const MAX_TOKEN_CHARS: usize = 10_000;

/// Reads a client frame.
///
/// # Errors
/// Every rule that it breaks.
pub(crate) fn parse(text: &str) -> Result<ClientFrame, BadFrame> {
    let bad = |id: Option<String>, violations| BadFrame { id, violations };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| bad(None, vec![violation("frame", format!("is not JSON ({error}); send one JSON object"))]))?;
    let Value::Object(fields) = &value else {
        return Err(bad(None, vec![violation("frame", "send one JSON object")]));
    };
    let id = fields.get("id").and_then(Value::as_str).filter(|id| is_id(id)).map(str::to_owned);
    let mut found = check_id(fields);
    let Some((kind, allowed)) = known_type(fields) else {
        let names = TYPES.map(|(name, _)| name).join(", ");
        found.push(violation("type", format!("must be one of: {names}")));
        return Err(bad(id, found));
    };
    for name in fields.keys().filter(|name| !["type", "id"].contains(&name.as_str())) {
        if !allowed.contains(&name.as_str()) {
            found.push(violation(name, format!("a `{kind}` frame has no such field; leave it out")));
        }
    }
    check_fields(kind, fields, &mut found);
    if !found.is_empty() {
        return Err(bad(id, found));
    }
    // What is left are rules of nested parts (signals), which serde names by their own field.
    let frame =
        serde_json::from_value(value).map_err(|error| bad(id.clone(), vec![violation(kind, error.to_string())]))?;
    if matches!(frame, ClientFrame::Signal { signal: PeerSignal::Unknown, .. }) {
        return Err(bad(id, vec![violation("signal", SIGNAL_RULE)]));
    }
    Ok(frame)
}

fn known_type(fields: &Map<String, Value>) -> Option<(&'static str, &'static [&'static str])> {
    let kind = fields.get("type")?.as_str()?;
    TYPES.iter().find(|(name, _)| *name == kind).copied()
}

fn check_id(fields: &Map<String, Value>) -> Vec<Violation> {
    match fields.get("id") {
        Some(Value::String(id)) if is_id(id) => Vec::new(),
        Some(_) => vec![violation("id", "must be 1 to 100 characters of A-Z, a-z, 0-9, '_' and '-'")],
        None => vec![violation("id", "is missing; name each frame so that its outcome can name it")],
    }
}

fn check_fields(kind: &str, fields: &Map<String, Value>, found: &mut Vec<Violation>) {
    match kind {
        "auth" => {
            require(fields, "token", is_token, TOKEN_RULE, found);
            require(fields, "peer_id", is_id, ID_RULE, found);
            if fields.get("proof").is_some_and(|proof| !proof.is_null()) {
                require(fields, "proof", is_token, TOKEN_RULE, found);
            }
        }
        "presence" => {
            let actions = "must be one of: list, set_status";
            require(fields, "action", |action| ["list", "set_status"].contains(&action), actions, found);
            if fields.get("action").and_then(Value::as_str) == Some("set_status") {
                let rule = "must be one of: online, away";
                require(fields, "status", |status| ["online", "away"].contains(&status), rule, found);
            } else if fields.contains_key("status") {
                found.push(violation("status", "fits only the action set_status; leave it out"));
            }
            if fields.contains_key("after") {
                let rule = "must be the `next` of an earlier page, at most 2000 characters";
                require(fields, "after", |after| (1..=2_000).contains(&after.len()), rule, found);
            }
        }
        "session" => require(fields, "to", is_id, ID_RULE, found),
        "signal" => {
            require(fields, "session_id", is_id, ID_RULE, found);
            if !fields.get("signal").is_some_and(Value::is_object) {
                found.push(violation("signal", SIGNAL_RULE));
            }
        }
        _ => {}
    }
}

const SIGNAL_RULE: &str = "must be an object with a type: offer, answer, candidate, restart or bye";
const ID_RULE: &str = "must be 1 to 100 characters of A-Z, a-z, 0-9, '_' and '-'";
const TOKEN_RULE: &str = "must be 1 to 10000 characters of A-Z, a-z, 0-9, '.', '_' and '-'";

fn require(
    fields: &Map<String, Value>,
    name: &str,
    holds: impl Fn(&str) -> bool,
    rule: &str,
    found: &mut Vec<Violation>,
) {
    match fields.get(name) {
        Some(Value::String(text)) if holds(text) => {}
        Some(_) => found.push(violation(name, rule)),
        None => found.push(violation(name, format!("is missing; it {rule}"))),
    }
}

fn is_id(text: &str) -> bool {
    text.parse::<contracts::PeerId>().is_ok()
}

fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_TOKEN_CHARS).contains(&text.len()) && text.bytes().all(allowed)
}

fn violation(field: &str, message: impl Into<String>) -> Violation {
    Violation { field: field.to_owned(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<String> {
        parse(text).expect_err("the frame is bad").violations.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn good_frames_are_read() {
        for good in [
            r#"{"type":"ping","id":"1"}"#,
            r#"{"type":"auth","id":"1","token":"a.b.c","peer_id":"alice"}"#,
            r#"{"type":"auth","id":"1","token":"a.b.c","peer_id":"alice","proof":"x.y.z"}"#,
            r#"{"type":"presence","id":"1","action":"list"}"#,
            r#"{"type":"presence","id":"1","action":"set_status","status":"away"}"#,
            r#"{"type":"session","id":"1","to":"bob"}"#,
            r#"{"type":"signal","id":"1","session_id":"s","signal":{"type":"bye"}}"#,
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn all_violations_come_at_once_with_the_frames_id() {
        let bad = parse(r#"{"type":"auth","id":"7","token":"a b","peer_id":"","extra":1}"#).unwrap_err();
        assert_eq!(bad.id.as_deref(), Some("7"));
        let named: Vec<&str> = bad.violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, ["extra", "token", "peer_id"]);
    }

    #[test]
    fn a_field_must_fit_its_type_and_action() {
        assert_eq!(fields(r#"{"type":"ping","id":"1","token":"x"}"#), ["token"]);
        assert_eq!(fields(r#"{"type":"presence","id":"1","action":"list","status":"away"}"#), ["status"]);
        assert_eq!(fields(r#"{"type":"presence","id":"1","action":"set_status","status":"offline"}"#), ["status"]);
        assert_eq!(fields(r#"{"type":"signal","id":"1","session_id":"s","signal":{"type":"wave"}}"#), ["signal"]);
    }

    #[test]
    fn what_is_no_frame_is_told_so() {
        assert_eq!(fields("nonsense"), ["frame"]);
        assert_eq!(fields("[]"), ["frame"]);
        assert_eq!(fields("{}"), ["id", "type"]);
        assert_eq!(fields(r#"{"type":"dance","id":"1"}"#), ["type"]);
        assert_eq!(
            fields(&format!(r#"{{"type":"auth","id":"1","peer_id":"a","token":"{}"}}"#, "x".repeat(10_001))),
            ["token"]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
