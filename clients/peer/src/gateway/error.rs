use contracts::http::Problem;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is none, or nothing answered there.
    #[error("the gateway can't be reached: {0}")]
    Network(String),
    /// The gateway answered with HTTP and not with a WebSocket.
    #[error("the gateway refused the connection with HTTP status {status}: {detail}")]
    Http {
        /// The status.
        status: u16,
        /// The problem's detail or the body's beginning.
        detail: String,
    },
    /// The gateway refused token, proof or peer.
    #[error("the gateway refused: {} ({})", .0.title, .0.code)]
    Refused(Box<Problem>),
    /// It said something that the protocol does not allow.
    #[error("the gateway does not speak synapse.v1: {0}")]
    Protocol(String),
    /// It took too long.
    #[error("the gateway did not answer in time")]
    Timeout,
}

/// Why a request on a live connection came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The gateway said no.
    #[error("refused: {} ({})", .0.title, .0.code)]
    Refused(Box<Problem>),
    /// The connection is over.
    #[error("the connection is closed")]
    Closed,
    /// It took too long.
    #[error("the gateway did not answer in time")]
    Timeout,
    /// It said something that the protocol does not allow.
    #[error("the gateway does not speak synapse.v1: {0}")]
    Protocol(String),
}
