//! What must not get into logs and traces: fields by their name, and secrets by their look inside any text.

use std::borrow::Cow;

/// What stands in place of a secret.
pub(super) const REDACTED: &str = "[redacted]";

const SECRET_WORDS: [&str; 11] = [
    "token",
    "authorization",
    "secret",
    "password",
    "passwd",
    "cookie",
    "proof",
    "api_key",
    "apikey",
    "credential",
    "private_key",
];

/// Endings of names that only speak about a secret.
const HARMLESS_ENDINGS: [&str; 5] = ["_id", "_count", "_ms", "_code", "_len"];

/// Whether a field of this name is redacted whatever it holds: `token`, `Authorization`, `webhook_secret`, … but not
/// `token_id`.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| name.contains(word)) && !HARMLESS_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Beginnings of secrets: JWTs, header schemes, Stripe's keys, our keys.
const SECRET_STARTS: [&str; 11] = [
    "eyJ",
    "Bearer ",
    "bearer ",
    "Basic ",
    "whsec_",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "syn_live_",
    "syn_test_",
];

/// `text` without anything that looks like a secret: tokens, keys, passwords in URLs.
pub fn scrub(text: &str) -> Cow<'_, str> {
    let mut clean = Cow::Borrowed(text);
    for start in SECRET_STARTS {
        if clean.contains(start) {
            clean = Cow::Owned(scrub_runs(&clean, start));
        }
    }
    if clean.contains("://") {
        clean = Cow::Owned(scrub_urls(&clean));
    }
    clean
}

/// Replaces each run of token characters after `start`. Short runs are words, not secrets ("Basic idea").
fn scrub_runs(text: &str, start: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(start) {
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || "._~+/=-".contains(c))).unwrap_or(after.len());
        clean += before;
        clean += start;
        clean += if end >= 8 { REDACTED } else { &after[..end] };
        rest = &after[end..];
    }
    clean + rest
}

/// Replaces `user:password` before the `@` of each URL.
fn scrub_urls(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean += before;
        clean += "://";
        let end = after.find(|c: char| c == '/' || c == '"' || c.is_whitespace()).unwrap_or(after.len());
        let (authority, others) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => clean += &format!("{REDACTED}@{host}"),
            None => clean += authority,
        }
        rest = others;
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_any_spelling() {
        for name in ["token", "access_token", "Authorization", "Set-Cookie", "webhook_secret", "proof", "X-Api-Key"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["token_id", "proof_id", "route", "peer", "key", "proof_count"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_found_inside_texts() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";
        for secret in [
            jwt.to_owned(),
            format!("got {jwt}, {jwt}"),
            format!("Authorization: Bearer {jwt}"),
            "Bearer 0123456789abcdef".into(),
            "key sk_live_0123456789 whsec_0123456789".into(),
            "nats://user:0123456789@host:4222/x".into(),
        ] {
            let clean = scrub(&secret);
            assert!(clean.contains(REDACTED), "{clean}");
            assert!(!clean.contains("0123456789") && !clean.contains("c2lnbmF0dXJl"), "{clean}");
        }
        assert_eq!(scrub("nats://u:p@host:4222/x y"), "nats://[redacted]@host:4222/x y");
        for harmless in ["Basic idea", "eyJ", "http://host/a@b", "é Bearer é", "Bearer "] {
            assert_eq!(scrub(harmless), harmless);
        }
    }
}
