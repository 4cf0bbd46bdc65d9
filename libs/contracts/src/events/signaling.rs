//! What signaling publishes: sessions open and end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Contract, Event, PeerId, SessionId};

events! {
    /// Facts about sessions.
    SignalingEvent {
        /// A session between peers was opened.
        SessionOpened(SessionOpenedV1),
        /// A session is over.
        SessionEnded(SessionEndedV1),
    }
}

/// A session between peers was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionOpenedV1 {
    /// Which session.
    pub session_id: SessionId,
    /// Its members; the first one opened it.
    pub peers: Vec<PeerId>,
}

impl Contract for SessionOpenedV1 {
    const KIND: &'static str = "signaling.session_opened.v1";

    fn samples() -> Vec<Self> {
        vec![Self { session_id: sample_session(), peers: vec![peer("alice"), peer("bob")] }]
    }
}

impl Event for SessionOpenedV1 {
    fn aggregate(&self) -> String {
        format!("session/{}", self.session_id)
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum SessionEnd {
    /// A peer said bye.
    Bye,
    /// A peer went offline.
    PeerLost,
    /// Nothing was heard for too long.
    TimedOut,
    /// Nobody answered in time.
    NotAnswered,
    /// A reason newer than this reader.
    #[serde(other)]
    Unknown,
}

/// A session is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionEndedV1 {
    /// Which session.
    pub session_id: SessionId,
    /// Why.
    pub reason: SessionEnd,
    /// Who ended it, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PeerId>,
}

impl Contract for SessionEndedV1 {
    const KIND: &'static str = "signaling.session_ended.v1";

    fn samples() -> Vec<Self> {
        vec![
            Self { session_id: sample_session(), reason: SessionEnd::Bye, by: Some(peer("alice")) },
            Self { session_id: sample_session(), reason: SessionEnd::NotAnswered, by: None },
        ]
    }
}

impl Event for SessionEndedV1 {
    fn aggregate(&self) -> String {
        format!("session/{}", self.session_id)
    }
}

fn sample_session() -> SessionId {
    "session-01".parse().expect("a valid id")
}

fn peer(name: &str) -> PeerId {
    name.parse().expect("a valid id")
}
