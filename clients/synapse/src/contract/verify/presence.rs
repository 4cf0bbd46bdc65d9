//! Presence: peers come, change and go, each fact once, stale askers without effect.

use std::time::Duration;

use serde_json::{Value, json};

use super::asking::{Answer, Asked, Deadline, Run, event, request, signal};
use super::bodies;
use super::book::Offence;

pub(super) const CONNECT: &str = "presence.connect.v1";
pub(super) const DISCONNECT: &str = "presence.disconnect.v1";
const SET_STATUS: &str = "presence.set_status.v1";
const LOOKUP: &str = "presence.lookup.v1";
const LIST: &str = "presence.list.v1";
const DESCRIBE: &str = "presence.describe.v1";
const COUNT: &str = "presence.count.v1";
pub(super) const ONLINE: &str = "presence.peer_went_online.v1";
pub(super) const OFFLINE: &str = "presence.peer_went_offline.v1";
const STATUS_CHANGED: &str = "presence.peer_status_changed.v1";
const DESCRIBED: &str = "presence.peer_described.v1";
const CHANGED: &str = "presence.changed.v1";
const HEARTBEAT: &str = "presence.heartbeat.v1";

/// All of presence. A step that later ones stand on ends the scenario when it fails.
pub(super) async fn check(run: &Run<'_>) {
    unknown_peers(run).await;
    if let Some(lease_ms) = connect(run).await {
        again(run).await;
        status(run).await;
        description(run).await;
        heartbeat(run, lease_ms).await;
        list(run).await;
        choices_and_counts(run).await;
        disconnect(run).await;
    }
    bodies_of_all(run).await;
}

pub(super) fn connecting(run: &Run<'_>, peer: &str, user: &str, connection: &str) -> Value {
    json!({
        "peer_id": peer, "user_id": user, "node_id": run.node, "connection_id": connection,
        "subscription_id": "verify", "proof_ver": 1,
    })
}

async fn bodies_of_all(run: &Run<'_>) {
    bodies::check(run, LOOKUP, &json!({"peer_id": "verify-nobody"})).await;
    bodies::check(run, LIST, &json!({"limit": 1})).await;
    bodies::check(run, COUNT, &json!({"room": "verify"})).await;
    bodies::check(run, DESCRIBE, &json!({"peer_id": "verify-nobody", "generation": 1, "tags": ["verify"]})).await;
    let gone = json!({"peer_id": "verify-nobody", "generation": 1, "reason": "left"});
    bodies::check(run, DISCONNECT, &gone).await;
    bodies::check(run, SET_STATUS, &json!({"peer_id": "verify-nobody", "generation": 1, "status": "away"})).await;
    // The same connection again and again: one place, one fact.
    let body = connecting(run, "verify-bodies", "verify", "verify-c9");
    bodies::check(run, CONNECT, &body).await;
    let body = json!({"peer_id": "verify-bodies"});
    if let Ok(view) = run.ask(LOOKUP, &body).await.ok() {
        note_here(run, "verify-bodies", &view);
        let came = |payload: &Value| payload["peer_id"] == "verify-bodies";
        run.expect_event(ONLINE, "it is told when a peer connects", None, came).await;
    }
}

fn note_here(run: &Run<'_>, peer: &str, view: &Value) {
    let mut traces = run.traces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    traces.peers.insert(peer.to_owned(), view["generation"].as_u64().unwrap_or(1));
}

/// Lookups, leaves and changes of a peer that never was.
async fn unknown_peers(run: &Run<'_>) {
    let refused = "an unknown peer is refused";
    let asked = run.ask(LOOKUP, &json!({"peer_id": "verify-nobody"})).await;
    run.book.judge(&request(LOOKUP), refused, asked.refused("unknown_peer"));
    let gone = json!({"peer_id": "verify-nobody", "generation": 1, "reason": "left"});
    let asked = run.ask(DISCONNECT, &gone).await;
    run.book.judge(&request(DISCONNECT), refused, asked.refused("unknown_peer"));
    let asked = run.ask(SET_STATUS, &json!({"peer_id": "verify-nobody", "generation": 1, "status": "away"})).await;
    run.book.judge(&request(SET_STATUS), refused, asked.refused("unknown_peer"));
}

