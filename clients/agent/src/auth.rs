//! Basic auth in front of the local program (RFC 7617).

use aws_lc_rs::{constant_time, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::body::Body;

/// Who may ask: a user and a password. The program never sees them.
#[derive(Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// SHA-256 of `user:password`: what is compared has the same length whatever was given.
    digest: Vec<u8>,
}

/// Why `user:password` can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be user:password, both not empty and without control characters; the user has no colon (RFC 7617)")]
pub struct BadCredentials;

impl BasicAuth {
    /// From `user:password`.
    ///
    /// # Errors
    /// When it is not of that form.
    pub fn try_new(credentials: &str) -> Result<Self, BadCredentials> {
        let (user, password) = credentials.split_once(':').ok_or(BadCredentials)?;
        if user.is_empty() || password.is_empty() || credentials.chars().any(char::is_control) {
            return Err(BadCredentials);
        }
        Ok(Self { digest: sha256(credentials.as_bytes()) })
    }

    /// Whether a request has the right credentials, compared in constant time. Two headers are none.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(one), None) = (given.next(), given.next()) else { return false };
        let Some((scheme, encoded)) = one.to_str().ok().and_then(|value| value.split_once(' ')) else { return false };
        let decoded = STANDARD.decode(encoded.trim()).unwrap_or_default();
        scheme.eq_ignore_ascii_case("basic")
            && constant_time::verify_slices_are_equal(&sha256(&decoded), &self.digest).is_ok()
    }

    pub(crate) fn refusal() -> Response<Body> {
        let text = Bytes::from_static(b"This address asks for a user and a password.\n");
        let mut answer = Response::new(Full::new(text).map_err(|never| match never {}).boxed());
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
        let challenge = HeaderValue::from_static("Basic realm=\"tunnel\", charset=\"UTF-8\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        answer.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        answer.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }
}

impl std::fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BasicAuth(…)")
    }
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_right_credentials_are_admitted() {
        let auth = BasicAuth::try_new("ada:se:cret").unwrap();
        let right = format!("Basic {}", STANDARD.encode("ada:se:cret"));
        assert!(auth.admits(&headers(&[&right])));
        assert!(auth.admits(&headers(&[&right.replace("Basic", "basic")])), "schemes have no case (RFC 9110 §11.1)");
        let wrong = format!("Basic {}", STANDARD.encode("ada:secret"));
        for given in [&[][..], &["Basic"], &["Basic %%%"], &["Bearer x"], &[&wrong], &[&right, &right]] {
            assert!(!auth.admits(&headers(given)), "{given:?}");
        }
    }

    #[test]
    fn credentials_have_both_parts() {
        for given in ["ada", ":x", "ada:", "a\n:b"] {
            assert_eq!(BasicAuth::try_new(given), Err(BadCredentials), "{given:?}");
        }
        assert!(!format!("{:?}", BasicAuth::try_new("ada:x").unwrap()).contains("ada"));
    }
}
