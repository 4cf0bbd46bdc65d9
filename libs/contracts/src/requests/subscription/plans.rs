//! What is on offer, and whether Stripe agrees.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NeverRefused;
use crate::{Contract, Request};

/// Tell what a tenant's users may buy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListPlansV1 {}

impl Contract for ListPlansV1 {
    const KIND: &'static str = "subscription.list_plans.v1";

    fn samples() -> Vec<Self> {
        vec![Self {}]
    }
}

/// Something that may be bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanView {
    /// Its name.
    pub name: String,
    /// The Stripe prices it may be bought by.
    pub price_ids: Vec<String>,
    /// What it limits, by name; what is not here is not limited.
    pub limits: BTreeMap<String, u64>,
    /// What it includes.
    pub features: Vec<String>,
    /// How long access goes on after a payment failed, milliseconds.
    pub grace_ms: u64,
}

/// What is on offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plans {
    /// In the order of the configuration, a tenant's own first.
    pub plans: Vec<PlanView>,
}

impl Request for ListPlansV1 {
    type Reply = Plans;
    type Refusal = NeverRefused;

    fn replies() -> Vec<Plans> {
        vec![Plans {
            plans: vec![PlanView {
                name: "team".into(),
                price_ids: vec!["price_team_monthly".into()],
                limits: BTreeMap::from([("peers".into(), 50)]),
                features: vec!["presence".into(), "relay".into()],
                grace_ms: 259_200_000,
            }],
        }]
    }

    fn refusals() -> Vec<NeverRefused> {
        vec![NeverRefused::Unknown]
    }
}

/// Compare every price of the catalogue with Stripe's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckPlansV1 {}

impl Contract for CheckPlansV1 {
    const KIND: &'static str = "subscription.check_plans.v1";

    fn samples() -> Vec<Self> {
        vec![Self {}]
    }
}

/// What Stripe says of one price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PriceReport {
    /// The plan that is billed by it.
    pub plan: String,
    /// Whose plan it is; empty for everybody's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// The price.
    pub price_id: String,
    /// What is wrong with it and what to do; empty when it can be sold.
    pub problems: Vec<String>,
}

/// How the catalogue compares with Stripe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlansReport {
    /// Whether everything can be sold.
    pub ok: bool,
    /// Whether it is about real money.
    pub livemode: bool,
    /// Every price in this mode.
    pub prices: Vec<PriceReport>,
}

impl Request for CheckPlansV1 {
    type Reply = PlansReport;
    type Refusal = NeverRefused;

    fn replies() -> Vec<PlansReport> {
        let report = |price_id: &str, problems: &[&str]| PriceReport {
            plan: "team".into(),
            tenants: vec!["acme".into()],
            price_id: price_id.into(),
            problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
        };
        let old = report("price_team_yearly", &["it is not active; activate it at Stripe or remove it here"]);
        vec![PlansReport { ok: false, livemode: false, prices: vec![report("price_team_monthly", &[]), old] }]
    }

    fn refusals() -> Vec<NeverRefused> {
        vec![NeverRefused::Unknown]
    }
}
