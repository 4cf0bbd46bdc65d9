//! What gateway processes tell each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::frames::{Note, Scope, ServerFrame};
use crate::requests::presence::PeerFilter;
use crate::{Contract, NodeId, PeerId, Signal, SubscriptionId};

/// Close every connection that a subscription's older proofs opened. Sent to [`crate::signals::EVERYBODY`] after the
/// revocation was committed; a process that misses it refuses the proofs by its store and when they expire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntitlementLostV1 {
    /// Which subscription.
    pub subscription_id: SubscriptionId,
    /// Proofs whose `ver` is smaller are void.
    pub min_ver: u64,
    /// When the record may be dropped, Unix milliseconds.
    pub until_ms: u64,
    /// Why, for people.
    pub reason: String,
}

impl Contract for EntitlementLostV1 {
    const KIND: &'static str = "gateway.entitlement_lost.v1";

    fn samples() -> Vec<Self> {
        vec![Self {
            subscription_id: "sub-01".parse().expect("a valid id"),
            min_ver: 3,
            until_ms: 1_790_000_300_000,
            reason: "canceled".into(),
        }]
    }
}

impl Signal for EntitlementLostV1 {}

/// A broadcast on its way. Addressed by tenant; every gateway process hands it to those of its peers it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BroadcastV1 {
    /// Who sends it; gets none itself.
    pub from: PeerId,
    /// For whom.
    #[serde(flatten)]
    pub scope: Scope,
    /// What it says.
    #[serde(flatten)]
    pub note: Note,
}

impl Contract for BroadcastV1 {
    const KIND: &'static str = "gateway.broadcast.v1";

    fn samples() -> Vec<Self> {
        let scopes = [
            Scope::Tenant,
            Scope::User { user_id: "ada".parse().expect("a valid id") },
            Scope::Room { room: "lobby".into() },
        ];
        scopes.into_iter().map(|scope| Self { from: peer("alice"), scope, note: note() }).collect()
    }
}

impl Signal for BroadcastV1 {}

/// One gateway process asks another by its node id; the answer is a [`ReplyV1`] with the same `call_id`. Who is gone
/// does not answer: the asker waits only so long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallV1 {
    /// Names the call.
    pub call_id: String,
    /// Who asks, and gets the reply.
    pub reply_to: NodeId,
    /// What.
    pub call: Call,
}

/// What one gateway process asks another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum Call {
    /// Hand a message to a peer of yours.
    Message {
        /// For whom.
        to: PeerId,
        /// From whom.
        from: PeerId,
        /// What it says.
        note: Note,
    },
    /// A peer of yours is mine now: give me what it has not taken in, and forget it.
    Handover {
        /// Which peer.
        peer_id: PeerId,
        /// The numbering that the client knows.
        epoch: String,
        /// The last frame it took in.
        offset: u64,
    },
    /// Whose ticket is this? It is void from now on.
    Ticket {
        /// The ticket.
        ticket: String,
    },
    /// Frames of a client whose event stream is yours.
    Frames {
        /// The stream.
        stream_key: String,
        /// Each as the client wrote it.
        frames: Vec<String>,
    },
    /// A call newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Contract for CallV1 {
    const KIND: &'static str = "gateway.call.v1";

    fn samples() -> Vec<Self> {
        let calls = [
            Call::Message { to: peer("bob"), from: peer("alice"), note: note() },
            Call::Handover { peer_id: peer("alice"), epoch: "gateway-1.0a1b2c3d".into(), offset: 17 },
            Call::Ticket { ticket: "gateway-1.00112233445566778899aabbccddeeff".into() },
            Call::Frames {
                stream_key: "gateway-1.ffeeddccbbaa99887766554433221100".into(),
                frames: vec![r#"{"type":"ping","id":"1"}"#.into()],
            },
        ];
        let whole = |call| Self { call_id: "c-1".into(), reply_to: "gateway-2".parse().expect("a valid id"), call };
        calls.into_iter().map(whole).collect()
    }
}

impl Signal for CallV1 {}

/// The answer to a [`CallV1`], addressed to who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyV1 {
    /// The call's.
    pub call_id: String,
    /// The answer.
    pub reply: Reply,
}

/// What a gateway process answers another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum Reply {
    /// The message was handed to the peer's connection, and acknowledged where the peer acknowledges.
    Delivered,
    /// It was handed over, but not acknowledged in time.
    Expired,
    /// What was asked for is not here.
    Nothing,
    /// Not now: what it is for takes no more.
    Busy,
    /// The frames were taken.
    Taken,
    /// What the peer missed.
    History {
        /// Whether it is all of it.
        complete: bool,
        /// What was pushed after the offset, in order.
        frames: Vec<KeptFrame>,
        /// Sources of what was pushed lately, in or before `frames`: the new holder may have got them too.
        seen: Vec<String>,
        /// The rooms it was in.
        rooms: Vec<String>,
        /// Whether it wanted to know who comes and goes.
        subscribed: bool,
        /// Of whom.
        #[serde(default, skip_serializing_if = "PeerFilter::is_empty")]
        filter: PeerFilter,
    },
    /// The access token that the ticket stood for.
    Token {
        /// The token.
        token: String,
    },
    /// An answer newer than this reader.
    #[serde(other)]
    Unknown,
}

/// A pushed frame that is kept for a resume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptFrame {
    /// The id of the message that brought it: what came by two ways is told once.
    pub source: String,
    /// The frame.
    pub frame: ServerFrame,
}

impl Contract for ReplyV1 {
    const KIND: &'static str = "gateway.reply.v1";

    fn samples() -> Vec<Self> {
        let kept = |frame| KeptFrame { source: "m-2".into(), frame };
        let replies = [
            Reply::Delivered,
            Reply::Expired,
            Reply::Nothing,
            Reply::Busy,
            Reply::Taken,
            Reply::History {
                complete: true,
                frames: ServerFrame::samples().into_iter().map(kept).collect(),
                seen: vec!["m-1".into()],
                rooms: vec!["lobby".into()],
                subscribed: true,
                filter: PeerFilter::sample(),
            },
            Reply::Token { token: "eyJhbGciOiJIUzI1NiJ9.e30.c2ln".into() },
        ];
        replies.into_iter().map(|reply| Self { call_id: "c-1".into(), reply }).collect()
    }
}

impl Signal for ReplyV1 {}

fn peer(name: &str) -> PeerId {
    name.parse().expect("a valid id")
}

fn note() -> Note {
    Note {
        action: "chat".into(),
        message: "hello".into(),
        session_id: Some("0190f5fe-session".parse().expect("a valid id")),
    }
}
