//! STUN and TURN servers for peers, with credentials that are each peer's own and end soon: coturn's `use-auth-secret`
//! (draft-uberti-behave-turn-rest). Whoever holds the secret can check them, so nobody has to be told.

mod url;

pub(crate) use url::check_url;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::requests::signaling::{IceServer, IceServers};
use contracts::{PeerId, TenantId};
use secrecy::ExposeSecret;
use service::config::{Checks, Secret};

use crate::Config;

/// Most servers of a kind: a browser asks every one of them for each connection.
const MAX_URLS: usize = 16;
/// Shortest secret: 128 bits of a random one in base64.
const MIN_SECRET_BYTES: usize = 22;

/// What a peer gives `RTCPeerConnection`. While the secret is rotated there are two entries with the same servers, one
/// with each secret's credentials: whichever of the two a server knows, one entry works.
pub(crate) fn servers(config: &Config, tenant: &TenantId, peer: &PeerId, now_ms: u64) -> IceServers {
    let expires_at_s = now_ms / 1_000 + config.turn_ttl_s;
    let username = format!("{expires_at_s}:{tenant}/{peer}");
    let mut ice_servers = Vec::new();
    let stun = stun_urls(config);
    if !stun.is_empty() {
        ice_servers.push(IceServer { urls: stun, username: None, credential: None });
    }
    if !config.turn_urls.is_empty() {
        for secret in [&config.turn_secret, &config.turn_secret_next].into_iter().filter(|secret| secret.is_set()) {
            ice_servers.push(IceServer {
                urls: config.turn_urls.clone(),
                username: Some(username.clone()),
                credential: Some(password(secret, &username)),
            });
        }
    }
    IceServers { ice_servers, expires_at_ms: expires_at_s * 1_000 }
}

/// Those that are configured; where nothing is, the default.
fn stun_urls(config: &Config) -> Vec<String> {
    let nothing = config.stun_urls.is_empty() && config.turn_urls.is_empty();
    if nothing && !config.default_stun_url.is_empty() {
        return vec![config.default_stun_url.clone()];
    }
    config.stun_urls.clone()
}

/// `base64(HMAC-SHA1(secret, username))`. SHA-1 is the scheme's; an HMAC needs no collision resistance.
fn password(secret: &Secret, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.current().expose_secret().as_bytes());
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

/// Adds what is wrong with the settings.
pub(crate) fn check(config: &Config, checks: &mut Checks) {
    let default: Vec<String> =
        Some(&config.default_stun_url).filter(|url| !url.is_empty()).cloned().into_iter().collect();
    for (key, urls, is_turn) in [
        ("stun_urls", &config.stun_urls, false),
        ("turn_urls", &config.turn_urls, true),
        ("default_stun_url", &default, false),
    ] {
        let rule = format!("has {} servers, at most {MAX_URLS} are taken", urls.len());
        checks.require(urls.len() <= MAX_URLS, key, &rule, "name fewer: clients ask all of them");
        for (number, url) in urls.iter().enumerate() {
            if let Err(error) = check_url(url, is_turn) {
                let key = if key.ends_with('s') { format!("{key}[{number}]") } else { key.to_owned() };
                checks.require(false, &key, &format!("{url:?} {error}"), url::example(is_turn));
            }
            let again = urls[..number].contains(url);
            checks.require(!again, key, &format!("names {url:?} twice"), "name each server once");
        }
    }
    let (has_turn, has_secret) = (!config.turn_urls.is_empty(), config.turn_secret.is_set());
    let fix = "set it to coturn's static-auth-secret: `openssl rand -base64 32`";
    checks.require(has_secret || !has_turn, "turn_secret", "is missing, and turn_urls names servers", fix);
    checks.require(
        has_turn || !has_secret,
        "turn_urls",
        "names no server, and turn_secret is set",
        "name one or unset the secret",
    );
    checks.require(
        has_secret || !config.turn_secret_next.is_set(),
        "turn_secret_next",
        "is set and turn_secret is not",
        "set turn_secret",
    );
    for (key, secret) in [("turn_secret", &config.turn_secret), ("turn_secret_next", &config.turn_secret_next)] {
        let long_enough = !secret.is_set() || secret.current().expose_secret().len() >= MIN_SECRET_BYTES;
        checks.require(long_enough, key, &format!("is shorter than {MIN_SECRET_BYTES} bytes"), fix);
    }
    checks.range("turn_ttl_s", config.turn_ttl_s, 60..=86_400);
}

