//! The protocol `synapse.v1`: what a client and the gateway say to each other, as JSON in text messages, as CBOR in
//! binary ones, or over an event stream and POST. Its rules are numbered in `docs/protocol.md`.
//!
//! Every client frame has an `id` of the client's choosing and gets exactly one [`ServerFrame::Outcome`].

mod presence;

pub use presence::{PeerChange, PresenceAction, Select};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::Problem;
use crate::requests::presence::PeerView;
use crate::signals::signaling::{Binding, DeliverV1, PeerSignal, Receipt};
use crate::{ConnectionId, Contract, PeerId, SessionId, SignalId, UserId};

/// The subprotocol's name in `Sec-WebSocket-Protocol`: JSON in text messages.
pub const SUBPROTOCOL: &str = "synapse.v1";
/// The same protocol in its compact form: CBOR (RFC 8949) in binary messages.
pub const SUBPROTOCOL_CBOR: &str = "synapse.v1.cbor";
/// What a ticket begins with where it stands in `Sec-WebSocket-Protocol`.
pub const TICKET_PREFIX: &str = "ticket.";
/// The request header of `POST /v1/frames` that names the stream: the `stream_key` of its hello.
pub const STREAM_HEADER: &str = "synapse-stream";
/// Longest `message`, characters.
pub const MAX_MESSAGE_CHARS: usize = 10_000;
/// Longest `action`, characters of `[A-Za-z0-9_]`.
pub const MAX_ACTION_CHARS: usize = 50;

/// Close codes of the application range (RFC 6455 §7.4.2). Reconnecting helps only where a line says so.
pub mod close {
    /// No valid token within the time limit, or the token was refused. Don't reconnect with the same one.
    pub const UNAUTHENTICATED: u16 = 4401;
    /// The subscription no longer entitles the peer. Don't reconnect before it does.
    pub const ENTITLEMENT_LOST: u16 = 4402;
    /// The proof was refused. Get a new one, then reconnect.
    pub const PROOF_REFUSED: u16 = 4403;
    /// As many peers as the plan allows are connected. Reconnect when one has left.
    pub const QUOTA_EXCEEDED: u16 = 4411;
    /// A newer connection of the same peer took over. Don't reconnect.
    pub const TAKEN_OVER: u16 = 4409;
    /// The client read too slowly. Reconnect.
    pub const SLOW_CONSUMER: u16 = 4408;
    /// Nothing was heard from the client for too long. Reconnect.
    pub const SILENT: u16 = 4407;
    /// Too many bad frames. Mend the client first.
    pub const PROTOCOL_ABUSE: u16 = 4400;
    /// The token has expired. Reconnect with a new one.
    pub const TOKEN_EXPIRED: u16 = 4410;
    /// The process has as many connections of this tenant or user as it may. Reconnect later.
    pub const TOO_MANY: u16 = 4429;
    /// The server is restarting (registered, RFC 6455 registry). Reconnect after the hinted delay.
    pub const SERVICE_RESTART: u16 = 1012;
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// First frame: who I am. The credential is a token or a ticket; neither where the handshake brought one.
    Auth {
        /// Names this frame.
        id: String,
        /// Access token (JWT).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// A one-use ticket of `POST /v1/tickets` instead of the token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ticket: Option<String>,
        /// The peer this connection speaks for.
        peer_id: PeerId,
        /// Its subscription proof.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
        /// Whether this client acknowledges messages; then their senders learn of it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        acks: bool,
        /// What an earlier connection of this peer took in last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<Resume>,
    },
    /// New papers on a live connection; what is left out stays as it was.
    Refresh {
        /// Names this frame.
        id: String,
        /// Access token (JWT).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// A one-use ticket instead of the token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ticket: Option<String>,
        /// Subscription proof.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
    },
    /// Are you there?
    Ping {
        /// Names this frame.
        id: String,
    },
    /// About presence.
    Presence {
        /// Names this frame.
        id: String,
        /// What to do.
        #[serde(flatten)]
        action: PresenceAction,
    },
    /// Open a session with another peer.
    Session {
        /// Names this frame.
        id: String,
        /// With whom.
        to: PeerId,
        /// Further members, for a session of more than two.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<PeerId>,
    },
    /// Pass a signal on to another peer of a session.
    Signal {
        /// Names this frame.
        id: String,
        /// Which session.
        session_id: SessionId,
        /// What to pass on.
        signal: PeerSignal,
        /// Which member it is for; a session of two needs none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<PeerId>,
        /// The sender's signature over its certificate, for offers and answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        binding: Option<Binding>,
    },
    /// Which servers help to connect?
    IceServers {
        /// Names this frame.
        id: String,
    },
    /// A message to one peer.
    Message {
        /// Names this frame.
        id: String,
        /// For whom.
        to: PeerId,
        /// What it is.
        #[serde(flatten)]
        note: Note,
    },
    /// A message to many.
    Broadcast {
        /// Names this frame.
        id: String,
        /// For whom.
        #[serde(flatten)]
        scope: Scope,
        /// What it is.
        #[serde(flatten)]
        note: Note,
    },
    /// Come into a room or leave it.
    Room {
        /// Names this frame.
        id: String,
        /// Which of the two.
        action: RoomAction,
        /// Which room: 1 to 100 characters of `[A-Za-z0-9_-]`.
        room: String,
    },
    /// Everything up to this offset was taken in.
    Ack {
        /// Names this frame.
        id: String,
        /// The last frame's offset.
        offset: u64,
    },
}

