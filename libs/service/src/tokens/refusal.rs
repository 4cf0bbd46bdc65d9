use auth::TokenError;
use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;

use crate::http::{Code, ProblemResponse};

/// What a challenge names as the space that tokens are for (RFC 9110 §11.5).
const REALM: &str = "synapse";

/// Why a request has no known caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// It brings no token.
    #[error("there is no access token")]
    Missing,
    /// Its token is not good.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Its key is not known here, and whoever publishes keys can't be asked.
    #[error("the keys of access tokens can't be fetched at the moment")]
    KeysUnavailable {
        /// When that is tried again, seconds.
        retry_after_s: u64,
    },
}

impl Unauthenticated {
    /// Stable word for programs and logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Token(error) => error.code(),
            Self::KeysUnavailable { .. } => "token_keys_unavailable",
        }
    }
}

impl From<Unauthenticated> for ProblemResponse {
    fn from(refusal: Unauthenticated) -> Self {
        match refusal {
            Unauthenticated::Missing => challenge(Self::new(Code::AuthenticationMissing), None),
            Unauthenticated::KeysUnavailable { retry_after_s } => {
                Self::new(Code::Unavailable).detail(refusal.to_string()).retry_after_s(retry_after_s)
            }
            Unauthenticated::Token(error) => {
                let is_over = error == TokenError::Expired;
                let code = if is_over { Code::AuthenticationExpired } else { Code::AuthenticationInvalid };
                let why = error.to_string();
                challenge(Self::new(code).detail(&why), Some(("invalid_token", &why)))
            }
        }
    }
}

/// Adds what a 401 must have (RFC 9110 §11.6.1): how to authenticate, and why what was sent did not do (RFC 6750 §3.1). A
/// request without a token is told no error (RFC 6750 §3).
pub(crate) fn challenge(problem: ProblemResponse, error: Option<(&str, &str)>) -> ProblemResponse {
    let mut text = format!("Bearer realm=\"{REALM}\"");
    if let Some((error, why)) = error {
        // The characters that RFC 6750 §3 allows there; everything else is told in the problem alone.
        let why: String = why.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
        text += &format!(", error=\"{error}\", error_description=\"{why}\"");
    }
    match HeaderValue::try_from(text) {
        Ok(value) => problem.header(WWW_AUTHENTICATE, value),
        Err(_) => problem,
    }
}