/// The first connection; gives the lease.
async fn connect(run: &Run<'_>) -> Option<u64> {
    let asked = run.ask(CONNECT, &connecting(run, "verify-alice", "verify", "verify-c1")).await;
    let reply = run.book.judge(&request(CONNECT), "a peer's first connection is generation 1", first(&asked))?;
    note_here(run, "verify-alice", &reply);
    run.expect_event(ONLINE, "it is told when a peer connects", Some(&asked), |payload| is_alice(payload, 1)).await;
    // The fact is out: what it says must be true for whoever asks now.
    let seen = lookup(run).await.and_then(|view| expect(&view, "status", &json!("online")).map(|()| view));
    let seen = seen.and_then(|view| expect(&view, "node_id", &json!(run.node)));
    run.book.judge(&event(ONLINE), "what it says is true by then", seen);
    run.expect_signal(CHANGED, "it is signalled when a peer comes", |payload| payload["peer"]["status"] == "online")
        .await;
    reply["lease_ms"].as_u64()
}

fn first(asked: &Asked) -> Result<Value, Offence> {
    let reply = asked.ok()?;
    expect(&reply, "generation", &json!(1)).map(|()| reply)
}

fn is_alice(payload: &Value, generation: u64) -> bool {
    payload["peer_id"] == "verify-alice" && payload["generation"] == generation
}

async fn lookup(run: &Run<'_>) -> Result<Value, Offence> {
    run.ask(LOOKUP, &json!({"peer_id": "verify-alice"})).await.ok()
}

/// Whether a field says what it should.
pub(super) fn expect(value: &Value, field: &str, expected: &Value) -> Result<(), Offence> {
    if value[field] == *expected {
        return Ok(());
    }
    Err(Offence::new(format!("{field} {expected}"), format!("{field} {}", value[field])).with(value))
}

/// The same connection, another user, a newer connection, one that comes too late.
async fn again(run: &Run<'_>) {
    let promise = request(CONNECT);
    let asked = run.ask(CONNECT, &connecting(run, "verify-alice", "verify", "verify-c1")).await;
    run.book.judge(&promise, "the same connection again changes nothing", first(&asked));
    let asked = run.ask(CONNECT, &connecting(run, "verify-alice", "somebody-else", "verify-c7")).await;
    run.book.judge(&promise, "another user's peer is refused", asked.refused("not_owner"));
    let late = connecting(run, "verify-alice", "verify", "verify-c8").to_string();
    let asked = run.ask_raw(CONNECT, late.into(), Deadline::Passed).await;
    run.book.judge(&promise, "after its deadline nothing is done", asked.too_late());
    let stands = lookup(run).await.and_then(|view| expect(&view, "generation", &json!(1)));
    run.book.judge(&promise, "what was refused, late or doubled left no trace", stands);
    let asked = run.ask(CONNECT, &connecting(run, "verify-alice", "verify", "verify-c2")).await;
    let second = asked.ok().and_then(|reply| expect(&reply, "generation", &json!(2)).map(|()| reply));
    if let Some(reply) = run.book.judge(&promise, "a newer connection takes over", second) {
        note_here(run, "verify-alice", &reply);
        run.expect_event(ONLINE, "it is told when a newer connection takes over", Some(&asked), |payload| {
            is_alice(payload, 2)
        })
        .await;
    }
    let promise = request(DISCONNECT);
    let stale = run.ask(DISCONNECT, &json!({"peer_id": "verify-alice", "generation": 1, "reason": "left"})).await;
    let stale = stale.ok().and_then(|reply| expect(&reply, "went_offline", &json!(false)));
    run.book.judge(&promise, "a leave of an older connection changes nothing", stale);
    let stands = lookup(run).await.and_then(|view| expect(&view, "status", &json!("online")));
    run.book.judge(&promise, "after a stale leave the peer is still here", stands);
}

async fn status(run: &Run<'_>) {
    let promise = request(SET_STATUS);
    let set =
        |generation: u64, status: &str| json!({"peer_id": "verify-alice", "generation": generation, "status": status});
    let asked = run.ask(SET_STATUS, &set(1, "away")).await;
    run.book.judge(&promise, "an older connection is refused", asked.refused("stale_generation"));
    let asked = run.ask(SET_STATUS, &set(2, "connecting")).await;
    let refused = asked.refused("invalid_transition").and_then(|refusal| {
        expect(&refusal, "from", &json!("online"))?;
        expect(&refusal, "to", &json!("connecting"))
    });
    run.book.judge(&promise, "a change that the machine does not have is refused", refused);
    let asked = run.ask(SET_STATUS, &set(2, "away")).await;
    let done = asked.ok().and_then(|view| expect(&view, "status", &json!("away")));
    if run.book.judge(&promise, "a peer may change its status", done).is_some() {
        let fits = |payload: &Value| is_alice(payload, 2) && payload["status"] == "away";
        run.expect_event(STATUS_CHANGED, "it is told when a peer changes its status", Some(&asked), fits).await;
        run.expect_signal(CHANGED, "it is signalled when a peer changes", |payload| {
            payload["peer"]["status"] == "away"
        })
        .await;
    }
    let asked = run.ask(SET_STATUS, &set(2, "away")).await;
    let done = asked.ok().and_then(|view| expect(&view, "status", &json!("away")));
    run.book.judge(&promise, "the same status again changes nothing", done);
}

