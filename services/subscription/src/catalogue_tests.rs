use super::*;

fn plan(name: &str, test: &[&str], tenants: &[&str]) -> Plan {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Plan {
        name: name.into(),
        price_ids: PriceIds { test: texts(test), live: Vec::new() },
        tenants: texts(tenants),
        limits: BTreeMap::from([(limit::PEERS.to_owned(), 5)]),
        features: vec![feature::PRESENCE.to_owned()],
        grace_hours: 72,
    }
}

fn keys(plans: &[Plan]) -> Vec<String> {
    let mut checks = Checks::default();
    check(plans, &mut checks);
    checks.finish().into_iter().map(|problem| problem.key).collect()
}

#[test]
fn a_tenants_own_plan_goes_before_everybodys() {
    let own = Plan { grace_hours: 1, ..plan("team", &["price_acme"], &["acme"]) };
    let plans = [plan("team", &["price_team"], &[]), plan("free", &["price_free"], &[]), own];
    assert_eq!(keys(&plans), Vec::<String>::new());
    let catalogue = Catalogue::new(&plans, Mode::Development);
    let (acme, other): (TenantId, TenantId) = ("acme".parse().expect("an id"), "other".parse().expect("an id"));
    assert_eq!(catalogue.plan(&acme, "team").map(Plan::grace_ms), Some(3_600_000));
    assert_eq!(catalogue.plan(&other, "team").map(Plan::grace_ms), Some(72 * 3_600_000));
    assert_eq!(catalogue.price_ids(&acme), ["price_acme", "price_free"]);
    assert_eq!(catalogue.price_ids(&other), ["price_team", "price_free"]);
    assert!(catalogue.plan_of_price(&acme, "price_team").is_none(), "it is not what acme buys");
    assert!(catalogue.plan_of_price(&other, "price_acme").is_none(), "it is acme's alone");
}

#[test]
fn prices_of_the_other_mode_are_not_on_offer() {
    let mut both = plan("team", &["price_test"], &[]);
    both.price_ids.live = vec!["price_live".into()];
    let acme: TenantId = "acme".parse().expect("an id");
    for (mode, offered, other) in
        [(Mode::Development, "price_test", "price_live"), (Mode::Production, "price_live", "price_test")]
    {
        let catalogue = Catalogue::new(std::slice::from_ref(&both), mode);
        assert!(catalogue.plan_of_price(&acme, offered).is_some() && catalogue.plan_of_price(&acme, other).is_none());
        assert_eq!(catalogue.mode_problems(), []);
    }
    let test_only = Catalogue::new(&[plan("team", &["price_test"], &[])], Mode::Production);
    assert!(test_only.mode_problems()[0].to_string().contains("price_ids.live"));
}

#[test]
fn every_broken_rule_is_named_at_once() {
    let mut bad = plan("a b", &["prod_1", "price_1", "price_1"], &["no tenant"]);
    bad.price_ids.live = vec!["price_../x".into()];
    bad.limits.insert("peeers".into(), 1);
    bad.features.push("free_beer".into());
    bad.grace_hours = 721;
    let expected =
        ["features", "grace_hours", "limits", "name", "price_ids.live", "price_ids.test", "price_ids.test", "tenants"];
    let mut found = keys(&[bad]);
    found.sort();
    assert_eq!(found, expected.map(|field| format!("plans[0].{field}")));
    assert_eq!(keys(&[]), ["plans"]);
}

#[test]
fn plans_that_one_tenant_could_mix_up_are_refused() {
    let twins = [plan("team", &["price_1"], &["acme", "beta"]), plan("team", &["price_1"], &["beta"])];
    assert_eq!(keys(&twins), ["plans[1].name", "plans[1].price_ids.test"]);
    let apart = [plan("team", &["price_1"], &["acme"]), plan("team", &["price_1"], &["beta"])];
    assert_eq!(keys(&apart), Vec::<String>::new());
}
