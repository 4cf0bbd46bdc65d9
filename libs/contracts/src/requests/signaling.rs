//! What signaling is asked: open a session, pass a signal on, tell which servers help to connect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::signals::signaling::{Binding, PeerSignal};
use crate::{Contract, Entry, PeerId, Request, SessionId, SignalId};

pub(crate) fn entries() -> Vec<Entry> {
    [Entry::request::<OpenSessionV1>(), Entry::request::<SendV1>(), Entry::request::<IceServersV1>()].concat()
}

/// Open a session with another peer, or with several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenSessionV1 {
    /// Who opens it.
    pub from: PeerId,
    /// With whom.
    pub to: PeerId,
    /// The opener's subscription proof.
    pub proof: String,
    /// Further members. Each of them gets its own negotiation with each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<PeerId>,
}

impl OpenSessionV1 {
    /// A session of two.
    pub fn of_two(from: PeerId, to: PeerId, proof: String) -> Self {
        Self { from, to, proof, others: Vec::new() }
    }
}

impl Contract for OpenSessionV1 {
    const KIND: &'static str = "signaling.open_session.v1";

    fn samples() -> Vec<Self> {
        let of_two = Self::of_two(peer("alice"), peer("bob"), "eyJhbGciOiJFZERTQSJ9.e30.c2ln".into());
        vec![Self { others: vec![peer("carol")], ..of_two.clone() }, of_two]
    }
}

/// The session stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionOpened {
    /// Its id.
    pub session_id: SessionId,
    /// Whether the opener yields when both offer at once (perfect negotiation); the other side has the other role.
    pub polite: bool,
    /// Every member but the opener with the opener's role towards it, where there are more than two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<SessionRole>,
}

/// The opener's role towards one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionRole {
    /// Which member.
    pub peer_id: PeerId,
    /// Whether the opener yields to it when both offer at once.
    pub polite: bool,
}

/// Why no session was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum OpenSessionRefusal {
    /// This tenant never saw the target.
    UnknownPeer,
    /// The target is known and not here.
    PeerOffline,
    /// A peer can't call itself, or is named twice.
    SamePeer,
    /// More members than a session takes.
    TooManyPeers {
        /// How many it takes, the opener included.
        limit: u32,
    },
    /// The proof is missing, expired, revoked or for another peer.
    ProofRefused {
        /// Which rule it breaks.
        message: String,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for OpenSessionV1 {
    type Reply = SessionOpened;
    type Refusal = OpenSessionRefusal;

    fn replies() -> Vec<SessionOpened> {
        let roles = ["bob", "carol"].map(|name| SessionRole { peer_id: peer(name), polite: false });
        vec![
            SessionOpened { session_id: session(), polite: false, roles: Vec::new() },
            SessionOpened { session_id: session(), polite: false, roles: roles.to_vec() },
        ]
    }

    fn refusals() -> Vec<OpenSessionRefusal> {
        vec![
            OpenSessionRefusal::UnknownPeer,
            OpenSessionRefusal::PeerOffline,
            OpenSessionRefusal::SamePeer,
            OpenSessionRefusal::TooManyPeers { limit: 8 },
            OpenSessionRefusal::ProofRefused { message: "exp: the proof ended 12 s ago".into() },
        ]
    }
}

/// Pass a signal on to the other peer of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SendV1 {
    /// Which session.
    pub session_id: SessionId,
    /// Who sends.
    pub from: PeerId,
    /// The sender's subscription proof.
    pub proof: String,
    /// What to pass on.
    pub signal: PeerSignal,
    /// Which member it is for; a session of two needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PeerId>,
    /// The sender's signature over its certificate, for offers and answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

impl SendV1 {
    /// A signal to the only other peer, without a binding.
    pub fn plain(session_id: SessionId, from: PeerId, proof: String, signal: PeerSignal) -> Self {
        Self { session_id, from, proof, signal, to: None, binding: None }
    }
}

impl Contract for SendV1 {
    const KIND: &'static str = "signaling.send.v1";

    fn samples() -> Vec<Self> {
        let proof = "eyJhbGciOiJFZERTQSJ9.e30.c2ln";
        let plain = |signal| Self::plain(session(), peer("alice"), proof.into(), signal);
        let mut samples: Vec<Self> = PeerSignal::samples().into_iter().map(plain).collect();
        samples[0].to = Some(peer("bob"));
        samples[0].binding = Some(Binding::sample());
        samples
    }
}

/// Where a signal is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum Whereabouts {
    /// The other peer's connection has it.
    #[default]
    Delivered,
    /// It is kept until the other peer is back; a receipt tells what became of it.
    Queued,
    /// Nobody will get it: a bye to a peer that is gone, for which no more is kept. The session is over all the same.
    Expired,
    /// A place newer than this reader.
    #[serde(other)]
    Unknown,
}

/// The signal was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forwarded {
    /// To whom.
    pub to: PeerId,
    /// Whether the other peer has it already; see [`Forwarded::whereabouts`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Whereabouts>,
    /// Names it in its receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_id: Option<SignalId>,
    /// Until when it is kept, Unix milliseconds; only where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until_ms: Option<u64>,
}