async fn description(run: &Run<'_>) {
    let promise = request(DESCRIBE);
    let describe = |generation: u64, tags: Value| json!({"peer_id": "verify-alice", "generation": generation, "tags": tags, "rooms": ["verify"]});
    let asked = run.ask(DESCRIBE, &describe(1, json!(["blue"]))).await;
    run.book.judge(&promise, "an older connection is refused", asked.refused("stale_generation"));
    let asked = run.ask(DESCRIBE, &describe(2, json!(["a b"]))).await;
    run.book.judge(&promise, "a tag that breaks its rule is refused", asked.refused("invalid"));
    let asked = run.ask(DESCRIBE, &describe(2, json!(["blue"]))).await;
    let done = asked.ok().and_then(|view| expect(&view["profile"], "tags", &json!(["blue"])));
    if run.book.judge(&promise, "a peer tells of itself", done).is_some() {
        let fits = |payload: &Value| is_alice(payload, 2) && payload["profile"]["tags"] == json!(["blue"]);
        run.expect_event(DESCRIBED, "it is told when a peer tells of itself", Some(&asked), fits).await;
    }
    let asked = run.ask(DESCRIBE, &describe(2, json!(["blue"]))).await;
    let done = asked.ok().and_then(|view| expect(&view["profile"], "tags", &json!(["blue"])));
    run.book.judge(&promise, "the same again changes nothing", done);
}

/// Alice is in the room `verify` with the tag `blue`; Bob is here, too.
async fn choices_and_counts(run: &Run<'_>) {
    let promise = request(LIST);
    let list = |filter: Value| json!({"limit": 10, "filter": filter});
    let fitting = async {
        let page = run.ask(LIST, &list(json!({"room": "verify", "tag": "blue"}))).await.ok()?;
        expect(&page["peers"][0], "peer_id", &json!("verify-alice"))?;
        expect(&json!({"peers": page["peers"].as_array().map_or(0, Vec::len)}), "peers", &json!(1))?;
        let page = run.ask(LIST, &list(json!({"room": "verify", "tag": "red"}))).await.ok()?;
        expect(&page, "peers", &json!([]))
    };
    run.book.judge(&promise, "a choice gives those who fit all of it", fitting.await);
    let asked = run.ask(LIST, &list(json!({"tag": "a b"}))).await;
    run.book.judge(&promise, "a choice that breaks its rule is refused", asked.refused("invalid_page"));

    let promise = request(COUNT);
    let counted = async {
        let counts = run.ask(COUNT, &json!({"room": "verify", "node_id": run.node})).await.ok()?;
        expect(&counts, "room", &json!(1))?;
        // Other scenarios have peers here, too.
        let both = |name: &str| counts[name].as_u64() >= Some(2);
        let found = json!({"at least two here": both("here"), "at least two at the gateway": both("node")});
        expect(&found, "at least two here", &json!(true))?;
        expect(&found, "at least two at the gateway", &json!(true))
    };
    run.book.judge(&promise, "it counts who is here, in a room, at a gateway", counted.await);
    let asked = run.ask(COUNT, &json!({"room": "a b"})).await;
    run.book.judge(&promise, "a room's name that breaks its rule is refused", asked.refused("invalid"));
}

