//! A WebRTC data channel between two native peers, or a native peer and a browser.
//!
//! ```text
//!   offerer                        signaling                        answerer
//!   Connection::offer ── offer ───────────────────────► Connection::answer
//!   accept_answer ◄───────────────────────────── answer ──┘
//!   Event::LocalCandidate ── candidate ◄──────► candidate ── Event::LocalCandidate
//!   add_remote_candidate ◄──┘                            └──► add_remote_candidate
//!   Event::ChannelOpen ◄═════ UDP: ICE, DTLS, SCTP ═════► Event::ChannelOpen
//! ```
//!
//! Invariants: one task per connection; every queue, wait and retry has a bound that is an [`Options`] field or a
//! constant here; a connection ends with exactly one [`Event::Closed`], after every message that came before it.

mod connection;
mod driver;
mod error;
mod identity;
mod inbox;
mod lifetime;
mod options;
mod sdp;
mod sockets;
mod time;

pub use connection::Connection;
pub use error::{CloseReason, Error};
pub use identity::Identity;
pub use options::Options;

use bytes::Bytes;

/// The label of the one data channel of a connection.
pub const CHANNEL_LABEL: &str = "synapse";

/// The largest message [`Connection::send`] takes: 16 KiB, the size every WebRTC stack carries without fragmenting
/// at the application (RFC 8831 §6.6). [`Connection::send_all`] splits longer data.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// The longest session description taken: 256 KiB. An offer with 16 audio and 16 video tracks has 81 KB.
pub const MAX_SDP_BYTES: usize = 256 * 1024;

/// The longest candidate line taken: 4 KiB.
pub const MAX_CANDIDATE_BYTES: usize = 4 * 1024;

/// What a connection tells its owner, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A candidate of this side, to be signaled to the other (`candidate:…`, RFC 8839 §5.1).
    LocalCandidate(String),
    /// The path to the other peer came, went or is being looked for.
    StateChanged(State),
    /// A path was found and the DTLS handshake verified the other side's certificate.
    Connected,
    /// The data channel is open: messages flow from here on.
    ChannelOpen,
    /// A message from the other peer, as it was sent. Text arrives as its UTF-8 bytes.
    Message(Bytes),
    /// The connection ended. Always the last event.
    Closed(CloseReason),
}

/// The state of the path between two peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Pairs of candidates are being tried.
    Checking,
    /// A pair carries traffic.
    Connected,
    /// The pair in use stopped answering; it may come back until [`Options::ice_timeout`] is over.
    Disconnected,
}
