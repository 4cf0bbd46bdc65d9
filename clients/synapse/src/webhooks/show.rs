//! Answers as people read them.

use std::fmt::Write;

use serde_json::Value;

use super::moment;

/// A page of events as a table.
pub(super) fn list(answer: &Value) -> String {
    let events = items(answer, "events");
    let rows = events.iter().map(|event| {
        let about =
            ["stripe_subscription_id", "customer", "object_id"].into_iter().find_map(|name| event[name].as_str());
        let repeats = event["repeats"].as_u64().unwrap_or(0);
        [
            moment::text(event["received_ms"].as_u64()),
            word(&event["state"]),
            word(&event["type"]),
            word(&event["id"]),
            about.unwrap_or("-").to_owned(),
            if repeats > 0 { format!("{repeats}×") } else { String::new() },
        ]
    });
    let mut text = table(["RECEIVED", "STATE", "TYPE", "ID", "ABOUT", "AGAIN"], rows.collect());
    if events.is_empty() {
        text = "no events\n".to_owned();
    }
    more(&mut text, answer);
    text
}

/// One event: what became of it, its facts, its body.
pub(super) fn event(answer: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name:<14}{value}");
    };
    line("id", word(&answer["id"]));
    line("received", moment::text(answer["received_ms"].as_u64()));
    for (name, field) in [
        ("type", "type"),
        ("state", "state"),
        ("why", "reason"),
        ("detail", "detail"),
        ("endpoint", "endpoint"),
        ("api version", "api_version"),
        ("livemode", "livemode"),
        ("account", "account"),
        ("object", "object_id"),
        ("customer", "customer"),
        ("subscription", "stripe_subscription_id"),
        ("tenant", "tenant"),
        ("ours", "subscription_id"),
        ("came again", "repeats"),
        ("replays", "replays"),
    ] {
        let value = &answer[field];
        if !value.is_null() && *value != 0 {
            line(name, word(value));
        }
    }
    for fact in items(answer, "published") {
        let (kind, key) = (word(&fact["kind"]), word(&fact["key"]));
        line("fact", format!("{kind} {key} number {} id {}", fact["sequence"], word(&fact["event_id"])));
    }
    match (answer["body"].as_str(), answer["body_base64"].as_str()) {
        (Some(body), _) => text + "\n" + &printable(body) + "\n",
        (None, Some(base64)) => text + "\nthe body is no text; base64:\n" + base64 + "\n",
        (None, None) => text,
    }
}

/// What a replay did, with every difference.
pub(super) fn replay(answer: &Value) -> String {
    let events = items(answer, "events");
    let dry = answer["dry_run"] == true;
    let rows = events.iter().map(|event| {
        let facts =
            items(event, "facts").iter().map(|fact| format!("{} ({})", word(&fact["kind"]), word(&fact["change"])));
        let facts = facts.collect::<Vec<_>>().join(", ");
        let why = event["why"].as_str().map(printable);
        let then = why.unwrap_or(facts);
        [
            moment::text(event["received_ms"].as_u64()),
            word(&event["action"]),
            word(&event["type"]),
            word(&event["id"]),
            then,
        ]
    });
    let mut text = table(["RECEIVED", if dry { "WOULD" } else { "DID" }, "TYPE", "ID", "FACTS"], rows.collect());
    for event in events {
        for fact in items(event, "facts") {
            for field in items(fact, "fields") {
                let (id, name) = (word(&event["id"]), word(&field["field"]));
                let _ = writeln!(text, "{id} {}: {name}: {} → {}", word(&fact["kind"]), field["was"], field["now"]);
            }
        }
    }
    let _ = writeln!(
        text,
        "{} event{}{}",
        events.len(),
        if events.len() == 1 { "" } else { "s" },
        if dry { ", nothing was done" } else { "" }
    );
    more(&mut text, answer);
    text
}

fn more(text: &mut String, answer: &Value) {
    if let Some(next) = answer["next"].as_str() {
        let _ = writeln!(text, "there may be more: --after {next}");
    }
}

fn items<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// What came from outside must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(head.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_a_table_and_says_how_to_go_on() {
        let answer = json!({"next": "abc", "events": [
            {"id": "evt_1", "type": "invoice.paid", "state": "published", "received_ms": 1_790_000_000_000_u64,
             "stripe_subscription_id": "sub_1", "repeats": 2},
            {"id": "b64", "state": "quarantined", "received_ms": 1_790_000_000_000_u64, "repeats": 0},
        ]});
        let expected = "\
RECEIVED              STATE        TYPE          ID     ABOUT  AGAIN
2026-09-21T14:13:20Z  published    invoice.paid  evt_1  sub_1  2×
2026-09-21T14:13:20Z  quarantined  -             b64    -
there may be more: --after abc
";
        assert_eq!(list(&answer), expected);
        assert_eq!(list(&json!({"events": [], "next": null})), "no events\n");
    }

    #[test]
    fn a_dry_run_shows_every_difference() {
        let fields = json!([{"field": "hinted_status", "was": "active", "now": null}]);
        let fact = json!({"kind": "a.v1", "change": "changed", "fields": fields});
        let event = json!({"id": "evt_1", "type": "x", "received_ms": 0, "action": "resend", "facts": [fact]});
        let text = replay(&json!({"dry_run": true, "events": [event], "next": null}));
        assert!(text.contains("WOULD") && text.contains("a.v1 (changed)"), "{text}");
        assert!(text.contains("evt_1 a.v1: hinted_status: \"active\" → null"), "{text}");
        assert!(text.ends_with("1 event, nothing was done\n"), "{text}");
    }

    #[test]
    fn what_stripe_sent_does_not_steer_the_terminal() {
        let text = event(&json!({"id": "evt_\u{1b}[2J", "state": "unmapped", "body": "{\"a\":\n1}\u{7}"}));
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}') && text.contains("{\"a\":\n1}"), "{text}");
    }
}
