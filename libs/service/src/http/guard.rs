//! What every public answer says to browsers, and what no request may bring in from outside.

use http::header::{
    CONNECTION, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};

use super::problem::{Code, ProblemResponse};

/// Two years, as the lists of browsers ask for. Subdomains are their owner's decision.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// Headers by which an inner service is told who calls. From outside they are lies, whoever sends them.
const IDENTITY: [&str; 12] = [
    "remote-user",
    "x-remote-user",
    "x-remote-group",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-authenticated-user",
    "x-user",
    "x-tenant",
    "x-role",
];
/// The same by their beginning.
const IDENTITY_PREFIXES: [&str; 8] = [
    "x-synapse-",
    "x-auth-",
    "x-user-",
    "x-tenant-",
    "x-role-",
    "x-remote-extra-",
    "x-amzn-oidc-",
    "x-goog-authenticated-user-",
];

/// Refuses what two parsers could read in two ways: several hosts or none (RFC 9112 §3.2). Of two lengths hyper keeps
/// Transfer-Encoding, as §6.3 has it; then the connection ends ([`ends_connection`]).
pub(super) fn check_framing<B>(request: &Request<B>) -> Result<(), ProblemResponse> {
    let headers = request.headers();
    let bad = |detail: &str| Err(ProblemResponse::new(Code::MalformedRequest).detail(detail));
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 {
        return bad("the request has several Host headers; send one");
    }
    if request.version() == Version::HTTP_11 && hosts == 0 {
        return bad("the request has no Host header; HTTP/1.1 demands one");
    }
    Ok(())
}

/// Removes what only an inner service may say, under any spelling that some server takes for the same name.
pub(super) fn strip_identity(headers: &mut HeaderMap) {
    let foreign = |name: &HeaderName| {
        let name = name.as_str();
        // Gateways in front of CGI-like servers take `_` and `.` for `-`.
        let spelled;
        let name = if name.contains(['_', '.']) {
            spelled = name.replace(['_', '.'], "-");
            &spelled
        } else {
            name
        };
        // All but one begin so: most headers are done with here.
        (name.starts_with("x-") || name.starts_with("remote"))
            && (IDENTITY.contains(&name) || IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
    };
    let found: Vec<HeaderName> = headers.keys().filter(|name| foreign(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Whether the connection must end with this request: what a proxy in front took for its end may not be ours.
pub(super) fn ends_connection<B>(request: &Request<B>) -> bool {
    request.version() <= Version::HTTP_11 && request.headers().contains_key(TRANSFER_ENCODING)
}

/// Adds what browsers are to heed, where the answer does not say something else itself.
pub(super) fn protect(status: StatusCode, headers: &mut HeaderMap, is_secure: bool, ends: bool) {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    const ALWAYS: [(HeaderName, HeaderValue); 4] = [
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(value);
    }
    // Over plain HTTP it would be ignored, and anybody could write it (RFC 6797 §7.2).
    if is_secure {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(HSTS);
    }
    if ends {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_calls_is_not_for_the_caller_to_say() {
        let mut headers = HeaderMap::new();
        let bad = [
            "x-synapse-user",
            "X_Synapse_Tenant",
            "x.synapse.role",
            "x-user-id",
            "remote-user",
            "x-auth-request-email",
        ];
        let good = [
            "x-request-id",
            "x-correlation-id",
            "authorization",
            "idempotency-key",
            "synapse-stream",
            "x-forwarded-for",
        ];
        for name in bad.into_iter().chain(good) {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("1"));
        }
        strip_identity(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left.len(), good.len(), "{left:?}");
        assert!(good.iter().all(|name| left.contains(name)), "{left:?}");
    }

    #[test]
    fn two_hosts_or_none_are_refused() {
        let request = |lines: &[(&'static str, &'static str)]| {
            let mut request = Request::new(());
            for (name, value) in lines {
                request.headers_mut().append(*name, HeaderValue::from_static(value));
            }
            check_framing(&request).is_ok()
        };
        assert!(request(&[("host", "a")]));
        assert!(!request(&[]) && !request(&[("host", "a"), ("host", "a")]));
    }
}
