//! Signals on their way to a peer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Contract, NodeId, PeerId, SessionId, Signal, SignalId};

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
        let sdp = SAMPLE_SDP;
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

/// An SDP of one data channel with everything that signaling wants to see, for samples and tests. Not of a real peer.
pub const SAMPLE_SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
    a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZgab\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
    a=setup:active\r\na=sctp-port:5000\r\n";

/// A peer's signature that ties the certificate of an SDP to its identity key. What is signed (Ed25519) is the text
/// `synapse-fingerprint-v1`, the session, the sender, the receiver, the SDP's fingerprint (`sha-256 AA:BB:…`, upper-case
/// digits) and `issued_at_s`, each on a line of its own, without a line end after the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// The identity key (Ed25519), 32 bytes as base64url without padding.
    pub public_key: String,
    /// When it was signed, Unix seconds.
    pub issued_at_s: u64,
    /// The signature, base64url without padding.
    pub signature: String,
}

impl Binding {
    /// The text that is signed.
    pub fn text(session_id: &SessionId, from: &PeerId, to: &PeerId, fingerprint: &str, issued_at_s: u64) -> String {
        format!("synapse-fingerprint-v1\n{session_id}\n{from}\n{to}\n{fingerprint}\n{issued_at_s}")
    }

    pub(crate) fn sample() -> Self {
        let public_key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into();
        Self { public_key, issued_at_s: 1_790_000_000, signature: "c2ln".into() }
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
    /// Names it: what comes again under the same id is the same signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_id: Option<SignalId>,
    /// Every member, where the session has more than two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerId>,
    /// The sender's signature over its certificate, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// Who waits to hear whether the peer took it (`signaling.taken.v1`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<NodeId>,
}

impl DeliverV1 {
    /// A signal that nobody waits for, without id.
    pub fn plain(session_id: SessionId, from: PeerId, to: PeerId, polite: bool, signal: PeerSignal) -> Self {
        Self { session_id, to, from, polite, signal, signal_id: None, peers: Vec::new(), binding: None, reply_to: None }
    }
}

impl Contract for DeliverV1 {
    const KIND: &'static str = "signaling.deliver.v1";

    fn samples() -> Vec<Self> {
        let plain = |signal| Self::plain(session(), peer("alice"), peer("bob"), true, signal);
        let mut samples: Vec<Self> = PeerSignal::samples().into_iter().map(plain).collect();
        samples[0].signal_id = Some(signal_id());
        samples[0].peers = vec![peer("alice"), peer("bob"), peer("carol")];
        samples[0].binding = Some(Binding::sample());
        samples[0].reply_to = Some("signaling-1".parse().expect("a valid id"));
        samples
    }
}

impl Signal for DeliverV1 {}

/// What became of a signal that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-unknown" = "unknown"))]
pub enum Fate {
    /// The other peer's connection has it.
    Delivered,
    /// The other peer did not come in time, or the session ended before.
    Expired,
    /// A fate newer than this reader.
    #[serde(other)]
    Unknown,
}

/// Tells a sender what became of a signal whose outcome was `queued`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// Which signal.
    pub signal_id: SignalId,
    /// Of which session.
    pub session_id: SessionId,
    /// For whom it was.
    pub to: PeerId,
    /// What became of it.
    pub fate: Fate,
}

impl Receipt {
    pub(crate) fn samples() -> Vec<Self> {
        let of = |fate| Self { signal_id: signal_id(), session_id: session(), to: peer("bob"), fate };
        vec![of(Fate::Delivered), of(Fate::Expired)]
    }
}

/// A receipt for a peer that sent a signal. Addressed to the gateway process that holds its connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptV1 {
    /// Who sent the signal.
    pub sender: PeerId,
    /// What became of it.
    pub receipt: Receipt,
    /// Names the receipt itself; what comes again under the same id is the same.
    pub receipt_id: SignalId,
    /// Who waits to hear whether the peer took it (`signaling.taken.v1` with the receipt's id).
    pub reply_to: NodeId,
}

impl Contract for ReceiptV1 {
    const KIND: &'static str = "signaling.receipt.v1";

    fn samples() -> Vec<Self> {
        let of = |receipt| Self {
            sender: peer("alice"),
            receipt,
            receipt_id: "0190-0002".parse().expect("a valid id"),
            reply_to: "signaling-1".parse().expect("a valid id"),
        };
        Receipt::samples().into_iter().map(of).collect()
    }
}

impl Signal for ReceiptV1 {}

/// Whether a gateway process could give a peer what it was sent. Addressed to the signaling process that asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TakenV1 {
    /// Which signal.
    pub signal_id: SignalId,
    /// False: the peer is not here.
    pub taken: bool,
}

impl Contract for TakenV1 {
    const KIND: &'static str = "signaling.taken.v1";

    fn samples() -> Vec<Self> {
        vec![Self { signal_id: signal_id(), taken: true }]
    }
}

impl Signal for TakenV1 {}

fn session() -> SessionId {
    "session-01".parse().expect("a valid id")
}

fn peer(name: &str) -> PeerId {
    name.parse().expect("a valid id")
}

fn signal_id() -> SignalId {
    "0190-0001".parse().expect("a valid id")
}
