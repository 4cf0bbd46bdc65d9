use std::net::TcpListener;
use std::path::Path;

use crate::child::{Child, PATIENCE, folder};

/// Starts it where it must not start; what it said, and that it left nothing behind.
fn refused(folder: &Path, variables: &[(&str, &str)]) -> String {
    let mut child = Child::start(folder, &["serve"], variables);
    let status = child.wait(PATIENCE);
    assert_eq!(status.code(), Some(1), "{}", child.everything());
    assert_eq!(child.printed(), "", "nothing is ready");
    child.complained()
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_nothing_is_begun() {
    let folder = folder();
    let said = refused(
        folder.path(),
        &[
            ("PLATFORM__BUS", "carrier-pigeon"),
            ("PLATFORM__CONSUME_IN_FLIGHT", "0"),
            ("GATEWAY__MAX_CONNECTIONS", "many"),
            ("PRESENCE__NO_SUCH_KEY", "1"),
            ("SUBSCRIPTION__STRIPE__MAX_RETRIES", "99"),
            ("WEBHOOK__PATH", "no slash"),
            ("GATEWAY__TOKEN_SECRET_FILE", "/no/such/file"),
        ],
    );
    for part in [
        "configuration of platform has 2 problems",
        "bus: names no bus",
        "consume_in_flight: 0 is not from 1 to 10000",
        "max_connections: SYNAPSE_GATEWAY__MAX_CONNECTIONS is not a whole number",
        "no_such_key: unknown key in SYNAPSE_PRESENCE__NO_SUCH_KEY",
        "stripe.max_retries: 99 is not from 0 to 10",
        "path: is no plain path",
        "token_secret_file: ",
    ] {
        assert!(said.contains(part), "{part:?} is missing in\n{said}");
    }
    assert!(!folder.path().join("data").exists(), "no folder was made");
}

#[test]
fn a_wrong_key_of_one_service_is_told_before_a_file_is_made() {
    let folder = folder();
    let said = refused(folder.path(), &[("SIGNALING__NO_SUCH_KEY", "1")]);
    assert!(said.contains("no_such_key: unknown key in SYNAPSE_SIGNALING__NO_SUCH_KEY"), "{said}");
    assert!(!folder.path().join("data").exists(), "no folder was made");
}

#[test]
fn a_port_that_is_taken_is_named_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, key) in [("PLATFORM__HTTP_LISTEN", "http_listen"), ("PLATFORM__ADMIN__LISTEN", "admin.listen")] {
        let folder = folder();
        let said = refused(folder.path(), &[(variable, &address)]);
        assert!(said.contains(&format!("{key}: {address} can't be listened at")), "{said}");
    }
}

#[test]
fn production_takes_no_emulator_and_no_development_secret() {
    const MODE: (&str, &str) = ("PLATFORM__MODE", "production");
    const TOKEN: (&str, &str) = ("GATEWAY__TOKEN_SECRET", "0123456789abcdef0123456789abcdef");
    const HOOK: (&str, &str) = ("WEBHOOK__SECRETS", "whsec_0123456789");
    const TEST_KEY: (&str, &str) = ("SUBSCRIPTION__STRIPE__SECRET_KEY", "sk_test_0123456789");
    const LIVE_KEY: (&str, &str) = ("SUBSCRIPTION__STRIPE__SECRET_KEY", "sk_live_0123456789");
    const SEALING: (&str, &str) = ("SUBSCRIPTION__PROOFS__SEALING_SECRET", "0123456789abcdef0123456789abcdef");
    const EMULATOR: (&str, &str) = ("SUBSCRIPTION__STRIPE__BASE_URL", "http://127.0.0.1:12111");
    const PLANS: (&str, &str) = (
        "SUBSCRIPTION__PLANS",
        r#"[{ name = "team", price_ids = { live = ["price_live"] }, limits = { peers = 5 }, features = [], grace_hours = 72 }]"#,
    );
    for (variables, wanted) in [
        (&[MODE][..], "stripe.secret_key: there is none"),
        (&[MODE, TOKEN, HOOK, LIVE_KEY], "proofs.sealing_secret: there is none"),
        (&[MODE, TOKEN, HOOK, SEALING, TEST_KEY], "stripe.secret_key: production needs a live key"),
        (&[MODE, TOKEN, HOOK, SEALING, LIVE_KEY, EMULATOR], "stripe.base_url: production needs https"),
        (&[MODE, TOKEN, HOOK, SEALING, LIVE_KEY], "price_ids.live"),
        (&[MODE, HOOK, SEALING, LIVE_KEY, PLANS], "token_secret, token_public_key: set one"),
        (&[MODE, TOKEN, SEALING, LIVE_KEY, PLANS], "secrets: none is set"),
    ] {
        let folder = folder();
        let said = refused(folder.path(), variables);
        assert!(said.contains(wanted), "{wanted:?} is missing in\n{said}");
        assert!(!said.contains("0123456789"), "a secret is shown in\n{said}");
        assert!(!folder.path().join("data/development.json").exists(), "development secrets were made");
    }
}

#[test]
fn arguments_that_do_not_exist_are_refused_with_what_there_is() {
    let folder = folder();
    for (arguments, code, wanted) in [
        (&["serve", "--fast"][..], 2, "unexpected argument '--fast'"),
        (&["dance"], 2, "unrecognized subcommand 'dance'"),
        (&["demo", "--bus"], 2, "a value is required for '--bus"),
        (&["config-keys", "--service", "billing"], 1, "there is no such service"),
    ] {
        let mut child = Child::start(folder.path(), arguments, &[]);
        assert_eq!(child.wait(PATIENCE).code(), Some(code), "{}", child.everything());
        assert!(child.complained().contains(wanted), "{}", child.everything());
    }
}

#[test]
fn the_keys_that_may_be_set_are_listed() {
    let folder = folder();
    let mut child = Child::start(folder.path(), &["config-keys"], &[]);
    assert!(child.wait(PATIENCE).success(), "{}", child.everything());
    let printed = child.printed();
    for key in ["SYNAPSE_PLATFORM__SECRET_REFRESH_MS", "SYNAPSE_GATEWAY__TOKEN_SECRET", "SYNAPSE_WEBHOOK__SECRETS"] {
        assert!(printed.lines().any(|line| line == key), "{key} is missing in\n{printed}");
    }
}
