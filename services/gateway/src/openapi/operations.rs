//! Every operation of the public API.

use contracts::frames::ClientFrame;
use contracts::http::{
    CancelSubscription, ChangePlan, CreateCheckout, CreatePortal, CreateSubscription, TicketIssued, VerifySubscription,
};
use contracts::requests::billing::UsageView;
use contracts::requests::presence::{PeerCounts, PeerPage, PeerView};
use contracts::requests::signaling::IceServers;
use contracts::requests::subscription::{
    Checkout, Plans, PlansReport, Portal, ProofIssued, SubscriptionPage, SubscriptionView,
};
use serde_json::{Value, json};
use service::http::Code;

use super::api_keys;
use super::operation::Access::{Admin, Anybody, Reader, Writer};
use super::operation::Operation;
use super::schema;

const SUBSCRIPTIONS: &str = "Subscriptions";
const PEERS: &str = "Peers";
const CONNECTIONS: &str = "Connections";
const DOCUMENTS: &str = "Documents";

pub(super) fn operations() -> Vec<Operation> {
    [subscriptions(), changes(), pages(), peers(), connections(), api_keys::operations(), documents()]
        .into_iter()
        .flatten()
        .collect()
}

pub(super) fn limit() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 50 })
}

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

fn subscriptions() -> Vec<Operation> {
    let status = json!({
        "type": "string",
        "enum": ["incomplete", "incomplete_expired", "trialing", "active", "past_due", "unpaid", "paused", "canceled"],
    });
    vec![
        Operation::new(("get", "/v1/plans"), "listPlans", SUBSCRIPTIONS, Reader, "What may be bought")
            .about("The plans of the caller's tenant. A limit that is not there does not bind.")
            .gives(200, "The plans.", schema::<Plans>),
        Operation::new(
            ("post", "/v1/plans/check"),
            "checkPlans",
            SUBSCRIPTIONS,
            Admin,
            "Compares prices with Stripe's",
        )
        .gives(200, "What was found, price by price.", schema::<PlansReport>)
        .refuses(&[Code::Conflict]),
        Operation::new(
            ("get", "/v1/subscriptions"),
            "listSubscriptions",
            SUBSCRIPTIONS,
            Reader,
            "The caller's subscriptions",
        )
        .about(
            "Oldest first. A page may be short and not the last; what was bought a moment ago may not be listed yet.",
        )
        .query("limit", "How many a page.", limit())
        .query("after", "The `next` of the last page.", text())
        .query("status", "Only those of this status.", status)
        .query("user_id", "Another user's; for `admin`.", text())
        .query("all", "All of the tenant's; for `admin`.", json!({ "type": "boolean" }))
        .gives(200, "A page.", schema::<SubscriptionPage>)
        .refuses(&[Code::Forbidden]),
        Operation::new(
            ("post", "/v1/subscriptions"),
            "createSubscription",
            SUBSCRIPTIONS,
            Writer,
            "Buys a subscription",
        )
        .about("With a payment method the card is charged now; without one the answer has `payment`.")
        .idempotent()
        .takes(
            schema::<CreateSubscription>,
            json!({ "price_id": "price_team_monthly", "payment_method_id": "pm_card_visa" }),
        )
        .gives(201, "Bought; `Location` names it.", schema::<SubscriptionView>)
        .refuses(&[Code::PaymentFailed, Code::PaymentActionRequired, Code::UnknownPrice, Code::Conflict]),
        Operation::new(("get", "/v1/subscriptions/{id}"), "getSubscription", SUBSCRIPTIONS, Reader, "One subscription")
            .about("Another user's is 404, except for `admin`.")
            .gives(200, "The subscription.", schema::<SubscriptionView>)
            .refuses(&[Code::NotFound, Code::Conflict]),
        Operation::new(("get", "/v1/subscriptions/{id}/usage"), "getUsage", SUBSCRIPTIONS, Reader, "What was used")
            .about("Per meter, in UTC minutes, days and months. Without `allowed` the plan sets no limit.")
            .gives(200, "The usage.", schema::<UsageView>)
            .refuses(&[Code::NotFound, Code::Conflict]),
        Operation::new(
            ("post", "/v1/subscriptions/{id}/verify"),
            "issueProof",
            SUBSCRIPTIONS,
            Writer,
            "A signed proof for a peer",
        )
        .about("Every call gives a new proof; an Idempotency-Key is not needed. Ask again at `refresh_at_ms`.")
        .takes(schema::<VerifySubscription>, json!({ "peer_id": "alice" }))
        .gives(200, "The proof.", schema::<ProofIssued>)
        .refuses(&[Code::EntitlementLost, Code::NotFound, Code::Conflict]),
    ]
}

