//! The client protocol, rule by rule, against the whole fleet; and that rules and cases fit.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use auth::{Grant, Role, TokenMinter};
use clock::Clock;
use synapse::conformance::{Development, Format, Levers, MintToken, Papers, Report, Target, all, run};
use synapsed::development::{PRICE, STRIPE_KEY};

use crate::running::{Running, set};

const DOCUMENT: &str = include_str!("../../../../docs/protocol.md");

/// A fleet with limits that are quickly reached, and what the suite needs of it.
pub(crate) async fn fleet() -> (Running, Target) {
    let mut secret = String::new();
    let running = Running::start(|overrides, _| {
        for (key, value) in [
            ("HEARTBEAT_MS", "5000"),
            ("AUTH_WITHIN_MS", "5000"),
            ("ACK_WITHIN_MS", "2000"),
            ("TICKET_TTL_MS", "3000"),
            ("HISTORY_FRAMES", "40"),
            ("MAX_PENDING_MESSAGES", "16"),
            ("MAX_ROOMS", "4"),
            ("MAX_BAD_FRAMES", "5"),
            ("MAX_FRAME_BYTES", "65536"),
        ] {
            set(overrides, &format!("GATEWAY__{key}"), value);
        }
        let known = overrides.iter().find(|(name, _)| name == "SYNAPSE_GATEWAY__TOKEN_SECRET");
        secret = known.expect("development has a secret").1.clone();
    })
    .await;
    running.point_webhooks().await;
    let stripe = Some((running.stripe.base_url().to_owned(), STRIPE_KEY.to_owned()));
    let target = Target {
        url: running.url("/v1/ws").replacen("http", "ws", 1),
        token: running.token(),
        papers: Papers::Development(Development { price: PRICE.into(), stripe }),
        levers: Levers { mint: Some(mint(secret)), drain: None },
    };
    (running, target)
}

/// Tokens of development's user that end when asked to.
fn mint(secret: String) -> MintToken {
    const HOUR_MS: u64 = 3_600_000;
    let minter = TokenMinter::hs256("synapse", "synapse-gateway", "hs-1", secret.into()).unwrap();
    Arc::new(move |ends_in_ms| {
        let (tenant, user) = ("development".parse().unwrap(), "developer".parse().unwrap());
        // An hour ago, so that what ended lately was good once.
        let began_ms = Clock::system().now_ms() - HOUR_MS;
        let ttl_ms = HOUR_MS.checked_add_signed(ends_in_ms).unwrap();
        minter.mint(&Grant { tenant, user, role: Role::Admin, ttl_ms, token_id: "t-1".into() }, began_ms)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_the_protocol_holds() {
    let (running, mut target) = fleet().await;
    let fleet = Arc::new(Mutex::new(Some(running)));
    let stopping = Arc::clone(&fleet);
    target.levers.drain = Some(Arc::new(move || {
        let running = stopping.lock().unwrap().take();
        Box::pin(async move {
            if let Some(running) = running {
                running.stop().await;
            }
        })
    }));
    let report = run(target, &Clock::system(), "").await.unwrap();
    let text = report.render(Format::Text);
    assert!(report.ok(), "{text}");
    assert!(!text.contains("not run:"), "{text}");
    assert!(report.verdicts.len() >= 100, "{}", report.verdicts.len());
    assert!(fleet.lock().unwrap().is_none(), "the last case stopped the fleet");
}

#[test]
fn every_rule_has_a_case_and_every_case_a_rule() {
    let documented: BTreeSet<&str> =
        DOCUMENT.split("**[").skip(1).filter_map(|rest| rest.split_once("]**")).map(|(rule, _)| rule).collect();
    let tried: BTreeSet<&str> = all().iter().map(|case| case.rule).collect();
    let without_case: Vec<_> = documented.difference(&tried).collect();
    let without_rule: Vec<_> = tried.difference(&documented).collect();
    assert!(without_case.is_empty() && without_rule.is_empty(), "no case: {without_case:?}; no rule: {without_rule:?}");
    assert!(documented.len() >= 100, "{}", documented.len());
    let mut names: Vec<_> = all().into_iter().map(|case| (case.rule, case.name)).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "two cases have one name");
}

/// With one proof, as at a system of somebody else: what one peer can see is checked, the rest is named.
#[tokio::test(flavor = "multi_thread")]
async fn one_proof_is_enough_for_a_part() {
    let (running, target) = fleet().await;
    let proof = running.proof("one-proof", "alice").await;
    let target = Target { papers: Papers::Proof(proof), ..target };
    let report: Report = run(target, &Clock::system(), "F-9").await.unwrap();
    assert!(report.ok() && report.verdicts.len() >= 5, "{}", report.render(Format::Text));
    running.stop().await;
}
