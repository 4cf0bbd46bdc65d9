/// Why an access token was refused. The message says what to do and never repeats the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`crate::MAX_TOKEN_LEN`].
    #[error("the token is longer than 10000 characters; ask for one with fewer claims")]
    TooLong,
    /// Not three base64url parts with a JSON header and payload.
    #[error("the token is not a signed JWT (three base64url parts with dots between); send the token as it was issued")]
    Malformed,
    /// It is a JWT for something else (a subscription proof, for example).
    #[error("this JWT is not an access token (its 'typ' names another use); send the access token here")]
    WrongType,
    /// It names no key although several are configured.
    #[error("the token's header has no 'kid'; have it issued with the name of its key")]
    MissingKeyId,
    /// It names a key that nobody here knows.
    #[error("the token is signed with an unknown key; sign in again to get one signed with a current key")]
    UnknownKey,
    /// Its `alg` is not that of the key it names (also: `none`).
    #[error(
        "the token's algorithm is not the one of its key; have it issued with the algorithm the key is registered for"
    )]
    AlgorithmMismatch,
    /// The signature is not by that key.
    #[error("the token's signature does not fit its content; sign in again and send the token unchanged")]
    BadSignature,
    /// A claim that must be there is not.
    #[error("the token lacks the claim '{0}'; have it issued with exp, iss, aud, sub and tenant")]
    MissingClaim(&'static str),
    /// A claim has the wrong type or breaks its rule.
    #[error("the token's claim '{0}' has the wrong type or form; have the issuer correct it")]
    InvalidClaim(&'static str),
    /// Past its `exp`.
    #[error("the token has expired; refresh it or sign in again")]
    Expired,
    /// Before its `nbf` or `iat`.
    #[error("the token is not valid yet; wait, or correct the issuer's clock")]
    NotYetValid,
    /// Issued by somebody else.
    #[error("the token is from another issuer; sign in at the issuer this service trusts")]
    WrongIssuer,
    /// Issued for somebody else.
    #[error("the token is for another audience; ask for one issued for this service")]
    WrongAudience,
}

impl TokenError {
    /// Stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "token_too_long",
            Self::Malformed => "token_malformed",
            Self::WrongType => "token_wrong_type",
            Self::MissingKeyId => "token_missing_key_id",
            Self::UnknownKey => "token_unknown_key",
            Self::AlgorithmMismatch => "token_algorithm_mismatch",
            Self::BadSignature => "token_bad_signature",
            Self::MissingClaim(_) => "token_missing_claim",
            Self::InvalidClaim(_) => "token_invalid_claim",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::WrongIssuer => "token_wrong_issuer",
            Self::WrongAudience => "token_wrong_audience",
        }
    }
}