impl ClientFrame {
    /// The frame's own name.
    pub fn id(&self) -> &str {
        match self {
            Self::Auth { id, .. }
            | Self::Refresh { id, .. }
            | Self::Ping { id }
            | Self::Presence { id, .. }
            | Self::Session { id, .. }
            | Self::Signal { id, .. }
            | Self::IceServers { id }
            | Self::Message { id, .. }
            | Self::Broadcast { id, .. }
            | Self::Room { id, .. }
            | Self::Ack { id, .. } => id,
        }
    }
}

/// What a message says, to one or to many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    /// What the receiver is to make of it: 1 to 50 characters of `[A-Za-z0-9_]`.
    pub action: String,
    /// 1 to 10,000 characters.
    pub message: String,
    /// The session it belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
}

/// Whom a broadcast is for. The sender itself gets none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "scope", rename_all = "snake_case")]
pub enum Scope {
    /// Every peer of the tenant.
    Tenant,
    /// Every peer of a user.
    User {
        /// Which user.
        user_id: UserId,
    },
    /// Everybody in a room that the sender is in.
    Room {
        /// Which room.
        room: String,
    },
}

/// Into a room or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoomAction {
    /// In.
    Join,
    /// Out.
    Leave,
}

/// The last pushed frame that a client took in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resume {
    /// The epoch that the auth frame's result named.
    pub epoch: String,
    /// The offset of the last frame taken in; 0 for none.
    pub offset: u64,
}

/// What the gateway says. Frames with an `offset` are numbered, kept for a while and told again after a resume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// First frame: what this connection is.
    Hello {
        /// The negotiated protocol.
        protocol: String,
        /// Names the connection.
        connection_id: ConnectionId,
        /// Send an auth frame within this time, milliseconds.
        auth_within_ms: u64,
        /// Send a frame (a ping, for want of another) at least this often, milliseconds.
        heartbeat_ms: u64,
        /// What this gateway allows.
        limits: HelloLimits,
        /// Only on an event stream: the secret that names it in `POST /v1/frames`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream_key: Option<String>,
    },
    /// What became of a client frame.
    Outcome {
        /// The client frame's id; absent when it could not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The one outcome.
        outcome: Outcome,
        /// What was asked for, where something was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
        /// Why it was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<Box<Problem>>,
    },
    /// A peer of the tenant came, went or changed.
    Presence {
        /// Its number in the epoch.
        offset: u64,
        /// The peer as it is now.
        peer: PeerView,
        /// What happened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<PeerChange>,
    },
    /// A signal from the other peer of a session.
    Signal {
        /// Its number in the epoch.
        offset: u64,
        /// Which session.
        session_id: SessionId,
        /// From whom.
        from: PeerId,
        /// Whether this side yields when both offer at once.
        polite: bool,
        /// What it says.
        signal: PeerSignal,
        /// Names it: what comes again under the same id is the same signal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal_id: Option<SignalId>,
        /// Every member, where the session has more than two.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        peers: Vec<PeerId>,
        /// The sender's signature over its certificate, for who knows its identity key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        binding: Option<Binding>,
    },
    /// What became of a signal of this peer that was queued.
    Receipt {
        /// Its number in the epoch.
        offset: u64,
        /// Which signal, and what became of it.
        #[serde(flatten)]
        receipt: Receipt,
    },
    /// A message from another peer.
    Message {
        /// Its number in the epoch.
        offset: u64,
        /// From whom; the gateway's word, never the sender's.
        from: PeerId,
        /// Set on broadcasts: whom it was for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        broadcast: Option<Scope>,
        /// What it says.
        #[serde(flatten)]
        note: Note,
    },
    /// The gateway is about to close the connection with this code.
    Closing {
        /// The close code that follows.
        code: u16,
        /// A stable word for programs (`entitlement_lost`).
        reason: String,
        /// Whether reconnecting helps, and after how long, milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconnect_after_ms: Option<u64>,
    },
}

