use proptest::prelude::*;

use super::*;

const NOW_S: u64 = 1_790_000_000;
const BODY: &[u8] = br#"{"id":"evt_1","object":"event"}"#;

fn verifier(secrets: &[&str]) -> Verifier {
    Verifier::try_new(Secret::new(secrets.join(",")), 300).unwrap()
}

fn v1(secret: &str, time_s: u64, body: &[u8]) -> String {
    sign(secret.as_bytes(), time_s, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header(secret: &str, time_s: u64, body: &[u8]) -> String {
    format!("t={time_s},v1={}", v1(secret, time_s, body))
}

fn check(secrets: &[&str], header: &str) -> Result<(), Refused> {
    verifier(secrets).verify(header.as_bytes(), BODY, NOW_S * 1_000)
}

/// The figure is OpenSSL's: `printf '1492774577.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test_secret`.
#[test]
fn a_signature_made_elsewhere_is_good() {
    let header = "t=1492774577,v1=799c4ba7bb339f3c8601adfd112f0e477c930a268be1243d341abb8286501c2f";
    let verifier = verifier(&["whsec_test_secret"]);
    assert_eq!(verifier.verify(header.as_bytes(), b"{\"id\":\"evt_1\"}", 1_492_774_577_000), Ok(()));
}

#[test]
fn an_empty_or_missing_secret_is_no_verifier() {
    for secrets in ["", ",", " \n,"] {
        let Err(error) = Verifier::try_new(Secret::new(secrets), 300) else { panic!("started without a secret") };
        assert!(error.to_string().starts_with("secrets: "), "{error}");
    }
}

#[test]
fn any_secret_and_any_v1_may_fit_and_other_schemes_are_ignored() {
    let (old, new) = (header("whsec_old", NOW_S, BODY), v1("whsec_new", NOW_S, BODY));
    assert_eq!(check(&["whsec_new", "whsec_old"], &old), Ok(()));
    assert_eq!(check(&["whsec_new"], &format!("{old},v1={new}")), Ok(()));
    assert_eq!(check(&["whsec_new"], &format!("v0={new},v1={new},t={NOW_S},v9=,x")), Ok(()));
    assert_eq!(check(&["whsec_new"], &old), Err(Refused::Mismatch));
    assert_eq!(check(&["whsec_new"], &format!("t={NOW_S},v0={new}")), Err(Refused::NoSignature));
    assert_eq!(check(&["whsec_new"], &format!("t={NOW_S},v1={}", new.to_uppercase())), Err(Refused::NoSignature));
}

#[test]
fn the_whole_secret_is_the_key() {
    assert_eq!(check(&["whsec_abc"], &header("abc", NOW_S, BODY)), Err(Refused::Mismatch));
}

#[test]
fn the_time_may_differ_by_the_tolerance_both_ways() {
    let at = |time_s, now_ms| verifier(&["s"]).verify(header("s", time_s, BODY).as_bytes(), BODY, now_ms);
    let now_ms = NOW_S * 1_000;
    assert_eq!(at(NOW_S - 300, now_ms), Ok(()));
    assert_eq!(at(NOW_S + 300, now_ms), Ok(()));
    assert_eq!(at(NOW_S - 300, now_ms + 1), Err(Refused::TooOld));
    assert_eq!(at(NOW_S + 300, now_ms - 1), Err(Refused::TooNew));
    assert_eq!(at(u64::MAX, now_ms), Err(Refused::TooNew));
    assert_eq!(at(0, now_ms), Err(Refused::TooOld));
}

#[test]
fn odd_headers_are_refused_by_name() {
    let good = v1("s", NOW_S, BODY);
    for (text, refused) in [
        (String::new(), Refused::NoTime),
        (format!("v1={good}"), Refused::NoTime),
        (format!("t=,v1={good}"), Refused::NoTime),
        (format!("t=+{NOW_S},v1={good}"), Refused::NoTime),
        (format!("t=0{NOW_S},v1={good}"), Refused::NoTime),
        (format!("t={NOW_S},t={NOW_S},v1={good}"), Refused::NoTime),
        (format!("t=99999999999999999999,v1={good}"), Refused::NoTime),
        (format!("t={NOW_S}"), Refused::NoSignature),
        (format!("t={NOW_S},v1="), Refused::NoSignature),
        (format!("t={NOW_S},v1={good}00"), Refused::NoSignature),
        (format!("t={NOW_S}{}", format!(",v1={good}").repeat(9)), Refused::TooMany),
    ] {
        assert_eq!(check(&["s"], &text), Err(refused), "{text}");
    }
    assert_eq!(check(&["s"], &format!("t={NOW_S}{}", format!(",v1={good}").repeat(8))), Ok(()));
}

proptest! {
    #[test]
    fn no_header_makes_the_parser_panic(header in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&header);
    }

    #[test]
    fn neither_does_one_that_is_nearly_good(
        parts in proptest::collection::vec("(t|v1|v0|)=?[0-9a-f]{0,70}", 0..12),
        now_ms in any::<u64>(),
    ) {
        prop_assert!(verifier(&["s"]).verify(parts.join(",").as_bytes(), BODY, now_ms).is_err());
    }

    #[test]
    fn what_is_signed_is_good_and_a_changed_byte_never_is(
        body in proptest::collection::vec(any::<u8>(), 1..300),
        secret in "[!-+\\--~]{1,60}",
        at in any::<proptest::sample::Index>(),
        change in 1_u8..=255,
    ) {
        let header = header(&secret, NOW_S, &body);
        let verifier = verifier(&[&secret]);
        prop_assert_eq!(verifier.verify(header.as_bytes(), &body, NOW_S * 1_000), Ok(()));
        let mut tampered = body.clone();
        tampered[at.index(body.len())] ^= change;
        prop_assert!(verifier.verify(header.as_bytes(), &tampered, NOW_S * 1_000).is_err());
        let mut tampered = header.into_bytes();
        let at = at.index(tampered.len());
        tampered[at] ^= change;
        prop_assert!(verifier.verify(&tampered, &body, NOW_S * 1_000).is_err());
    }
}
