use std::borrow::Cow;

use http::Request;
use http::header::CONTENT_LENGTH;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::problem::{Code, ProblemResponse};
use crate::config::{Checks, ConfigProblem, Validate};

/// What a request may be like; `[http.limits]` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpLimits {
    /// Longest body, bytes. Default 2 MiB.
    pub body_bytes: usize,
    /// Most headers. Default 50.
    pub headers: usize,
    /// Longest header name, bytes. Default 256.
    pub header_name_bytes: usize,
    /// Longest header value, bytes. Default 8 KiB.
    pub header_value_bytes: usize,
    /// Longest path and query, bytes. Default 8 KiB.
    pub uri_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            body_bytes: 2 << 20,
            headers: 50,
            header_name_bytes: 256,
            header_value_bytes: 8 << 10,
            uri_bytes: 8 << 10,
        }
    }
}

impl Validate for HttpLimits {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("http.limits.body_bytes", self.body_bytes, 1..=1 << 30);
        checks.range("http.limits.headers", self.headers, 1..=100);
        checks.range("http.limits.header_name_bytes", self.header_name_bytes, 1..=1 << 10);
        checks.range("http.limits.header_value_bytes", self.header_value_bytes, 1..=16 << 10);
        checks.range("http.limits.uri_bytes", self.uri_bytes, 1..=32 << 10);
        checks.finish()
    }
}

impl HttpLimits {
    /// Refuses a request that is over a limit. A body without a length is counted while it is read.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), ProblemResponse> {
        let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
        if uri > self.uri_bytes {
            return Err(Code::UriTooLong.into());
        }
        let headers = request.headers();
        let too_large = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            name.as_str().len() > self.header_name_bytes || value.len() > self.header_value_bytes
        };
        if headers.len() > self.headers || headers.iter().any(too_large) {
            return Err(Code::HeadersTooLarge.into());
        }
        if !path_is_safe(request.uri().path()) {
            return Err(Code::UnsafePath.into());
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.body_bytes as u64) {
            return Err(self.body_problem());
        }
        Ok(())
    }

    /// What a caller is told whose body is too large.
    pub(super) fn body_problem(&self) -> ProblemResponse {
        ProblemResponse::new(Code::PayloadTooLarge).detail(format!("the body is over {} bytes", self.body_bytes))
    }
}

/// Whether a path can't climb out of where it is looked up, however often somebody decodes it on the way: no `.` and
/// `..` segments (also with parameters, `..;x`), no encoded slashes, backslashes or control characters.
pub fn path_is_safe(path: &str) -> bool {
    if !path.contains(['%', '.', '\\', ';']) {
        return path.bytes().all(|byte| !byte.is_ascii_control());
    }
    path.split('/').all(|segment| {
        let mut segment = Cow::Borrowed(segment);
        // Twice encoded ("%252e") is the trick of those who know that something decodes twice.
        for _ in 0..3 {
            let name = segment.split(';').next().unwrap_or_default();
            if matches!(name, "." | "..")
                || segment.contains(['/', '\\'])
                || segment.chars().any(|c| c.is_ascii_control())
            {
                return false;
            }
            segment = Cow::Owned(percent_decode_str(&segment).decode_utf8_lossy().into_owned());
        }
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn climbing_paths_are_refused() {
        for bad in [
            "/..",
            "/a/../b",
            "/a/..",
            "/./a",
            "/%2e%2e/a",
            "/.%2E/a",
            "/%252e%252e/a",
            "/a%2fb",
            "/a%252Fb",
            "/a%5cb",
            "/a\\b",
            "/..;x/a",
            "/%2e%2e;/a",
            "/a%00",
            "/a%0d%0a",
        ] {
            assert!(!path_is_safe(bad), "{bad}");
        }
    }

    #[test]
    fn ordinary_paths_pass() {
        for good in [
            "/",
            "",
            "/a/b",
            "/v1.2/x.json",
            "/a..b",
            "/.well-known/x",
            "/%C3%A9",
            "/a;v=1",
            "/100%25",
            "/...",
            "/a//b",
        ] {
            assert!(path_is_safe(good), "{good}");
        }
    }
}