fn changes() -> Vec<Operation> {
    const REFUSES: &[Code] = &[Code::NotFound, Code::IllegalTransition, Code::Conflict];
    vec![
        Operation::new(
            ("post", "/v1/subscriptions/{id}/plan"),
            "changePlan",
            SUBSCRIPTIONS,
            Writer,
            "Bills by another price",
        )
        .about("What the change costs is charged now, or nothing changes.")
        .idempotent()
        .takes(schema::<ChangePlan>, json!({ "price_id": "price_business_monthly" }))
        .gives(200, "The subscription as it is now.", schema::<SubscriptionView>)
        .refuses(REFUSES)
        .refuses(&[Code::PaymentFailed, Code::UnknownPrice]),
        Operation::new(
            ("post", "/v1/subscriptions/{id}/cancel"),
            "cancelSubscription",
            SUBSCRIPTIONS,
            Writer,
            "Ends it",
        )
        .about("Now or with the paid period. Ending what has ended changes nothing, so no Idempotency-Key is needed.")
        .takes(schema::<CancelSubscription>, json!({ "at_period_end": true }))
        .gives(200, "The subscription as it is now.", schema::<SubscriptionView>)
        .refuses(REFUSES),
        Operation::new(
            ("post", "/v1/subscriptions/{id}/resume"),
            "resumeSubscription",
            SUBSCRIPTIONS,
            Writer,
            "Goes on with it",
        )
        .about(
            "Takes a cancellation back, or wakes up a paused one. Resuming what runs changes nothing, so no \
                    Idempotency-Key is needed.",
        )
        .gives(200, "The subscription as it is now.", schema::<SubscriptionView>)
        .refuses(REFUSES)
        .refuses(&[Code::PaymentFailed]),
    ]
}

fn pages() -> Vec<Operation> {
    let urls = json!({
        "price_id": "price_team_monthly",
        "success_url": "https://app.example.com/bought",
        "cancel_url": "https://app.example.com/plans",
    });
    vec![
        Operation::new(
            ("post", "/v1/subscriptions/checkout"),
            "openCheckout",
            SUBSCRIPTIONS,
            Writer,
            "A page of Stripe's to buy on",
        )
        .about("Both URLs must be on the operator's list.")
        .idempotent()
        .takes(schema::<CreateCheckout>, urls)
        .gives(201, "Where to send the browser.", schema::<Checkout>)
        .refuses(&[Code::UnknownPrice, Code::Conflict]),
        Operation::new(
            ("post", "/v1/subscriptions/portal"),
            "openPortal",
            SUBSCRIPTIONS,
            Writer,
            "A page of Stripe's to manage it on",
        )
        .about("Every call opens a page and changes nothing, so no Idempotency-Key is needed.")
        .takes(schema::<CreatePortal>, json!({ "return_url": "https://app.example.com/" }))
        .gives(201, "Where to send the browser.", schema::<Portal>)
        .refuses(&[Code::NotFound, Code::Conflict]),
    ]
}

fn peers() -> Vec<Operation> {
    vec![
        Operation::new(("get", "/v1/peers"), "listPeers", PEERS, Reader, "Who is here")
            .about("Peers of the tenant that are not offline.")
            .query("limit", "How many a page.", limit())
            .query("after", "The `next` of the last page.", text())
            .query("room", "Only those in this room.", text())
            .query("tag", "Only those with this tag.", text())
            .query("capability", "Only those with this capability.", text())
            .query("same_network", "Only those that seem to be in the caller's network.", json!({ "type": "boolean" }))
            .gives(200, "A page.", schema::<PeerPage>)
            .refuses(&[Code::Conflict]),
        Operation::new(("get", "/v1/presence"), "countPeers", PEERS, Reader, "How many are here")
            .about("Answered from counters, however many there are.")
            .query("room", "Also how many are in this room.", text())
            .gives(200, "The counts.", schema::<PeerCounts>)
            .refuses(&[Code::Conflict]),
        Operation::new(("get", "/v1/peers/{id}"), "getPeer", PEERS, Reader, "Where one peer stands")
            .about("Also when it is offline.")
            .gives(200, "The peer.", schema::<PeerView>)
            .refuses(&[Code::PeerUnknown, Code::Conflict]),
    ]
}

