use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn write(root: &Path, path: &str, value: &Value) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, value.to_string()).unwrap();
}

fn schema(fields: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": fields, "required": required})
}

const EVENT: &str = "presence.peer_went_offline.v1";

/// A checkout with one message, read by signaling: `peer_id`, and nothing else.
fn checkout(message: Option<&Value>, reads: bool) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "tests/contract/golden/presence.other.v1/schema.1.json", &schema(json!({}), &[]));
    if let Some(message) = message {
        write(root.path(), &format!("tests/contract/golden/{EVENT}/schema.1.json"), message);
    }
    write(root.path(), "libs/contracts/topology.json", &json!({EVENT: ["signaling"]}));
    if reads {
        let reads = json!({"service": "signaling", "reads": {EVENT: {"peer_id": {"types": ["string"]}}}});
        write(root.path(), "services/signaling/contract/reads.json", &reads);
    }
    root
}

fn difference(old: Option<&Value>, new: Option<&Value>, reads: bool) -> Difference {
    let (old, new) = (checkout(old, false), checkout(new, reads));
    diff(&old.path().display().to_string(), &new.path().display().to_string()).unwrap()
}

fn both() -> Value {
    schema(json!({"peer_id": {"type": "string"}, "reason": {"type": "string"}}), &["peer_id", "reason"])
}

#[test]
fn the_same_sets_differ_in_nothing() {
    let same = diff("built-in", "built-in").unwrap();
    assert!(same.ok && same.changes.is_empty() && same.compared > 30);
    assert!(difference(Some(&both()), Some(&both()), true).changes.is_empty());
}

#[test]
fn dropping_what_nobody_reads_breaks_nobody() {
    let less = schema(json!({"peer_id": {"type": "string"}}), &["peer_id"]);
    let found = difference(Some(&both()), Some(&less), true);
    assert!(found.ok, "{}", found.text());
    assert!(
        found.text().contains("drops the field `reason`") && found.text().contains("breaks nobody"),
        "{}",
        found.text()
    );
    // Where nobody recorded what is read, everything is.
    let blind = difference(Some(&both()), Some(&less), false);
    assert!(!blind.ok && blind.text().contains("BREAKS signaling (not recorded"), "{}", blind.text());
}

#[test]
fn dropping_or_retyping_what_is_read_breaks_its_reader() {
    for new in [
        schema(json!({"reason": {"type": "string"}}), &["reason"]),
        schema(json!({"peer_id": {"type": "integer"}, "reason": {"type": "string"}}), &["peer_id", "reason"]),
    ] {
        let found = difference(Some(&both()), Some(&new), true);
        assert!(!found.ok && found.text().contains("BREAKS signaling, which reads `peer_id`"), "{}", found.text());
    }
}

#[test]
fn an_added_field_a_new_and_a_removed_message_are_told() {
    let more = schema(
        json!({"peer_id": {"type": "string"}, "reason": {"type": "string"}, "at_ms": {"type": "integer"}}),
        &["peer_id", "reason"],
    );
    let text = difference(Some(&both()), Some(&more), true).text();
    assert!(text.contains("adds the optional field `at_ms` (integer)") && text.contains("breaks nobody"), "{text}");
    assert!(difference(None, Some(&both()), true).text().contains("is new"));
    let gone = difference(Some(&both()), None, true);
    assert!(!gone.ok && gone.text().contains("BREAKS signaling, which reads it"), "{}", gone.text());
}

#[test]
fn a_place_without_contracts_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let error = diff("built-in", &empty.path().display().to_string()).unwrap_err().to_string();
    assert!(error.contains("no <kind>/schema.N.json"), "{error}");
}

#[test]
fn paths_of_the_gate_and_of_reads_meet() {
    assert_eq!(normal("$<type=offer>.sdp"), "sdp");
    assert_eq!(normal("$.peers[].status"), "peers[].status");
    assert!(touches("peers", "peers[].status") && touches("", "x") && !touches("peer", "peers[].status"));
}

#[test]
fn a_baseline_is_a_set_and_its_services_still_read() {
    let less = schema(json!({"peer_id": {"type": "string"}}), &["peer_id"]);
    let checkout = checkout(Some(&both()), true);
    write(checkout.path(), &format!("tests/contract/golden/{EVENT}/schema.2.json"), &less);
    let ending = json!({"since": "2026-02-01", "sunset": "2026-06-01", "successor": "x"});
    write(checkout.path(), &format!("tests/contract/golden/{EVENT}/deprecation.json"), &ending);
    let release = json!({"date": "2026-01-01", "revisions": {EVENT: 1}});
    write(checkout.path(), "tests/contract/released/0.1.0/release.json", &release);
    let reads = json!({"service": "webhook", "reads": {EVENT: {"reason": {"types": ["string"]}}}});
    write(checkout.path(), "tests/contract/released/0.1.0/reads/webhook.json", &reads);
    let old = checkout.path().join("tests/contract/released/0.1.0").display().to_string();
    let found = diff(&old, &checkout.path().display().to_string()).unwrap();
    let text = found.text();
    assert!(!found.ok && text.contains("BREAKS webhook 0.1.0, which reads `reason`"), "{text}");
    assert!(text.contains("presence.other.v1\n    is new") && text.contains("will end on 2026-06-01"), "{text}");
    assert!(!text.contains("BREAKS signaling"), "{text}");
}
