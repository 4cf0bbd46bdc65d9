//! Presence: what a peer tells of itself, and how many are here.

use serde_json::{Value, json};

use super::asking::{Run, request};
use super::bodies;
use super::book::Offence;
use super::presence::is_alice;

const DESCRIBE: &str = "presence.describe.v1";
const COUNT: &str = "presence.count.v1";
const DESCRIBED: &str = "presence.peer_described.v1";

/// Of the peer that is here, on its second connection.
pub(super) async fn check(run: &Run<'_>) {
    let tells =
        |peer: &str, generation: u64, tag: &str| json!({"peer_id": peer, "generation": generation, "tags": [tag]});
    for (name, body, code) in [
        ("an older connection is refused", tells("verify-alice", 1, "verify"), "stale_generation"),
        ("a tag that is none is refused", tells("verify-alice", 2, ""), "invalid"),
        ("an unknown peer is refused", tells("verify-nobody", 1, "verify"), "unknown_peer"),
    ] {
        let asked = run.ask(DESCRIBE, &body).await;
        run.book.judge(&request(DESCRIBE), name, asked.refused(code));
    }
    let asked = run.ask(DESCRIBE, &tells("verify-alice", 2, "verify")).await;
    if run.book.judge(&request(DESCRIBE), "a peer may describe itself", asked.ok()).is_some() {
        let fits = |payload: &Value| is_alice(payload, 2) && payload["profile"]["tags"] == json!(["verify"]);
        run.expect_event(DESCRIBED, "it is told when a peer describes itself", Some(&asked), fits).await;
        // A second fact would be one more than anything caused: the audit looks for it.
        let again = run.ask(DESCRIBE, &tells("verify-alice", 2, "verify")).await;
        run.book.judge(&request(DESCRIBE), "the same again changes nothing", again.ok());
    }
    let asked = run.ask(COUNT, &json!({"node_id": run.node})).await;
    let counted = asked.ok().and_then(|counts| match counts["here"].as_u64() {
        Some(1..) => Ok(()),
        _ => Err(Offence::new("`here` of at least 1", counts["here"].to_string()).with(&counts)),
    });
    run.book.judge(&request(COUNT), "a connected peer is counted", counted);
    let asked = run.ask(COUNT, &json!({"room": ""})).await;
    run.book.judge(&request(COUNT), "a room that is none is refused", asked.refused("invalid"));
    bodies::check(run, DESCRIBE, &tells("verify-nobody", 1, "verify")).await;
    bodies::check(run, COUNT, &json!({})).await;
}
