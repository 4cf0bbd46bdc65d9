//! Where Stripe's pages may send a browser. A page that sends it anywhere else would lend our name to a stranger.

use service::config::Checks;
use url::Url;

/// Longest URL that Stripe takes, bytes.
const MAX_URL_BYTES: usize = 2_048;

/// Checks the list itself.
pub(crate) fn check(list: &[String], checks: &mut Checks) {
    for entry in list {
        let is_place = Url::parse(entry).is_ok_and(|url| {
            is_web(&url) && url.query().is_none() && url.fragment().is_none() && url.username().is_empty()
        });
        let rule = format!("{entry:?} is not the beginning of a web address");
        checks.require(
            is_place,
            "return_urls",
            &rule,
            "use https://app.example.com or https://app.example.com/account",
        );
    }
}

/// What is wrong with `text` as a return URL, `field: rule`.
pub(crate) fn violation(field: &str, text: &str, list: &[String]) -> Option<String> {
    if text.len() > MAX_URL_BYTES {
        return Some(format!("{field}: it has {} bytes; at most {MAX_URL_BYTES}", text.len()));
    }
    // Parsers disagree about what these mean: browsers take a backslash for a slash.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let Some(url) = Url::parse(text).ok().filter(|url| is_plain && is_web(url)) else {
        return Some(format!("{field}: it is not a web address; use one like https://app.example.com/account"));
    };
    let has_login = !url.username().is_empty() || url.password().is_some();
    if has_login || !list.iter().any(|entry| Url::parse(entry).is_ok_and(|entry| is_below(&entry, &url))) {
        let origin = url.origin().ascii_serialization();
        return Some(format!("{field}: {origin} with this path is not on the list of return URLs; add it there"));
    }
    None
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

/// Whether `url` has the origin of `entry` and its path or one below it.
fn is_below(entry: &Url, url: &Url) -> bool {
    let path = entry.path().trim_end_matches('/');
    let rest = url.path().strip_prefix(path);
    entry.origin() == url.origin() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_places_and_what_is_below_them() {
        let list = ["https://app.example.com/account/".to_owned(), "http://127.0.0.1:8080".to_owned()];
        for good in [
            "https://app.example.com/account",
            "https://app.example.com/account/plans?session={CHECKOUT_SESSION_ID}#top",
            "https://APP.example.com:443/account/",
            "http://127.0.0.1:8080/anything",
        ] {
            assert_eq!(violation("return_url", good, &list), None, "{good}");
        }
        for bad in [
            "https://app.example.com/accounts",
            "https://app.example.com/account/../admin",
            "https://app.example.com/account/%2e%2e/admin",
            "https://app.example.com.evil.example/account",
            "https://app.example.com@evil.example/account",
            "https://user:word@app.example.com/account",
            "https://evil.example\\@app.example.com/account",
            "http://app.example.com/account",
            "https://app.example.com:8443/account",
            "http://127.0.0.1:80801/",
            "javascript:alert(1)",
            "//app.example.com/account",
            "/account",
            " https://app.example.com/account",
            "",
        ] {
            let told = violation("return_url", bad, &list);
            assert!(told.is_some_and(|told| told.starts_with("return_url: ")), "{bad}");
        }
        let long = format!("https://app.example.com/account/{}", "a".repeat(MAX_URL_BYTES));
        assert!(violation("return_url", &long, &list).is_some());
        assert!(violation("return_url", "https://app.example.com/", &[]).is_some());
    }

    #[test]
    fn the_list_itself_is_checked() {
        let problems = |entry: &str| {
            let mut checks = Checks::default();
            check(&[entry.to_owned()], &mut checks);
            checks.finish().len()
        };
        assert_eq!(problems("https://app.example.com"), 0);
        for bad in ["app.example.com", "ftp://app.example.com", "https://a.example/?x=1", "https://me@a.example"] {
            assert_eq!(problems(bad), 1, "{bad}");
        }
    }
}
