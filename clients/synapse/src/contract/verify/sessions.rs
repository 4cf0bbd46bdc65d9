//! Signaling: refusals without a proof; sessions, signals and their ends with one.

use contracts::signals::signaling::SAMPLE_SDP as SDP;
use serde_json::{Value, json};

use super::asking::{Asked, Run, event, request, signal};
use super::book::Offence;
use super::presence::{CONNECT, DISCONNECT, OFFLINE, ONLINE, connecting};
use super::subscriptions::{Bought, WOULD_CHARGE, prove};
use super::{bodies, ear};

const OPEN: &str = "signaling.open_session.v1";
const SEND: &str = "signaling.send.v1";
const OPENED: &str = "signaling.session_opened.v1";
const ENDED: &str = "signaling.session_ended.v1";
const DELIVER: &str = "signaling.deliver.v1";

fn opening(from: &str, to: &str, proof: &str) -> Value {
    json!({"from": from, "to": to, "proof": proof})
}

fn sending(session: &str, from: &str, proof: &str, signal: &Value) -> Value {
    json!({"session_id": session, "from": from, "proof": proof, "signal": signal})
}

/// What can be asked without a proof.
pub(super) async fn check(run: &Run<'_>) {
    let asked = run.ask(OPEN, &opening("verify-a", "verify-a", "x.y.z")).await;
    run.book.judge(&request(OPEN), "a call to oneself is refused", asked.refused("same_peer"));
    let asked = run.ask(OPEN, &opening("verify-a", "verify-b", "x.y.z")).await;
    run.book.judge(&request(OPEN), "without a good proof nothing opens", asked.refused("proof_refused"));
    let bye = json!({"type": "bye"});
    let body = sending("verify-none", "verify-a", "x.y.z", &bye);
    let asked = run.ask(SEND, &body).await;
    run.book.judge(&request(SEND), "without a good proof nothing is passed on", asked.refused("proof_refused"));
    bodies::check(run, OPEN, &opening("verify-a", "verify-b", "x.y.z")).await;
    bodies::check(run, SEND, &body).await;
    if run.stripe.is_none() {
        for promise in [event(OPENED), event(ENDED), signal(DELIVER)] {
            run.book.untestable(&promise, "a session's life", format!("needs a proof, and a proof {WOULD_CHARGE}"));
        }
    }
}

/// Two connected peers with proofs.
struct Pair {
    alice: String,
    bob: String,
    mallory: String,
}

const ALICE: &str = "verify-caller";
const BOB: &str = "verify-callee";

/// A session's whole life.
pub(super) async fn live(run: &Run<'_>, bought: &Bought) {
    let Some(pair) = arrive(run, bought).await else { return };
    let asked = run.ask(OPEN, &opening(ALICE, "verify-nobody", &pair.alice)).await;
    run.book.judge(&request(OPEN), "an unknown target is refused", asked.refused("unknown_peer"));
    let asked = run.ask(OPEN, &opening(BOB, ALICE, &pair.alice)).await;
    run.book.judge(&request(OPEN), "another peer's proof is refused", asked.refused("proof_refused"));
    let Some(session) = open(run, &pair).await else { return };
    signals(run, &pair, &session).await;
    refusals(run, &pair, &session).await;
    let asked = run.ask(SEND, &sending(&session, BOB, &pair.bob, &json!({"type": "bye", "reason": "done"}))).await;
    if run.book.judge(&request(SEND), "a bye ends the session", asked.ok()).is_some() {
        let ended = |payload: &Value| {
            payload["session_id"] == session.as_str() && payload["reason"] == "bye" && payload["by"] == BOB
        };
        run.expect_event(ENDED, "it is told when a peer says bye", Some(&asked), ended).await;
        hears(run, ALICE, "bye").await;
    }
    let asked = run.ask(SEND, &sending(&session, BOB, &pair.bob, &json!({"type": "bye"}))).await;
    run.book.judge(&request(SEND), "a session that is over is unknown", asked.refused("unknown_session"));
    losses(run, &pair).await;
}

async fn arrive(run: &Run<'_>, bought: &Bought) -> Option<Pair> {
    for (peer, connection) in [(ALICE, "verify-s1"), (BOB, "verify-s2")] {
        connect(run, peer, connection).await?;
    }
    Some(Pair {
        alice: prove(run, bought, ALICE).await?,
        bob: prove(run, bought, BOB).await?,
        mallory: prove(run, bought, "verify-mallory").await?,
    })
}

async fn connect(run: &Run<'_>, peer: &str, connection: &str) -> Option<u64> {
    let asked = run.ask(CONNECT, &connecting(run, peer, "verify", connection)).await;
    let reply = run.book.judge(&request(CONNECT), "a peer of a session connects", asked.ok())?;
    let generation = reply["generation"].as_u64()?;
    run.traces.lock().unwrap_or_else(std::sync::PoisonError::into_inner).peers.insert(peer.to_owned(), generation);
    let came = |payload: &Value| payload["peer_id"] == peer && payload["generation"] == generation;
    run.expect_event(ONLINE, "it is told when a peer connects", Some(&asked), came).await;
    Some(generation)
}

