use std::net::IpAddr;

/// Why a call was refused. Messages name the field, the rule and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is outside its limits.
    #[error("option `{field}`: {rule}")]
    Option {
        /// The field of [`super::Options`].
        field: &'static str,
        /// The limit it breaks.
        rule: &'static str,
    },
    /// No UDP socket could be opened on an address of `bind`.
    #[error("option `bind`: can't open a UDP socket on {address}; name an address of this machine")]
    Bind {
        /// The address asked for.
        address: IpAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The other side's session description can't be used. Ask it for a new one.
    #[error("session description: {0}")]
    Sdp(String),
    /// The other side's candidate can't be used. Later candidates still can.
    #[error("candidate: {0}")]
    Candidate(String),
    /// More candidates came than [`super::Options::max_remote_candidates`].
    #[error("candidate: more than {limit} came; raise `max_remote_candidates` if the peer really has that many")]
    TooManyCandidates {
        /// The limit in force.
        limit: usize,
    },
    /// The session description carries another certificate than the expected one: it comes from somebody else.
    #[error("session description: certificate fingerprint is {found}, expected {expected}; it is not this peer's")]
    FingerprintMismatch {
        /// [`super::Options::expected_fingerprint`].
        expected: String,
        /// The one in the description.
        found: String,
    },
    /// An answer came to a connection that has one, or that itself answered.
    #[error("answer: this connection isn't waiting for one; pass each answer once, to the side that offered")]
    NotAwaitingAnswer,
    /// A message is longer than [`super::MAX_MESSAGE_BYTES`].
    #[error("message: {len} bytes, the limit is {limit}; use `send_all`, which splits")]
    MessageTooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A message has no bytes. The protocol has a mark for that, which this stack reads and can't write.
    #[error("message: empty; send at least one byte")]
    EmptyMessage,
    /// `close` waited [`super::Options::close_timeout`] and the other side hadn't acknowledged everything.
    #[error("closed with {unacknowledged_bytes} bytes that the other side hadn't acknowledged")]
    Unflushed {
        /// Bytes that may or may not have arrived.
        unacknowledged_bytes: usize,
    },
    /// The connection has ended.
    #[error("the connection is closed: {0}")]
    Closed(CloseReason),
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side closed or dropped it.
    #[error("closed by this side")]
    Local,
    /// The other side closed it.
    #[error("closed by the other side")]
    Remote,
    /// No answer within [`super::Options::answer_timeout`].
    #[error("no answer came in time")]
    AnswerTimeout,
    /// No open channel within [`super::Options::connect_timeout`].
    #[error("the channel didn't open in time")]
    ConnectTimeout,
    /// Nothing was heard from the other side for [`super::Options::ice_timeout`].
    #[error("the other side can't be reached any more")]
    ConnectionLost,
    /// The certificate shown in the handshake isn't the one in the session description.
    #[error("the other side's certificate isn't the one it announced")]
    FingerprintMismatch,
    /// The protocol stack or the sockets failed.
    #[error("{0}")]
    Failed(String),
}
