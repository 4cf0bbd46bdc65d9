//! What is a secret, and what stands in its place.

use std::borrow::Cow;
use std::sync::Arc;

/// Stands where a secret was. Sent back in an edited request it means "the value as it was".
pub const REDACTED: &str = "[redacted]";

/// Names of headers and query parameters whose values are secrets everywhere.
const ALWAYS: [&str; 7] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "access_token", "api_key"];

/// Which headers and query parameters hold secrets. Bodies are not looked into.
#[derive(Clone, Debug)]
pub struct Redaction {
    names: Arc<[String]>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self::with(Vec::new())
    }
}

impl Redaction {
    /// The usual names (Authorization, Cookie, Set-Cookie, API keys) and these; case does not matter.
    pub fn with(names: Vec<String>) -> Self {
        let usual = ALWAYS.iter().map(|name| (*name).to_owned());
        Self { names: usual.chain(names.into_iter().map(|name| name.to_ascii_lowercase())).collect() }
    }

    fn holds(&self, name: &str) -> bool {
        self.names.iter().any(|secret| name.eq_ignore_ascii_case(secret))
    }

    /// A header's value without its secret; what a credential is of (`Bearer`) stays.
    pub(crate) fn header<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        if self.holds(name) {
            return match value.split_once(' ') {
                Some((scheme, _)) if name.to_ascii_lowercase().ends_with("authorization") => {
                    format!("{scheme} {REDACTED}").into()
                }
                _ => REDACTED.into(),
            };
        }
        match name.to_ascii_lowercase().as_str() {
            "referer" | "location" => self.path(value),
            _ => Cow::Borrowed(value),
        }
    }

    /// A path, or a whole address, without the secrets in its query.
    pub(crate) fn path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let Some((before, query)) = path.split_once('?') else { return Cow::Borrowed(path) };
        let secret = |pair: &str| self.holds(pair.split('=').next().unwrap_or_default());
        if !query.split('&').any(secret) {
            return Cow::Borrowed(path);
        }
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if self.holds(name) => format!("{name}={REDACTED}"),
            _ => pair.to_owned(),
        });
        format!("{before}?{}", pairs.collect::<Vec<_>>().join("&")).into()
    }

    /// The path that was meant by one with [`REDACTED`] in its query.
    pub(crate) fn restored_path(&self, edited: &str, original: &str) -> String {
        let (Some((before, query)), Some((_, was))) = (edited.split_once('?'), original.split_once('?')) else {
            return edited.to_owned();
        };
        let pairs = query.split('&').map(|pair| {
            let name = pair.strip_suffix(REDACTED).filter(|name| name.ends_with('='));
            let value = name.and_then(|name| was.split('&').find(|pair| pair.starts_with(name)));
            value.unwrap_or(pair)
        });
        format!("{before}?{}", pairs.collect::<Vec<_>>().join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let redaction = Redaction::with(vec!["X-Hub-Key".into()]);
        for (name, value, shown) in [
            ("authorization", "Bearer abc", "Bearer [redacted]"),
            ("authorization", "abc", "[redacted]"),
            ("Cookie", "a=1; b=2", "[redacted]"),
            ("set-cookie", "a=1; Path=/", "[redacted]"),
            ("x-hub-key", "1", "[redacted]"),
            ("x-other", "1", "1"),
            ("referer", "http://a/?access_token=1&b=2", "http://a/?access_token=[redacted]&b=2"),
        ] {
            assert_eq!(redaction.header(name, value), shown, "{name}");
        }
        assert_eq!(redaction.path("/a?x=1"), "/a?x=1");
        assert_eq!(redaction.path("/a?X-Hub-Key=1&y=2&api_key"), "/a?X-Hub-Key=[redacted]&y=2&api_key");
    }

    #[test]
    fn an_edited_path_gets_its_secrets_back() {
        let redaction = Redaction::default();
        let was = "/a?access_token=s&b=2";
        assert_eq!(redaction.restored_path("/c?b=3&access_token=[redacted]", was), "/c?b=3&access_token=s");
        assert_eq!(redaction.restored_path("/c?access_token=new", was), "/c?access_token=new");
        assert_eq!(redaction.restored_path("/c", was), "/c");
    }
}