async fn open(run: &Run<'_>, pair: &Pair) -> Option<String> {
    let asked = run.ask(OPEN, &opening(ALICE, BOB, &pair.alice)).await;
    let reply = run.book.judge(&request(OPEN), "a session is opened", asked.ok())?;
    let session = reply["session_id"].as_str()?.to_owned();
    let opened = |payload: &Value| payload["session_id"] == session.as_str() && payload["peers"] == json!([ALICE, BOB]);
    run.expect_event(OPENED, "it is told when a session is opened", Some(&asked), opened).await;
    Some(session)
}

/// Every sort of signal reaches the gateway that holds the other peer, stamped by signaling.
async fn signals(run: &Run<'_>, pair: &Pair, session: &str) {
    let candidate = "candidate:1 1 udp 2130706431 127.0.0.1 49152 typ host";
    for (from, to, proof, signal) in [
        (ALICE, BOB, &pair.alice, json!({"type": "offer", "sdp": SDP, "generation": 1})),
        (BOB, ALICE, &pair.bob, json!({"type": "answer", "sdp": SDP, "generation": 1})),
        (ALICE, BOB, &pair.alice, json!({"type": "candidate", "candidate": candidate, "generation": 1})),
        (BOB, ALICE, &pair.bob, json!({"type": "restart", "generation": 2})),
    ] {
        let kind = signal["type"].as_str().unwrap_or_default().to_owned();
        let asked = run.ask(SEND, &sending(session, from, proof, &signal)).await;
        if run.book.judge(&request(SEND), &format!("a {kind} is passed on"), forwarded(&asked, to)).is_none() {
            continue;
        }
        let Some(heard) = hears(run, to, &kind).await else { continue };
        let polite = [ALICE, BOB].iter().all(|member| *member <= to);
        let outcome = if heard.payload["from"] == from && heard.payload["polite"] == polite {
            Ok(())
        } else {
            Err(Offence::new(format!("from {from}, polite {polite}"), "something else").with(&heard.payload))
        };
        run.book.judge(&super::asking::signal(DELIVER), "who sends and who yields is signaling's word", outcome);
    }
}

fn forwarded(asked: &Asked, to: &str) -> Result<(), Offence> {
    let reply = asked.ok()?;
    if reply["to"] == to { Ok(()) } else { Err(Offence::new(format!("to {to}"), "somebody else").with(&reply)) }
}

async fn hears(run: &Run<'_>, to: &str, kind: &str) -> Option<ear::Heard> {
    let fits = |payload: &Value| payload["to"] == to && payload["signal"]["type"] == kind;
    run.expect_signal(DELIVER, &format!("a {kind} reaches the peer's gateway"), fits).await
}

async fn refusals(run: &Run<'_>, pair: &Pair, session: &str) {
    let offer = |generation: u32| json!({"type": "offer", "sdp": SDP, "generation": generation});
    for (name, body, code) in [
        (
            "a signal of an older negotiation is refused",
            sending(session, ALICE, &pair.alice, &offer(1)),
            "stale_generation",
        ),
        (
            "an SDP that is none is refused",
            sending(session, ALICE, &pair.alice, &json!({"type": "offer", "sdp": "nonsense", "generation": 2})),
            "invalid_signal",
        ),
        ("a stranger is refused", sending(session, "verify-mallory", &pair.mallory, &offer(2)), "not_member"),
        (
            "a session that never was is refused",
            sending("verify-none", ALICE, &pair.alice, &offer(1)),
            "unknown_session",
        ),
    ] {
        let asked = run.ask(SEND, &body).await;
        run.book.judge(&request(SEND), name, asked.refused(code));
    }
}

/// A peer that goes offline takes its sessions along, once: the same news again, late, must not end a newer session.
async fn losses(run: &Run<'_>, pair: &Pair) {
    let Some(session) = open(run, pair).await else { return };
    let traces = || run.traces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let generation = traces().peers.get(BOB).copied().unwrap_or(1);
    let leave = json!({"peer_id": BOB, "generation": generation, "reason": "timed_out"});
    let asked = run.ask(DISCONNECT, &leave).await;
    if asked.ok().is_err() {
        return;
    }
    traces().peers.remove(BOB);
    let left = |payload: &Value| payload["peer_id"] == BOB;
    let news = run.expect_event(OFFLINE, "it is told when a peer leaves", Some(&asked), left).await;
    let ended = |payload: &Value| payload["session_id"] == session.as_str() && payload["reason"] == "peer_lost";
    run.expect_event(ENDED, "it is told when a peer was lost", None, ended).await;
    let asked = run.ask(OPEN, &opening(ALICE, BOB, &pair.alice)).await;
    run.book.judge(&request(OPEN), "a target that is offline is refused", asked.refused("peer_offline"));
    if connect(run, BOB, "verify-s3").await.is_none() {
        return;
    }
    let (Some(news), Some(session)) = (news, open(run, pair).await) else { return };
    run.deliver(news.envelope).await;
    run.quiet().await;
    let restart = json!({"type": "restart", "generation": 1});
    let asked = run.ask(SEND, &sending(&session, ALICE, &pair.alice, &restart)).await;
    run.book.judge(&event(OFFLINE), "told twice, it ends no newer session", asked.ok().map(drop));
    hears(run, BOB, "restart").await;
    let asked = run.ask(SEND, &sending(&session, ALICE, &pair.alice, &json!({"type": "bye"}))).await;
    if asked.ok().is_ok() {
        let ended = |payload: &Value| payload["session_id"] == session.as_str();
        run.expect_event(ENDED, "it is told when a peer says bye", Some(&asked), ended).await;
        hears(run, BOB, "bye").await;
    }
}
