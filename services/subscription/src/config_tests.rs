use super::*;

/// The defaults with a test key, as development runs them.
#[allow(clippy::unwrap_used)]
pub(crate) fn config() -> Config {
    let mut table: toml::Table = crate::DEFAULTS.parse().unwrap();
    table["stripe"]["secret_key"] = "sk_test_1".into();
    table["proofs"]["sealing_secret"] = "sealing-secret-of-the-tests-0123456789".into();
    table.try_into().unwrap()
}

fn keys(config: &Config) -> Vec<String> {
    config.problems().into_iter().map(|problem| problem.key).collect()
}

#[test]
fn the_defaults_need_only_a_key() {
    assert_eq!(keys(&config()), Vec::<String>::new());
    let mut missing = config();
    missing.stripe.secret_key = Secret::new("");
    assert_eq!(keys(&missing), ["stripe.secret_key"]);
    assert_eq!(config().plans[0].grace_ms(), 259_200_000);
}

#[test]
fn every_problem_is_named_at_once() {
    let mut bad = config();
    let mut twin = bad.plans[0].clone();
    twin.grace_hours = u64::MAX;
    bad.plans.push(twin);
    bad.stripe.base_url = "api.stripe.com".into();
    bad.stripe.concurrency = 0;
    bad.proofs.publish_ahead_ms = bad.proofs.rotation_interval_ms;
    assert_eq!(
        keys(&bad),
        [
            "plans[1].grace_hours",
            "plans[1].name",
            "plans[1].price_ids.test",
            "stripe.base_url",
            "stripe.concurrency",
            "proofs.publish_ahead_ms",
        ]
    );
    bad.plans.clear();
    assert!(keys(&bad).contains(&"plans".to_owned()));
}

#[test]
fn live_keys_stay_out_of_development_and_test_keys_out_of_production() {
    let with = |key: &str| StripeConfig { secret_key: Secret::new(key), ..config().stripe };
    for (key, development, production) in [
        ("sk_test_1", true, false),
        ("rk_test_1", true, false),
        ("sk_live_1", false, true),
        ("rk_live_1", false, true),
        ("pk_test_1", false, false),
        ("whsec_1", false, false),
        ("", false, false),
        ("sk_test_1\n", false, false),
    ] {
        assert_eq!(check_key(&with(key), Mode::Development).is_ok(), development, "{key}");
        assert_eq!(check_key(&with(key), Mode::Production).is_ok(), production, "{key}");
        for mode in [Mode::Development, Mode::Production] {
            let shown = check_key(&with(key), mode).err().unwrap_or_default();
            assert!(key.is_empty() || !shown.contains(key), "{shown}");
        }
    }
    let plain = StripeConfig { base_url: "http://api.stripe.com".into(), ..with("sk_live_1") };
    assert!(check_key(&plain, Mode::Production).is_err());
}

#[test]
fn what_does_not_fit_the_mode_is_told_at_once() {
    assert!(config().check_mode(Mode::Development).is_ok());
    let told = config().check_mode(Mode::Production).expect_err("a test key and no live price").to_string();
    assert!(told.contains("price_ids.live") && told.contains("production needs a live key"), "{told}");
}

#[test]
fn a_dumped_configuration_does_not_show_the_key() {
    let dumped = format!("{:?} {}", config(), serde_json::to_string(&config()).unwrap_or_default());
    assert!(!dumped.contains("sk_test_1"));
}
