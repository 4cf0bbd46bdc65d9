use auth::{ApiKey, ApiKeyError, KeyKind};
use clock::Entropy;
use proptest::prelude::*;

#[test]
fn a_key_is_read_as_it_was_made() {
    let entropy = Entropy::system();
    for (kind, prefix) in [(KeyKind::Live, "syn_live_"), (KeyKind::Test, "syn_test_")] {
        let key = ApiKey::generate(kind, &entropy);
        assert!(key.expose().starts_with(prefix) && key.expose().len() == 58, "{}", key.expose());
        let read = ApiKey::parse(key.expose()).unwrap();
        assert_eq!((read.kind(), read.hash()), (kind, key.hash()));
        assert_eq!(key.hint(), &key.expose()[..13]);
        assert_ne!(ApiKey::generate(kind, &entropy).hash(), key.hash());
        assert!(ApiKey::is_meant(key.expose()) && !ApiKey::is_meant("eyJhbGciOiJIUzI1NiJ9.e30.c2ln"));
    }
}

#[test]
fn a_key_never_shows_itself() {
    let key = ApiKey::generate(KeyKind::Live, &Entropy::seeded(1));
    let shown = format!("{key:?} {:?}", key.hash());
    assert!(!shown.contains(&key.expose()[9..20]) && !shown.contains(&key.hash().text()[..8]), "{shown}");
    assert_eq!(key.hash().text().len(), 64);
}

#[test]
fn what_is_no_key_is_told_by_its_form() {
    let key = ApiKey::generate(KeyKind::Live, &Entropy::seeded(1)).expose().to_owned();
    for bad in ["", "syn_", "syn_live_", "sk_live_0000", &key[..57], &format!("{key}0"), &key.replace("live", "prod")] {
        assert_eq!(ApiKey::parse(bad).unwrap_err(), ApiKeyError::Malformed, "{bad}");
    }
    // The prefix is part of what is checked: a live key does not become a test key.
    assert_eq!(ApiKey::parse(&key.replace("live", "test")).unwrap_err(), ApiKeyError::Checksum);
}

proptest! {
    #[test]
    fn any_one_typing_error_is_found(at in 9_usize..58, to in "[0-9A-Za-z]") {
        let key = ApiKey::generate(KeyKind::Test, &Entropy::seeded(7)).expose().to_owned();
        let typed = format!("{}{to}{}", &key[..at], &key[at + 1..]);
        prop_assume!(typed != key);
        prop_assert_eq!(ApiKey::parse(&typed).unwrap_err(), ApiKeyError::Checksum);
    }

    #[test]
    fn nothing_panics_on_any_text(text in "(syn_(live|test)_)?.{0,60}") {
        prop_assert!(ApiKey::parse(&text).is_err());
    }
}