#[cfg(test)]
mod tests {
    use service::config::{Sources, load};

    use super::*;

    fn config(settings: &[(&str, &str)]) -> Result<Config, String> {
        let env = settings.iter().map(|(key, value)| (format!("SYNAPSE_SIGNALING__{key}"), (*value).to_owned()));
        load(Sources { service: crate::NAME, defaults: &[crate::DEFAULTS], file: None, env })
            .map_err(|error| error.to_string())
    }

    fn told(config: &Config) -> IceServers {
        servers(config, &"acme".parse().unwrap(), &"alice".parse().unwrap(), 1_790_000_000_999)
    }

    const SECRET: &str = "a-secret-of-at-least-22-bytes";

    #[test]
    fn without_servers_there_is_the_default_and_it_can_be_switched_off() {
        let by_default = told(&config(&[]).unwrap());
        assert_eq!(by_default.ice_servers.len(), 1);
        assert!(by_default.ice_servers[0].urls[0].starts_with("stun:"));
        assert_eq!(told(&config(&[("DEFAULT_STUN_URL", "")]).unwrap()).ice_servers, []);
        let own = told(&config(&[("STUN_URLS", r#"["stun:a.example","stuns:b.example:5349"]"#)]).unwrap());
        assert_eq!(own.ice_servers[0].urls, ["stun:a.example", "stuns:b.example:5349"]);
    }

    #[test]
    fn credentials_are_of_the_peer_and_end() {
        let turn = ("TURN_URLS", r#"["turn:t.example?transport=tcp"]"#);
        let config = config(&[turn, ("TURN_SECRET", SECRET), ("TURN_TTL_S", "600")]).unwrap();
        let told = told(&config);
        assert_eq!(told.expires_at_ms, 1_790_000_600_000);
        let [turn] = told.ice_servers.as_slice() else { panic!("no STUN besides TURN unless configured") };
        assert_eq!(turn.username.as_deref(), Some("1790000600:acme/alice"));
        // printf 1790000600:acme/alice | openssl dgst -sha1 -hmac a-secret-of-at-least-22-bytes -binary | base64
        assert_eq!(turn.credential.as_deref(), Some("/T56qYVnvbO4YG3eUH6hld+Daz4="));
    }

    #[test]
    fn during_a_rotation_there_are_credentials_of_both_secrets() {
        let turn = ("TURN_URLS", r#"["turn:t.example"]"#);
        let next = ("TURN_SECRET_NEXT", "another-secret-of-22-bytes-or-more");
        let told = told(&config(&[turn, ("TURN_SECRET", SECRET), next]).unwrap());
        assert_eq!(told.ice_servers.len(), 2);
        assert_eq!(told.ice_servers[0].urls, told.ice_servers[1].urls);
        assert_ne!(told.ice_servers[0].credential, told.ice_servers[1].credential);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        for (settings, words) in [
            (vec![("STUN_URLS", r#"["stun:ok.example","http://x"]"#)], "stun_urls[1]"),
            (vec![("STUN_URLS", r#"["turn:t.example"]"#)], "stun_urls[0]"),
            (vec![("STUN_URLS", r#"["stun:a.example","stun:a.example"]"#)], "twice"),
            (vec![("DEFAULT_STUN_URL", "stun://x")], "default_stun_url"),
            (vec![("TURN_URLS", r#"["turn:t.example"]"#)], "turn_secret"),
            (vec![("TURN_SECRET", SECRET)], "turn_urls"),
            (vec![("TURN_URLS", r#"["turn:t.example"]"#), ("TURN_SECRET", "short")], "22 bytes"),
            (vec![("TURN_SECRET_NEXT", SECRET)], "turn_secret_next"),
            (vec![("TURN_TTL_S", "59")], "turn_ttl_s"),
        ] {
            let error = config(&settings).expect_err(words);
            assert!(error.contains(words), "{words}: {error}");
        }
        let many: Vec<String> = (0..17).map(|number| format!("\"stun:s{number}.example\"")).collect();
        let error = config(&[("STUN_URLS", &format!("[{}]", many.join(",")))]).expect_err("too many");
        assert!(error.contains("at most 16"), "{error}");
    }
}
