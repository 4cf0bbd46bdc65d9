//! What the gateway reads.

use std::time::Duration;

use contracts::Contract;
use contracts::requests::presence::{ConnectV1, DisconnectV1, ListV1, LookupV1, SetStatusV1};
use contracts::requests::signaling::{OpenSessionV1, SendV1};
use contracts::requests::subscription::{CreateV1, GetV1, ListProofKeysV1, VerifyV1};
use contracts::signals::EVERYBODY;
use contracts::signals::gateway::EntitlementLostV1;
use contracts::signals::presence::ChangedV1;
use contracts::signals::signaling::DeliverV1;
use serde_json::{Value, json};
use testkit::contract::{Answers, On, ReadingSuite, TENANT, golden_facts};

use crate::harness::{World, run_unknowing};

/// What the gateway asks others.
const ASKED: [&str; 11] = [
    ConnectV1::KIND,
    DisconnectV1::KIND,
    SetStatusV1::KIND,
    LookupV1::KIND,
    ListV1::KIND,
    OpenSessionV1::KIND,
    SendV1::KIND,
    CreateV1::KIND,
    GetV1::KIND,
    VerifyV1::KIND,
    ListProofKeysV1::KIND,
];
const SIGNALS: [&str; 3] = [ChangedV1::KIND, DeliverV1::KIND, EntitlementLostV1::KIND];

/// The calls that make the gateway ask: kind, request line, headers, body.
const CALLS: [(&str, &str, &str, &str); 4] = [
    (
        CreateV1::KIND,
        "POST /v1/subscriptions",
        "Content-Type: application/json\r\nIdempotency-Key: k-1\r\n",
        r#"{"price_id":"price_team_monthly"}"#,
    ),
    (GetV1::KIND, "GET /v1/subscriptions/sub-01", "", ""),
    (
        VerifyV1::KIND,
        "POST /v1/subscriptions/sub-01/verify",
        "Content-Type: application/json\r\n",
        r#"{"peer_id":"alice"}"#,
    ),
    (LookupV1::KIND, "GET /v1/peers/alice", "", ""),
];

testkit::on_every_bus!(what_is_read_is_what_is_committed);

async fn what_is_read_is_what_is_committed(on: On) {
    run_unknowing(on, async |world| {
        let others = Answers::serve(&world.bus, &ASKED).await;
        let read: Vec<&str> = gateway::SUBSCRIPTIONS.iter().map(|line| line.kind).collect();
        let suite = ReadingSuite::start(gateway::NAME, &read, &SIGNALS, &ASKED);
        others
            .each(&suite, ListProofKeysV1::KIND, async |_| {
                // The key is unknown, and was asked for a while ago.
                world.hand.advance(Duration::from_secs(2));
                world.connect().await.refused(&world.auth_frame("alice")).await;
            })
            .await;
        world.publish_key().await;
        for (kind, line, headers, body) in CALLS {
            others.each(&suite, kind, async |_| drop(world.http(line, headers, body).await)).await;
        }
        frames(world, &others, &suite).await;
        for (kind, address) in SIGNALS.into_iter().zip([TENANT, &world.node, EVERYBODY]) {
            suite.signal_all(&world.bus, &world.clock, kind, address).await;
        }
        for fact in read.into_iter().flat_map(golden_facts) {
            world.publish(&fact).await;
        }
        suite.finish(env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR")).await;
    })
    .await;
}

/// The frames that make the gateway ask.
async fn frames(world: &World, others: &Answers, suite: &ReadingSuite) {
    others
        .each(suite, ConnectV1::KIND, async |_| {
            let mut client = world.connect().await;
            client.ask(&world.auth_frame("alice")).await;
        })
        .await;
    others.each(suite, DisconnectV1::KIND, async |_| drop(world.enter("bob").await)).await;
    let frames = [
        (SetStatusV1::KIND, json!({"type": "presence", "id": "1", "action": "set_status", "status": "away"})),
        (ListV1::KIND, json!({"type": "presence", "id": "2", "action": "list"})),
        (OpenSessionV1::KIND, json!({"type": "session", "id": "3", "to": "bob"})),
        (
            SendV1::KIND,
            json!({"type": "signal", "id": "4", "session_id": "session-01",
                "signal": {"type": "restart", "generation": 2}}),
        ),
    ];
    let mut client = world.enter("carol").await;
    for (kind, frame) in frames {
        others.each(suite, kind, async |_: &Value| drop(client.ask(&frame).await)).await;
    }
}