/// A heartbeat renews a lease of which a third is over; sooner it writes nothing, by design.
async fn heartbeat(run: &Run<'_>, lease_ms: u64) {
    let (promise, name) = (signal(HEARTBEAT), "it renews the lease");
    let wait = Duration::from_millis(lease_ms / 3 + 200);
    if wait > run.limits.patience {
        let why = format!(
            "a lease of {lease_ms} ms is renewed only when a third is over; wait for it with --patience-ms {}",
            wait.as_millis()
        );
        run.book.untestable(&promise, name, why);
        return;
    }
    run.clock.sleep(wait).await;
    let Ok(before) = lookup(run).await else { return };
    let beat = |generation: u64| {
        let peers = json!([{"peer_id": "verify-alice", "generation": generation}]);
        json!({"node_id": run.node, "peers": peers}).to_string()
    };
    for generation in [1, 2] {
        let envelope = run.envelope(HEARTBEAT, beat(generation).into(), run.trail());
        if let Err(error) = run.bus.signal(contracts::signals::EVERYBODY, envelope).await {
            run.book.untestable(&promise, name, error.to_string());
            return;
        }
    }
    let was = before["lease_until_ms"].as_u64().unwrap_or_default();
    let renewed = async {
        loop {
            match lookup(run).await {
                Ok(view) if view["lease_until_ms"].as_u64().unwrap_or_default() > was => return,
                _ => run.clock.sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let outcome = run.clock.timeout(run.limits.patience, renewed).await;
    let outcome = outcome.ok_or_else(|| {
        Offence::new(format!("a lease that ends later than {was}"), "the lease as it was, after a heartbeat")
    });
    run.book.judge(&promise, name, outcome);
}

/// Says that our peers are alive; the one whose lease is looked at aside.
pub(super) async fn beat(run: &Run<'_>) {
    let peers = run.traces.lock().unwrap_or_else(std::sync::PoisonError::into_inner).peers.clone();
    let heard = peers.iter().filter(|(peer, _)| *peer != "verify-alice");
    let heard: Vec<Value> =
        heard.map(|(peer, generation)| json!({"peer_id": peer, "generation": generation})).collect();
    if heard.is_empty() {
        return;
    }
    let beat = json!({"node_id": run.node, "peers": heard}).to_string();
    // One that is lost is made up for by the next.
    let _ = run.bus.signal(contracts::signals::EVERYBODY, run.envelope(HEARTBEAT, beat.into(), run.trail())).await;
}

async fn list(run: &Run<'_>) {
    let promise = request(LIST);
    let asked = run.ask(CONNECT, &connecting(run, "verify-bob", "verify", "verify-b1")).await;
    let Ok(reply) = asked.ok() else { return };
    note_here(run, "verify-bob", &reply);
    let bob = |payload: &Value| payload["peer_id"] == "verify-bob";
    run.expect_event(ONLINE, "it is told when a peer connects", Some(&asked), bob).await;
    for (name, body) in [
        ("a page of no peers is refused", json!({"limit": 0})),
        ("a page of too many peers is refused", json!({"limit": 101})),
        ("a page token of nobody is refused", json!({"limit": 1, "after": "!"})),
    ] {
        let asked = run.ask(LIST, &body).await;
        run.book.judge(&promise, name, asked.refused("invalid_page"));
    }
    let pages = async {
        let one = run.ask(LIST, &json!({"limit": 1})).await.ok()?;
        expect(&one["peers"][0], "peer_id", &json!("verify-alice"))?;
        let two = run.ask(LIST, &json!({"limit": 1, "after": one["next"]})).await.ok()?;
        expect(&two["peers"][0], "peer_id", &json!("verify-bob"))
    };
    run.book.judge(&promise, "pages follow each other, by id, of this tenant alone", pages.await);
}

async fn disconnect(run: &Run<'_>) {
    let promise = request(DISCONNECT);
    let leave = json!({"peer_id": "verify-alice", "generation": 2, "reason": "left"});
    let asked = run.ask(DISCONNECT, &leave).await;
    let left = asked.ok().and_then(|reply| expect(&reply, "went_offline", &json!(true)));
    if run.book.judge(&promise, "a leave takes the peer offline", left).is_none() {
        return;
    }
    run.traces.lock().unwrap_or_else(std::sync::PoisonError::into_inner).peers.remove("verify-alice");
    let fits = |payload: &Value| is_alice(payload, 2) && payload["reason"] == "left";
    run.expect_event(OFFLINE, "it is told when a peer leaves", Some(&asked), fits).await;
    run.expect_signal(CHANGED, "it is signalled when a peer leaves", |payload| payload["peer"]["status"] == "offline")
        .await;
    let seen = lookup(run).await.and_then(|view| expect(&view, "status", &json!("offline")));
    run.book.judge(&event(OFFLINE), "what it says is true by then", seen);
    run.book.judge(&request(LOOKUP), "a peer that left is known as offline", lookup(run).await.map(drop));
    let asked = run.ask(DISCONNECT, &leave).await;
    let outcome = match &asked.answer {
        Answer::Ok(reply) => expect(reply, "went_offline", &json!(false)),
        _ => asked.ok().map(drop),
    };
    run.book.judge(&promise, "a second leave changes nothing", outcome);
}
