use auth::{KeyError, SigningKey};
use clock::Entropy;
use secrecy::ExposeSecret;

#[test]
fn a_key_survives_its_storage() {
    let key = SigningKey::generate("k1", &Entropy::system()).unwrap();
    let again = SigningKey::from_secret("k1", &key.to_secret()).unwrap();
    assert_eq!(key.public_key(), again.public_key());
    assert_eq!(key.to_secret().expose_secret().len(), 43);
    assert_ne!(key.public_key(), SigningKey::generate("k1", &Entropy::system()).unwrap().public_key());
}

#[test]
fn the_public_half_is_that_of_rfc_8032_test_1() {
    let seed: [u8; 32] = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let public: [u8; 32] = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_eq!(SigningKey::from_seed("k", &seed).unwrap().public_key(), public);
    // RFC 8410 §10.3: the same form as PKCS#8.
    let der = [&hex::<16>("302e020100300506032b657004220420")[..], &seed].concat();
    assert_eq!(SigningKey::from_pkcs8("k", &der).unwrap().public_key(), public);
}

#[test]
fn a_private_key_is_never_shown() {
    let key = SigningKey::from_seed("k1", &[7; 32]).unwrap();
    let secret = key.to_secret();
    assert!(!format!("{key:?}").contains(secret.expose_secret()));
    assert!(!format!("{secret:?}").contains(secret.expose_secret()));
}

#[test]
fn unusable_keys_are_refused() {
    assert_eq!(SigningKey::from_seed("", &[7; 32]).unwrap_err(), KeyError::Kid(String::new()));
    assert!(matches!(SigningKey::from_seed("a b", &[7; 32]), Err(KeyError::Kid(_))));
    assert_eq!(SigningKey::from_pkcs8("k", b"nonsense").unwrap_err(), KeyError::Pkcs8);
    for bad in ["", "AAAA", "====", &"A".repeat(44)] {
        assert_eq!(SigningKey::from_secret("k", &bad.into()).unwrap_err(), KeyError::Seed, "{bad}");
    }
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}
