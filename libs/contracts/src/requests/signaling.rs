//! What signaling is asked: open a session, pass a signal on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::signals::signaling::PeerSignal;
use crate::{Contract, Entry, PeerId, Request, SessionId};

pub(crate) fn entries() -> Vec<Entry> {
    [Entry::request::<OpenSessionV1>(), Entry::request::<SendV1>()].concat()
}

/// Open a session with another peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenSessionV1 {
    /// Who opens it.
    pub from: PeerId,
    /// With whom.
    pub to: PeerId,
    /// The opener's subscription proof.
    pub proof: String,
}

impl Contract for OpenSessionV1 {
    const KIND: &'static str = "signaling.open_session.v1";

    fn samples() -> Vec<Self> {
        vec![Self { from: peer("alice"), to: peer("bob"), proof: "eyJhbGciOiJFZERTQSJ9.e30.c2ln".into() }]
    }
}

/// The session stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionOpened {
    /// Its id.
    pub session_id: SessionId,
    /// Whether the opener yields when both offer at once (perfect negotiation); the other side has the other role.
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
    /// A peer can't call itself.
    SamePeer,
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
        vec![SessionOpened { session_id: session(), polite: false }]
    }

    fn refusals() -> Vec<OpenSessionRefusal> {
        vec![
            OpenSessionRefusal::UnknownPeer,
            OpenSessionRefusal::PeerOffline,
            OpenSessionRefusal::SamePeer,
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
}

impl Contract for SendV1 {
    const KIND: &'static str = "signaling.send.v1";

    fn samples() -> Vec<Self> {
        PeerSignal::samples()
            .into_iter()
            .map(|signal| Self {
                session_id: session(),
                from: peer("alice"),
                proof: "eyJhbGciOiJFZERTQSJ9.e30.c2ln".into(),
                signal,
            })
            .collect()
    }
}

/// It was handed to the gateway that holds the other peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forwarded {
    /// To whom.
    pub to: PeerId,
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
    /// The other peer is not here now.
    PeerOffline,
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
        vec![Forwarded { to: peer("bob") }]
    }

    fn refusals() -> Vec<SendRefusal> {
        vec![
            SendRefusal::UnknownSession,
            SendRefusal::NotMember,
            SendRefusal::PeerOffline,
            SendRefusal::InvalidSignal { violations: vec!["candidate: longer than 4096 bytes".into()] },
            SendRefusal::StaleGeneration { current: 2 },
            SendRefusal::ProofRefused { message: "sid: the proof was revoked".into() },
        ]
    }
}

fn session() -> SessionId {
    "session-01".parse().expect("a valid id")
}

fn peer(name: &str) -> PeerId {
    name.parse().expect("a valid id")
}