fn connections() -> Vec<Operation> {
    let events = json!({ "type": "string", "description": "Server-sent events; each one's data is a frame." });
    let ping = json!({ "type": "ping", "id": "1" });
    vec![
        Operation::new(("post", "/v1/tickets"), "issueTicket", CONNECTIONS, Reader, "A one-use ticket for browsers")
            .about("Stands for the caller's token for 30 s. No body and no Idempotency-Key are needed: every call gives another.")
            .gives(201, "The ticket.", schema::<TicketIssued>),
        Operation::new(("get", "/v1/ice-servers"), "getIceServers", CONNECTIONS, Reader, "STUN and TURN servers for a peer")
            .about("With credentials of the peer's own that end soon.")
            .needs("peer_id", "For whom.", text())
            .header("Synapse-Proof", "The peer's subscription proof.", true)
            .gives(200, "The servers.", schema::<IceServers>)
            .refuses(&[Code::ProofRefused, Code::Conflict]),
        Operation::new(("get", "/v1/ws"), "openWebSocket", CONNECTIONS, Anybody, "The client protocol")
            .about("A WebSocket (RFC 6455). The token comes in the first frame, in the Authorization header, or as a ticket \
                    in Sec-WebSocket-Protocol.")
            .header("Sec-WebSocket-Protocol", "`synapse.v1` or `synapse.v1.cbor`, and `ticket.<ticket>` where there is one.", true)
            .ends(101, "It is a WebSocket now.")
            .refuses(&[Code::UnsupportedProtocol, Code::Forbidden]),
        Operation::new(("get", "/v1/stream"), "openStream", CONNECTIONS, Anybody, "The server's half as an event stream")
            .about("The same protocol without a WebSocket. Its hello has the `stream_key` for `POST /v1/frames`.")
            .header("Last-Event-ID", "The last event's `id`, to go on from there.", false)
            .gives_as(200, "Events, until one side ends it.", "text/event-stream", events)
            .refuses(&[Code::Forbidden]),
        Operation::new(("post", "/v1/frames"), "postFrames", CONNECTIONS, Anybody, "The client's half")
            .about("One frame, or a list of up to 64. Each has an id of its own, so no Idempotency-Key is needed; their \
                    outcomes come on the stream. Who posts is known by the stream's key.")
            .header("Synapse-Stream", "The `stream_key` of the stream's hello.", true)
            .takes(schema::<ClientFrame>, ping)
            .ends(202, "All of them were taken.")
            .refuses(&[Code::NotFound, Code::Forbidden]),
    ]
}

fn documents() -> Vec<Operation> {
    let keys = json!({
        "type": "object",
        "required": ["keys"],
        "properties": { "keys": { "type": "array", "items": { "type": "object" } } },
    });
    let page = |path, id, summary| {
        Operation::new(("get", path), id, DOCUMENTS, Anybody, summary).gives_as(200, "The page.", "text/html", text())
    };
    let part = |path, id, summary, media_type| {
        Operation::new(("get", path), id, DOCUMENTS, Anybody, summary).gives_as(200, "The file.", media_type, text())
    };
    vec![
        Operation::new(
            ("get", "/.well-known/jwks.json"),
            "getProofKeys",
            DOCUMENTS,
            Anybody,
            "The public keys of proofs",
        )
        .about("A JWK set (RFC 7517, RFC 8037) for verifiers outside.")
        .header("If-None-Match", "An `ETag` of before.", false)
        .gives_as(200, "The keys.", "application/jwk-set+json", keys)
        .ends(304, "They are the same."),
        Operation::new(("get", "/openapi.json"), "getOpenApi", DOCUMENTS, Anybody, "This document").gives_as(
            200,
            "OpenAPI 3.1.",
            "application/json",
            json!({ "type": "object" }),
        ),
        page("/docs", "getDocs", "This document for people"),
        page("/docs/errors", "getErrors", "Every problem code"),
        part("/docs/page.css", "getDocsStyle", "How the pages look", "text/css"),
        part("/docs/page.js", "getDocsScript", "What fills the pages", "text/javascript"),
    ]
}