impl Forwarded {
    /// Where the signal is. Services that keep none don't say: it was delivered.
    pub fn whereabouts(&self) -> Whereabouts {
        self.outcome.unwrap_or_default()
    }
}

/// Why a signal was not passed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum SendRefusal {
    /// No such session, or it is over.
    UnknownSession,
    /// The sender is not one of its peers.
    NotMember,
    /// The other peer is gone for good: unknown, or no longer entitled.
    PeerOffline,
    /// In a session of more than two: `to` is missing or names no other member.
    TargetNeeded,
    /// The other peer is not here and no more is kept for it. Wait for `presence`, then send again.
    MailboxFull {
        /// Most signals that are kept for a peer.
        signals: u32,
        /// Most bytes.
        bytes: u64,
        /// When it is worth another try, milliseconds.
        retry_after_ms: u64,
    },
    /// The certificate is not the sender's: its fingerprint is another one than before in this session, or is not signed
    /// with the identity key that the sender published.
    IdentityMismatch {
        /// Which rule is broken, and what to do.
        message: String,
    },
    /// The signal breaks a rule.
    InvalidSignal {
        /// One line per violation: field, rule.
        violations: Vec<String>,
    },
    /// The signal belongs to a negotiation that a newer one replaced.
    StaleGeneration {
        /// The session's current one.
        current: u32,
    },
    /// The proof is missing, expired, revoked or for another peer.
    ProofRefused {
        /// Which rule it breaks.
        message: String,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for SendV1 {
    type Reply = Forwarded;
    type Refusal = SendRefusal;

    fn replies() -> Vec<Forwarded> {
        let signal_id: Option<SignalId> = Some("0190-0001".parse().expect("a valid id"));
        let kept_until_ms = Some(1_790_000_120_000);
        vec![
            Forwarded {
                to: peer("bob"),
                outcome: Some(Whereabouts::Delivered),
                signal_id: signal_id.clone(),
                kept_until_ms: None,
            },
            Forwarded { to: peer("bob"), outcome: Some(Whereabouts::Queued), signal_id, kept_until_ms },
        ]
    }

    fn refusals() -> Vec<SendRefusal> {
        vec![
            SendRefusal::UnknownSession,
            SendRefusal::NotMember,
            SendRefusal::PeerOffline,
            SendRefusal::TargetNeeded,
            SendRefusal::MailboxFull { signals: 64, bytes: 1_048_576, retry_after_ms: 5_000 },
            SendRefusal::IdentityMismatch { message: "binding: is missing".into() },
            SendRefusal::InvalidSignal { violations: vec!["candidate: longer than 4096 bytes".into()] },
            SendRefusal::StaleGeneration { current: 2 },
            SendRefusal::ProofRefused { message: "sid: the proof was revoked".into() },
        ]
    }
}

/// Which servers help to connect (RFC 8825 §3; W3C `RTCIceServer`)? With credentials made for this peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IceServersV1 {
    /// For whom.
    pub peer_id: PeerId,
    /// Its subscription proof.
    pub proof: String,
}

impl Contract for IceServersV1 {
    const KIND: &'static str = "signaling.ice_servers.v1";

    fn samples() -> Vec<Self> {
        vec![Self { peer_id: peer("alice"), proof: "eyJhbGciOiJFZERTQSJ9.e30.c2ln".into() }]
    }
}

/// One entry of a browser's `iceServers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IceServer {
    /// `stun:`, `stuns:`, `turn:` or `turns:` (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// `<expiry, Unix seconds>:<peer>`; only with TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password; only with TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// The servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IceServers {
    /// As `RTCPeerConnection` takes them.
    pub ice_servers: Vec<IceServer>,
    /// Until when new connections may use the credentials, Unix milliseconds; ask again before.
    pub expires_at_ms: u64,
}

/// Why no servers were told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum IceServersRefusal {
    /// The proof is missing, expired, revoked or for another peer.
    ProofRefused {
        /// Which rule it breaks.
        message: String,
    },
    /// A refusal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl Request for IceServersV1 {
    type Reply = IceServers;
    type Refusal = IceServersRefusal;

    fn replies() -> Vec<IceServers> {
        let turn = IceServer {
            urls: vec!["turn:turn.example.com:3478?transport=udp".into(), "turns:turn.example.com".into()],
            username: Some("1790000600:alice".into()),
            credential: Some("b3BhcXVl".into()),
        };
        let stun = IceServer { urls: vec!["stun:stun.example.com".into()], username: None, credential: None };
        vec![IceServers { ice_servers: vec![stun, turn], expires_at_ms: 1_790_000_600_000 }]
    }

    fn refusals() -> Vec<IceServersRefusal> {
        vec![IceServersRefusal::ProofRefused { message: "exp: the proof ended 12 s ago".into() }]
    }
}

fn session() -> SessionId {
    "session-01".parse().expect("a valid id")
}

fn peer(name: &str) -> PeerId {
    name.parse().expect("a valid id")
}
