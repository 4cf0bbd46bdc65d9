//! What may be bought, by whom, in which mode of Stripe. Pure.

use std::collections::BTreeMap;

use contracts::TenantId;
use contracts::plans::{feature, limit};
use serde::{Deserialize, Serialize};
use service::config::{Checks, ConfigProblem, Mode};

use crate::stripe::is_id;

/// Most plans of an installation.
const MAX_PLANS: usize = 200;
/// Most prices of one plan in one mode: a few intervals and currencies.
const MAX_PRICES: usize = 20;
/// Longest grace after a failed payment, hours (30 days).
const MAX_GRACE_HOURS: u64 = 720;

/// Something that may be bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Its name in proofs and events.
    pub name: String,
    /// The Stripe prices it is billed by: the allow-list.
    pub price_ids: PriceIds,
    /// Whose it is; empty for everybody's. A tenant's own plan goes before everybody's of the same name.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Numbers that go into every proof, by the names of [`contracts::plans::limit`].
    #[serde(default)]
    pub limits: BTreeMap<String, u64>,
    /// What it includes, by the names of [`contracts::plans::feature`].
    #[serde(default)]
    pub features: Vec<String>,
    /// How long proofs go on after a payment failed, hours (0 to 720). Default 72.
    #[serde(default = "default_grace_hours")]
    pub grace_hours: u64,
}

/// A plan's prices in each of Stripe's modes. In one that has none it can't be bought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceIds {
    /// Pretended money: what development uses.
    #[serde(default)]
    pub test: Vec<String>,
    /// Real money: what production uses.
    #[serde(default)]
    pub live: Vec<String>,
}

fn default_grace_hours() -> u64 {
    72
}

impl Plan {
    /// How long proofs go on after a payment failed, milliseconds.
    pub fn grace_ms(&self) -> u64 {
        self.grace_hours.saturating_mul(60 * 60 * 1_000)
    }

    fn is_of(&self, tenant: &TenantId) -> bool {
        self.tenants.iter().any(|of| of == tenant.as_str())
    }

    /// Whether some tenant could mean either by a name or a price.
    fn meets(&self, other: &Self) -> bool {
        match (self.tenants.is_empty(), other.tenants.is_empty()) {
            (true, true) => true,
            (false, false) => self.tenants.iter().any(|tenant| other.tenants.contains(tenant)),
            // A tenant's own goes first.
            _ => false,
        }
    }
}

/// The plans of an installation in the one mode of Stripe that it runs in.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    plans: Vec<Plan>,
    is_live: bool,
}

impl Catalogue {
    pub(crate) fn new(plans: &[Plan], mode: Mode) -> Self {
        Self { plans: plans.to_vec(), is_live: mode == Mode::Production }
    }

    /// Whether it is about real money.
    pub(crate) fn is_live(&self) -> bool {
        self.is_live
    }

    /// Every plan.
    pub(crate) fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// The prices a plan is billed by in this mode.
    pub(crate) fn prices_of<'a>(&self, plan: &'a Plan) -> &'a [String] {
        if self.is_live { &plan.price_ids.live } else { &plan.price_ids.test }
    }

    /// A tenant's plans: its own, then everybody's that it has no own of.
    pub(crate) fn of<'a>(&'a self, tenant: &TenantId) -> Vec<&'a Plan> {
        let mut found: Vec<&Plan> = self.plans.iter().filter(|plan| plan.is_of(tenant)).collect();
        for plan in self.plans.iter().filter(|plan| plan.tenants.is_empty()) {
            if found.iter().all(|own| own.name != plan.name) {
                found.push(plan);
            }
        }
        found
    }

    /// The plan that a tenant means by a name.
    pub(crate) fn plan(&self, tenant: &TenantId, name: &str) -> Option<&Plan> {
        self.of(tenant).into_iter().find(|plan| plan.name == name)
    }

    /// The plan that a tenant buys by a price.
    pub(crate) fn plan_of_price(&self, tenant: &TenantId, price_id: &str) -> Option<&Plan> {
        self.of(tenant).into_iter().find(|plan| self.prices_of(plan).iter().any(|price| price == price_id))
    }

    /// Every price a tenant may ask for.
    pub(crate) fn price_ids(&self, tenant: &TenantId) -> Vec<String> {
        self.of(tenant).into_iter().flat_map(|plan| self.prices_of(plan)).cloned().collect()
    }

    /// What is wrong with selling in this mode.
    pub(crate) fn mode_problems(&self) -> Vec<ConfigProblem> {
        if self.plans.iter().any(|plan| !self.prices_of(plan).is_empty()) {
            return Vec::new();
        }
        let (list, mode) = if self.is_live { ("live", "production") } else { ("test", "development") };
        let fix = format!("name the prices that {mode} bills by in price_ids.{list} of at least one plan");
        vec![ConfigProblem::new("plans", format!("no plan has a price for {mode}"), fix)]
    }
}

