//! Signals on their way to a peer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Contract, PeerId, SessionId, Signal};

/// What two peers tell each other to connect (JSEP, RFC 8829; ICE, RFC 8839).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum PeerSignal {
    /// An SDP offer.
    Offer {
        /// At most 256 KiB.
        sdp: String,
        /// Counts the session's negotiations, from 1.
        generation: u32,
    },
    /// An SDP answer.
    Answer {
        /// At most 256 KiB.
        sdp: String,
        /// The offer's.
        generation: u32,
    },
    /// An ICE candidate; empty text means that there are no more.
    Candidate {
        /// `candidate:…`, at most 4 KiB.
        candidate: String,
        /// The media section it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sdp_mid: Option<String>,
        /// The negotiation it belongs to.
        generation: u32,
    },
    /// Asks the other side to start a new negotiation with an ICE restart.
    Restart {
        /// The next negotiation.
        generation: u32,
    },
    /// Ends the session.
    Bye {
        /// For people, at most 200 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A signal newer than this reader.
    #[serde(other)]
    Unknown,
}

impl PeerSignal {
    pub(crate) fn samples() -> Vec<Self> {
        let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
        vec![
            Self::Offer { sdp: sdp.into(), generation: 1 },
            Self::Answer { sdp: sdp.into(), generation: 1 },
            Self::Candidate {
                candidate: "candidate:1 1 udp 2130706431 127.0.0.1 49152 typ host".into(),
                sdp_mid: Some("0".into()),
                generation: 1,
            },
            Self::Restart { generation: 2 },
            Self::Bye { reason: Some("done".into()) },
        ]
    }
}

/// A signal for a peer. Addressed to the gateway process that holds its connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliverV1 {
    /// Which session.
    pub session_id: SessionId,
    /// For whom.
    pub to: PeerId,
    /// From whom; stamped by signaling, never by the sender.
    pub from: PeerId,
    /// Whether the receiver yields when both offer at once.
    pub polite: bool,
    /// What it says.
    pub signal: PeerSignal,
}

impl Contract for DeliverV1 {
    const KIND: &'static str = "signaling.deliver.v1";

    fn samples() -> Vec<Self> {
        PeerSignal::samples()
            .into_iter()
            .map(|signal| Self {
                session_id: "session-01".parse().expect("a valid id"),
                to: "bob".parse().expect("a valid id"),
                from: "alice".parse().expect("a valid id"),
                polite: true,
                signal,
            })
            .collect()
    }
}

impl Signal for DeliverV1 {}
