use std::collections::BTreeMap;
use std::sync::Arc;

use bus::Asked;
use contracts::events::webhook::{CatalogueObject, StripeCatalogueChangedV1};
use contracts::requests::subscription::{
    CheckPlansV1, ListPlansV1, NeverRefused, PlanView, Plans, PlansReport, PriceReport,
};
use futures::{StreamExt, TryStreamExt, stream};
use outbox::Failure;
use service::Rejection;

use super::{refresh, rejection};
use crate::Subscriptions;
use crate::stripe::{Class, PriceObject, StripeFailure};

/// Prices that Stripe is asked for at once.
const ASKED_AT_ONCE: usize = 8;

/// Tells what a tenant's users may buy.
pub(crate) async fn list_plans(
    service: Arc<Subscriptions>,
    asked: Asked,
    _: ListPlansV1,
) -> Result<Plans, Rejection<NeverRefused>> {
    let catalogue = &service.catalogue;
    let on_offer = catalogue.of(&asked.tenant).into_iter().filter(|plan| !catalogue.prices_of(plan).is_empty());
    let plans = on_offer.map(|plan| PlanView {
        name: plan.name.clone(),
        price_ids: catalogue.prices_of(plan).to_vec(),
        limits: plan.limits.clone(),
        features: plan.features.clone(),
        grace_ms: plan.grace_ms(),
    });
    Ok(Plans { plans: plans.collect() })
}

/// Compares every price of the catalogue with Stripe's.
pub(crate) async fn check_plans(
    service: Arc<Subscriptions>,
    _: Asked,
    _: CheckPlansV1,
) -> Result<PlansReport, Rejection<NeverRefused>> {
    report(&service).await.map_err(|failure| rejection(&failure))
}

/// The same for operators.
pub(crate) async fn report(service: &Arc<Subscriptions>) -> Result<PlansReport, StripeFailure> {
    let catalogue = &service.catalogue;
    // A price may be in plans of several tenants; Stripe is asked once.
    let prices: BTreeMap<&String, ()> =
        catalogue.plans().iter().flat_map(|plan| catalogue.prices_of(plan)).map(|price| (price, ())).collect();
    let ask = |price: &'_ String| {
        let (service, price) = (Arc::clone(service), price.clone());
        async move { problems(&service, &price).await.map(|problems| (price, problems)) }
    };
    let asked = stream::iter(prices.into_keys().map(ask)).buffered(ASKED_AT_ONCE).try_collect();
    let told: BTreeMap<String, Vec<String>> = asked.await?;
    let report = |(plan, price): (&crate::Plan, &String)| PriceReport {
        plan: plan.name.clone(),
        tenants: plan.tenants.clone(),
        price_id: price.clone(),
        problems: told.get(price).cloned().unwrap_or_default(),
    };
    let lines =
        catalogue.plans().iter().flat_map(|plan| catalogue.prices_of(plan).iter().map(move |price| (plan, price)));
    let prices: Vec<_> = lines.map(report).collect();
    let ok = prices.iter().all(|price| price.problems.is_empty());
    Ok(PlansReport { ok, livemode: catalogue.is_live(), prices })
}

async fn problems(service: &Subscriptions, price: &str) -> Result<Vec<String>, StripeFailure> {
    match service.stripe.fetch_price(price).await {
        Ok(object) => Ok(wrong(object, service.catalogue.is_live())),
        Err(failure) if failure.class == Class::NotFound => {
            Ok(vec!["Stripe has no such price; correct its id or remove it".to_owned()])
        }
        Err(failure) => Err(failure),
    }
}

fn wrong(price: PriceObject, is_live: bool) -> Vec<String> {
    let mut found = Vec::new();
    if !price.is_active {
        found.push("it is not active; activate it at Stripe or remove it here");
    }
    if price.livemode != is_live {
        found.push("it is of Stripe's other mode; use the price of this one");
    }
    if !price.is_recurring {
        found.push("it is paid only once; use a recurring price");
    }
    found.into_iter().map(str::to_owned).collect()
}

/// Stripe announced a change of a price: tells the operator when it can't be sold any more.
pub(crate) async fn on_hint(service: &Subscriptions, hint: &StripeCatalogueChangedV1) -> Result<(), Failure> {
    let (catalogue, price) = (&service.catalogue, &hint.stripe_object_id);
    let is_sold = catalogue.plans().iter().any(|plan| catalogue.prices_of(plan).contains(price));
    if hint.object != CatalogueObject::Price || !is_sold {
        return Ok(());
    }
    let found = problems(service, price).await.map_err(|failure| refresh::later(&failure))?;
    if !found.is_empty() {
        tracing::error!(price, problems = found.join("; "), "a price on offer can't be sold");
    }
    Ok(())
}