impl ServerFrame {
    /// The number of a numbered frame.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Presence { offset, .. }
            | Self::Signal { offset, .. }
            | Self::Receipt { offset, .. }
            | Self::Message { offset, .. } => Some(*offset),
            Self::Hello { .. } | Self::Outcome { .. } | Self::Closing { .. } => None,
        }
    }

    /// The same frame with this number; a frame without one stays as it is.
    #[must_use]
    pub fn numbered(mut self, number: u64) -> Self {
        if let Self::Presence { offset, .. }
        | Self::Signal { offset, .. }
        | Self::Receipt { offset, .. }
        | Self::Message { offset, .. } = &mut self
        {
            *offset = number;
        }
        self
    }
}

impl ServerFrame {
    /// The frame that a delivered signal becomes, not numbered yet.
    pub fn of_signal(delivered: DeliverV1) -> Self {
        Self::Signal {
            offset: 0,
            session_id: delivered.session_id,
            from: delivered.from,
            polite: delivered.polite,
            signal: delivered.signal,
            signal_id: delivered.signal_id,
            peers: delivered.peers,
            binding: delivered.binding,
        }
    }

    /// Every frame there is, every optional field in one of them.
    pub(crate) fn samples() -> Vec<Self> {
        let note = |session: Option<&str>| Note {
            action: "chat".into(),
            message: "hello".into(),
            session_id: session.map(|id| id.parse().expect("a valid id")),
        };
        let bob: PeerId = "bob".parse().expect("a valid id");
        let message = |broadcast| Self::Message { offset: 18, from: bob.clone(), broadcast, note: note(Some("s-1")) };
        let limits = HelloLimits {
            frame_bytes: 327_680,
            bad_frames: 10,
            pending_messages: 64,
            rooms: 16,
            ack_within_ms: 5_000,
            history_frames: 256,
            history_ttl_ms: 120_000,
        };
        let mut frames = vec![
            Self::Hello {
                protocol: SUBPROTOCOL.into(),
                connection_id: "c-1".parse().expect("a valid id"),
                auth_within_ms: 10_000,
                heartbeat_ms: 15_000,
                limits,
                stream_key: Some("gateway-1.ffeeddccbbaa99887766554433221100".into()),
            },
            Self::Outcome {
                id: Some("1".into()),
                outcome: Outcome::Refused,
                result: Some(Value::Object(serde_json::Map::new())),
                problem: Some(Box::new(Problem::sample())),
            },
            Self::Presence { offset: 16, peer: PeerView::sample(), change: Some(PeerChange::Updated) },
            message(None),
            message(Some(Scope::Tenant)),
            message(Some(Scope::User { user_id: "ada".parse().expect("a valid id") })),
            message(Some(Scope::Room { room: "lobby".into() })),
            Self::Closing {
                code: close::SERVICE_RESTART,
                reason: "service_restart".into(),
                reconnect_after_ms: Some(4_200),
            },
        ];
        frames.extend(DeliverV1::samples().into_iter().map(Self::of_signal));
        frames.extend(Receipt::samples().into_iter().map(|receipt| Self::Receipt { offset: 20, receipt }));
        frames
    }
}

/// What a gateway allows, so that clients need not guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HelloLimits {
    /// Largest message, bytes.
    pub frame_bytes: usize,
    /// Malformed frames in a row, after which the connection is closed with 4400.
    pub bad_frames: u32,
    /// Messages and broadcasts without an outcome; more are refused with `rate_limited`.
    pub pending_messages: usize,
    /// Rooms that a connection may be in.
    pub rooms: usize,
    /// How long a message waits for its receiver's ack, milliseconds.
    pub ack_within_ms: u64,
    /// Most pushed frames kept for a resume.
    pub history_frames: usize,
    /// How long they are kept, milliseconds.
    pub history_ttl_ms: u64,
}

/// What the auth frame's outcome carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthResult {
    /// The peer.
    pub peer_id: PeerId,
    /// Which of its connections this is.
    pub generation: u64,
    /// Names the numbering of pushed frames on this connection. Another one than before: keep the new one.
    pub epoch: String,
    /// The number after which this connection's frames begin.
    pub offset: u64,
    /// What became of the resume; absent when none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resumed>,
}

/// What became of a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resumed {
    /// Every missed frame follows, and nothing twice.
    Recovered,
    /// Some may be lost: ask again for what matters. Rooms are left.
    Gap,
}

/// What became of a client frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Accepted,
    /// Handed to the other peer's connection, and acknowledged where that peer acknowledges.
    Delivered,
    /// Kept for later.
    Queued,
    /// Handed on, but not acknowledged in time.
    Expired,
    /// A rule says no; see the problem.
    Refused,
}
