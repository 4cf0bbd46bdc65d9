use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::limiter::Standing;
use crate::http::{Code, ProblemResponse};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Where one request stands with every policy that it was counted by; an extension of the request. Cheap to clone.
///
/// Becomes the fields `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-10: a list of policies
/// by name, `q` tokens per `w` seconds, `r` of them left and `t` seconds until all of them are there again.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    known: Arc<Mutex<Vec<Standing>>>,
}

impl Standings {
    /// Adds one.
    pub fn add(&self, standing: Standing) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).push(standing);
    }

    /// Writes the fields; none where nothing was counted.
    pub fn write(&self, headers: &mut HeaderMap) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut policies, mut limits) = (String::new(), String::new());
        for Standing { policy, remaining, full_ms, .. } in known.iter() {
            let comma = if policies.is_empty() { "" } else { ", " };
            let (name, window_s) = (policy.name, policy.window_ms.div_ceil(1_000));
            // Writing into a text can't fail.
            let _ = write!(policies, "{comma}\"{name}\";q={};w={window_s}", policy.quota);
            let _ = write!(limits, "{comma}\"{name}\";r={remaining};t={}", full_ms.div_ceil(1_000));
        }
        for (name, text) in [(RATE_LIMIT_POLICY, policies), (RATE_LIMIT, limits)] {
            if let (false, Ok(value)) = (text.is_empty(), HeaderValue::from_str(&text)) {
                headers.insert(name, value);
            }
        }
    }
}

impl Standing {
    /// What a caller is told who has none left.
    pub fn problem(&self) -> ProblemResponse {
        let Self { policy, wait_ms, .. } = self;
        let detail = format!(
            "{}: at most {} at once, {} more every {} s",
            policy.name,
            policy.quota,
            policy.quota,
            policy.window_ms.div_ceil(1_000)
        );
        ProblemResponse::new(Code::RateLimited).detail(detail).retry_after_s(wait_ms.div_ceil(1_000).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Policy;

    #[test]
    fn the_fields_list_every_policy() {
        let policy = Policy { name: "requests_per_user", quota: 1_200, window_ms: 60_000 };
        let user = Standing { policy, remaining: 7, full_ms: 59_650, wait_ms: 0 };
        let policy = Policy { name: "requests_per_address", quota: 6_000, window_ms: 60_000 };
        let address = Standing { policy, remaining: 5_999, full_ms: 10, wait_ms: 0 };
        let (standings, mut headers) = (Standings::default(), HeaderMap::new());
        standings.write(&mut headers);
        assert!(headers.is_empty());
        standings.add(address);
        standings.add(user);
        standings.write(&mut headers);
        let expected = "\"requests_per_address\";q=6000;w=60, \"requests_per_user\";q=1200;w=60";
        assert_eq!(headers["ratelimit-policy"], expected);
        assert_eq!(headers["ratelimit"], "\"requests_per_address\";r=5999;t=1, \"requests_per_user\";r=7;t=60");
    }
}
