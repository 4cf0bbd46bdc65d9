//! Every code a public answer may carry. Codes are stable: they may be added, never renamed or given another meaning.

/// What is to be said about a code.
pub(super) struct Entry {
    pub(super) code: &'static str,
    pub(super) status: u16,
    pub(super) title: &'static str,
    pub(super) suggestion: &'static str,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal, $suggestion:literal;)+) => {
        /// A stable code of a problem. The table in `docs/errors.md` is generated from this one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            pub(super) const fn entry(self) -> &'static Entry {
                match self {
                    $(Code::$name => const {
                        &Entry {
                            code: $code,
                            status: $status,
                            title: concat!($($doc),+).trim_ascii(),
                            suggestion: $suggestion,
                        }
                    },)+
                }
            }
        }
    };
}

codes! {
    /// The request breaks a rule
    Validation = "validation_failed", 400, "Correct the fields named in 'violations' and send the request again.";
    /// The request can't be read
    MalformedRequest = "malformed_request", 400, "Send a well-formed request; 'detail' says what could not be read.";
    /// The path is not allowed
    UnsafePath = "unsafe_path", 400, "Send a path without '.' and '..' segments, encoded slashes, backslashes or NUL.";
    /// The Idempotency-Key header is missing
    IdempotencyKeyMissing = "idempotency_key_missing", 400, "Send an Idempotency-Key header of 1 to 255 characters, a new one for each new intent.";
    /// The signature is not good
    InvalidSignature = "invalid_signature", 400, "Sign the raw body with the endpoint's current secret.";
    /// The signal is not valid
    InvalidSignal = "invalid_signal", 400, "Send a signal that follows the rules named in 'detail'.";
    /// The protocol version is not supported
    UnsupportedProtocol = "unsupported_protocol", 400, "Speak one of the versions named in 'detail'.";
    /// There is no access token
    AuthenticationMissing = "authentication_missing", 401, "Send an access token: 'Authorization: Bearer …'.";
    /// The access token is not good
    AuthenticationInvalid = "authentication_invalid", 401, "Get a new access token; 'detail' says what is wrong with this one.";
    /// The access token has expired
    AuthenticationExpired = "authentication_expired", 401, "Refresh the access token and send the request again.";
    /// The payment did not go through
    PaymentFailed = "payment_failed", 402, "Let the customer complete or change the payment, then try again.";
    /// The bank wants the customer to confirm the payment
    PaymentActionRequired = "payment_action_required", 402, "Confirm the payment with 'payment.client_secret' (Stripe.js) or on the page 'payment.hosted_invoice_url', then send the same request with the same Idempotency-Key.";
    /// The subscription no longer entitles to this
    EntitlementLost = "entitlement_lost", 402, "Renew the subscription, get a new proof, then connect again.";
    /// This is not allowed
    Forbidden = "forbidden", 403, "Ask for the right, or use an account that has it.";
    /// The subscription proof is missing or refused
    ProofRefused = "proof_refused", 403, "Ask the subscription's verify endpoint for a new proof for this peer, then connect again.";
    /// The certificate is not this peer's
    IdentityMismatch = "identity_mismatch", 403, "Use one certificate per session, signed with the identity key that the peer published; 'detail' says which rule is broken.";
    /// You are not a member of this session
    NotMember = "not_member", 403, "Send signals only in sessions that this peer is part of.";
    /// The subscription's status does not allow this change
    IllegalTransition = "illegal_transition", 403, "Read the subscription's current status; 'detail' names what was asked.";
    /// There is no such thing
    NotFound = "not_found", 404, "Check the address and the id; things of other tenants are not shown.";
    /// The peer is not known
    PeerUnknown = "peer_unknown", 404, "Check the peer's id; it must have been connected in this tenant.";
    /// The session is not known
    SessionUnknown = "session_unknown", 404, "Open a new session; this one never was or has ended.";
    /// There is no such tunnel
    TunnelUnknown = "tunnel_unknown", 404, "Check the address; whoever gave it to you may have closed the tunnel for good.";
    /// This method is not allowed here
    MethodNotAllowed = "method_not_allowed", 405, "Use one of the methods in the Allow header.";
    /// The request took too long to arrive
    RequestTimeout = "request_timeout", 408, "Send the whole request faster.";
    /// This conflicts with the present state
    Conflict = "conflict", 409, "Read the present state and decide again.";
    /// The peer is offline
    PeerOffline = "peer_offline", 409, "Wait until presence shows the peer, then try again.";
    /// The signal belongs to an earlier negotiation
    StaleGeneration = "stale_generation", 409, "Drop it and follow the newest negotiation of the session.";
    /// A request with this Idempotency-Key is still running
    IdempotencyInProgress = "idempotency_in_progress", 409, "Wait, then send the same request with the same key.";
    /// The body is too large
    PayloadTooLarge = "payload_too_large", 413, "Send less; 'detail' names the limit.";
    /// The address is too long
    UriTooLong = "uri_too_long", 414, "Shorten the address to 8192 bytes; put data into the body.";
    /// The body's media type is not supported
    UnsupportedMediaType = "unsupported_media_type", 415, "Send 'Content-Type: application/json'.";
    /// The Idempotency-Key was used with other content
    IdempotencyMismatch = "idempotency_mismatch", 422, "Use a new key for a new intent, or send exactly what was sent before.";
    /// The price is not on offer
    UnknownPrice = "unknown_price", 422, "Use one of the prices named in 'detail'.";
    /// Too many requests
    RateLimited = "rate_limited", 429, "Wait as long as Retry-After says, then go on slower.";
    /// As much as is kept for an absent peer waits already
    MailboxFull = "mailbox_full", 429, "Wait until presence shows the peer, then send the signal again.";
    /// The plan's limit is used up
    QuotaExceeded = "quota_exceeded", 429, "Wait as long as Retry-After says (without one: use less at once), or change to a larger plan.";
    /// The headers are too many or too large
    HeadersTooLarge = "headers_too_large", 431, "Send at most 50 headers, names up to 256 bytes, values up to 8192.";
    /// Something went wrong here
    Internal = "internal_error", 500, "Try again later; if it stays, report 'error_id'.";
    /// A service outside did not do its part
    ExternalService = "external_service_failed", 502, "Try again later with the same Idempotency-Key; 'detail' names the service.";
    /// The other end of the tunnel is not connected
    AgentOffline = "agent_offline", 502, "Start the agent on the machine behind this tunnel, then try again.";
    /// The origin behind the tunnel can't be reached
    OriginUnreachable = "origin_unreachable", 502, "Start the program behind the tunnel; 'detail' says where the agent looked for it.";
    /// The connection to the other end of the tunnel was lost
    AgentLost = "agent_lost", 502, "Try again; a request that is not idempotent may have taken effect.";
    /// This can't be done right now
    Unavailable = "unavailable", 503, "Wait as long as Retry-After says, then try again.";
    /// The origin behind the tunnel did not answer in time
    OriginTimeout = "origin_timeout", 504, "Look at the program behind the tunnel: it has the request, but does not answer.";
    /// It took too long
    Timeout = "timeout", 504, "Try again with the same Idempotency-Key: the request may have taken effect.";
}
