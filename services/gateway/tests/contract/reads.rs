//! What the gateway reads.

use std::time::Duration;

use contracts::Contract;
use contracts::requests::billing::{ProofSnapshotV1, UsageV1};
use contracts::requests::presence::{ConnectV1, CountV1, DescribeV1, DisconnectV1, ListV1, LookupV1, SetStatusV1};
use contracts::requests::signaling::{IceServersV1, OpenSessionV1, SendV1};
use contracts::requests::subscription::{
    CancelV1, ChangePlanV1, CheckPlansV1, CreateCheckoutV1, CreatePortalV1, CreateV1, GetV1, ListPlansV1,
    ListProofKeysV1, ListV1 as ListSubscriptionsV1, ResumeV1, VerifyV1,
};
use contracts::signals::EVERYBODY;
use contracts::signals::gateway::{BroadcastV1, CallV1, EntitlementLostV1, ReplyV1};
use contracts::signals::presence::ChangedV1;
use contracts::signals::signaling::{DeliverV1, ReceiptV1};
use serde_json::{Value, json};
use testkit::contract::{Answers, On, ReadingSuite, TENANT, golden_facts};

use crate::harness::{World, run_unknowing};

/// What the gateway asks others.
const ASKED: [&str; 24] = [
    ConnectV1::KIND,
    DisconnectV1::KIND,
    SetStatusV1::KIND,
    LookupV1::KIND,
    ListV1::KIND,
    DescribeV1::KIND,
    CountV1::KIND,
    OpenSessionV1::KIND,
    SendV1::KIND,
    IceServersV1::KIND,
    CreateV1::KIND,
    GetV1::KIND,
    VerifyV1::KIND,
    ListProofKeysV1::KIND,
    ProofSnapshotV1::KIND,
    UsageV1::KIND,
    CancelV1::KIND,
    ChangePlanV1::KIND,
    CheckPlansV1::KIND,
    CreateCheckoutV1::KIND,
    CreatePortalV1::KIND,
    ListPlansV1::KIND,
    ListSubscriptionsV1::KIND,
    ResumeV1::KIND,
];
const SIGNALS: [&str; 7] = [
    ChangedV1::KIND,
    DeliverV1::KIND,
    EntitlementLostV1::KIND,
    BroadcastV1::KIND,
    CallV1::KIND,
    ReplyV1::KIND,
    ReceiptV1::KIND,
];

/// The calls that make the gateway ask: kind, request line, headers, body.
const CALLS: [(&str, &str, &str, &str); 12] = [
    (CreateV1::KIND, "POST /v1/subscriptions", KEYED, r#"{"price_id":"price_team_monthly"}"#),
    (GetV1::KIND, "GET /v1/subscriptions/sub-01", "", ""),
    (ListSubscriptionsV1::KIND, "GET /v1/subscriptions", "", ""),
    (VerifyV1::KIND, "POST /v1/subscriptions/sub-01/verify", JSON, r#"{"peer_id":"alice"}"#),
    (UsageV1::KIND, "GET /v1/subscriptions/sub-01/usage", "", ""),
    (ChangePlanV1::KIND, "POST /v1/subscriptions/sub-01/plan", KEYED, r#"{"price_id":"price_gold"}"#),
    (CancelV1::KIND, "POST /v1/subscriptions/sub-01/cancel", JSON, r#"{"at_period_end":true}"#),
    (ResumeV1::KIND, "POST /v1/subscriptions/sub-01/resume", "", ""),
    (
        CreateCheckoutV1::KIND,
        "POST /v1/subscriptions/checkout",
        KEYED,
        r#"{"price_id":"p","success_url":"https://a.example/ok","cancel_url":"https://a.example/no"}"#,
    ),
    (CreatePortalV1::KIND, "POST /v1/subscriptions/portal", JSON, r#"{"return_url":"https://a.example/"}"#),
    (ListPlansV1::KIND, "GET /v1/plans", "", ""),
    (LookupV1::KIND, "GET /v1/peers/alice", "", ""),
];
const JSON: &str = "Content-Type: application/json\r\n";
const KEYED: &str = "Content-Type: application/json\r\nIdempotency-Key: k-1\r\n";

testkit::on_every_bus!(what_is_read_is_what_is_committed);

async fn what_is_read_is_what_is_committed(on: On) {
    run_unknowing(on, async |world| {
        let others = Answers::serve(&world.bus, &ASKED).await;
        let read: Vec<&str> = gateway::SUBSCRIPTIONS.iter().map(|line| line.kind).collect();
        let suite = ReadingSuite::start(gateway::NAME, &read, &SIGNALS, &ASKED);
        // Asked for again after a while as long as it is refused or goes on.
        others.each(&suite, ProofSnapshotV1::KIND, async |_| world.hand.advance(Duration::from_secs(31))).await;
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
        let admin =
            format!("Authorization: Bearer {}\r\n", world.token_of(TENANT, "root", auth::Role::Admin, 3_600_000));
        let check = async |_: &Value| drop(world.http_as("POST /v1/plans/check", &admin, "").await);
        others.each(&suite, CheckPlansV1::KIND, check).await;
        frames(world, &others, &suite).await;
        for (kind, address) in
            SIGNALS.into_iter().zip([TENANT, &world.node, EVERYBODY, TENANT, &world.node, &world.node, &world.node])
        {
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
        (DescribeV1::KIND, json!({"type": "presence", "id": "5", "action": "describe", "tags": ["blue"]})),
        (CountV1::KIND, json!({"type": "presence", "id": "6", "action": "count", "room": "lobby"})),
        (OpenSessionV1::KIND, json!({"type": "session", "id": "3", "to": "bob"})),
        (
            SendV1::KIND,
            json!({"type": "signal", "id": "4", "session_id": "session-01",
                "signal": {"type": "restart", "generation": 2}}),
        ),
    ];
    let ice = (IceServersV1::KIND, json!({"type": "ice_servers", "id": "5"}));
    let mut client = world.enter("carol").await;
    for (kind, frame) in frames.into_iter().chain([ice]) {
        others.each(suite, kind, async |_: &Value| drop(client.ask(&frame).await)).await;
    }
}