/// Checks every rule of the catalogue.
pub(crate) fn check(plans: &[Plan], checks: &mut Checks) {
    checks.require(!plans.is_empty(), "plans", "there is none", "name at least one plan with its Stripe price");
    checks.require(plans.len() <= MAX_PLANS, "plans", "there are more than 200", "remove some");
    for (number, plan) in plans.iter().enumerate() {
        let key = |field: &str| format!("plans[{number}].{field}");
        check_plan(plan, &key, checks);
        for earlier in plans[..number].iter().filter(|earlier| earlier.meets(plan)) {
            let name = &plan.name;
            checks.require(*name != earlier.name, &key("name"), "another plan has this name", "rename one");
            for (mode, list, others) in modes(plan, earlier) {
                let key = key(&format!("price_ids.{mode}"));
                for twice in list.iter().filter(|price| others.contains(price)) {
                    let rule = format!("another plan has {twice}");
                    checks.require(false, &key, &rule, "give each plan prices of its own");
                }
            }
        }
    }
}

type Prices<'a> = &'a [String];

fn modes<'a>(plan: &'a Plan, other: &'a Plan) -> [(&'static str, Prices<'a>, Prices<'a>); 2] {
    [("test", &plan.price_ids.test, &other.price_ids.test), ("live", &plan.price_ids.live, &other.price_ids.live)]
}

fn check_plan(plan: &Plan, key: &impl Fn(&str) -> String, checks: &mut Checks) {
    let is_word = (1..=64).contains(&plan.name.len())
        && plan.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    checks.require(is_word, &key("name"), "it is not 1 to 64 of A-Z, a-z, 0-9, '_', '-'", "rename it");
    for (mode, prices, _) in modes(plan, plan) {
        let key = key(&format!("price_ids.{mode}"));
        checks.require(prices.len() <= MAX_PRICES, &key, "more than 20", "remove some");
        for (at, price) in prices.iter().enumerate() {
            let rule = format!("{price:?} is not a Stripe price id");
            checks.require(is_id(price, &["price_", "plan_"]), &key, &rule, "use the price's id, price_…");
            checks.require(!prices[..at].contains(price), &key, &format!("{price} is there twice"), "remove one");
        }
    }
    for tenant in &plan.tenants {
        let rule = format!("{tenant:?} is not a tenant's id");
        checks.require(
            tenant.parse::<TenantId>().is_ok(),
            &key("tenants"),
            &rule,
            "use 1 to 100 of A-Z, a-z, 0-9, '_', '-'",
        );
    }
    known(plan.limits.keys(), &limit::ALL, &key("limits"), checks);
    known(plan.features.iter(), &feature::ALL, &key("features"), checks);
    checks.range(&key("grace_hours"), plan.grace_hours, 0..=MAX_GRACE_HOURS);
}

/// A limit or feature that nobody enforces would be sold and not given.
fn known<'a>(names: impl Iterator<Item = &'a String>, all: &[&str], key: &str, checks: &mut Checks) {
    for name in names.filter(|name| !all.contains(&name.as_str())) {
        checks.require(false, key, &format!("{name:?} is not known"), &format!("known are {}", all.join(", ")));
    }
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
