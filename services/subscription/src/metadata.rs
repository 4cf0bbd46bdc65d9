//! The rules of callers' metadata: Stripe's limits, less the pairs that are ours.

use std::collections::BTreeMap;

use contracts::{SubscriptionId, TenantId, UserId};

/// Stripe takes 50 pairs; five are kept for us (four are in use).
const MAX_PAIRS: usize = 45;
/// Characters of a key (Stripe's API reference, "Metadata").
const MAX_KEY_CHARS: usize = 40;
/// Characters of a value (the same page).
const MAX_VALUE_CHARS: usize = 500;
/// Keys that begin so are ours.
const RESERVED_PREFIX: &str = "synapse_";

/// Whose it is.
pub(crate) const TENANT: &str = "synapse_tenant";
/// Our id of it.
pub(crate) const SUBSCRIPTION: &str = "synapse_subscription";
/// Who asked for it.
pub(crate) const USER: &str = "synapse_user";
/// The plan's name.
pub(crate) const PLAN: &str = "synapse_plan";

/// Whether a pair is ours, not the caller's.
pub(crate) fn is_reserved(key: &str) -> bool {
    key.starts_with(RESERVED_PREFIX)
}

/// Every rule that a caller's metadata breaks, one line each.
pub(crate) fn violations(metadata: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    if metadata.len() > MAX_PAIRS {
        found.push(format!("metadata: {} pairs; at most {MAX_PAIRS}, remove some", metadata.len()));
    }
    for (key, value) in metadata {
        let shown: String = key.chars().take(MAX_KEY_CHARS).collect();
        if key.is_empty() {
            found.push("metadata: a key is empty; name it".to_owned());
        }
        let chars = key.chars().count();
        if chars > MAX_KEY_CHARS {
            found.push(format!(
                "metadata.{shown}…: the key has {chars} characters; at most {MAX_KEY_CHARS}, shorten it"
            ));
        }
        if key.contains(['[', ']']) {
            found.push(format!("metadata.{shown}: the key has square brackets, which Stripe refuses; remove them"));
        }
        if key.chars().any(char::is_control) {
            found.push(format!("metadata.{}: the key has control characters; remove them", shown.escape_debug()));
        }
        if key.starts_with(RESERVED_PREFIX) {
            found.push(format!("metadata.{shown}: keys that begin with {RESERVED_PREFIX} are reserved; rename it"));
        }
        let chars = value.chars().count();
        if chars > MAX_VALUE_CHARS {
            found.push(format!(
                "metadata.{shown}: the value has {chars} characters; at most {MAX_VALUE_CHARS}, shorten it"
            ));
        }
        // Stripe takes an empty value for "remove this key": the pair would silently be lost.
        if value.is_empty() {
            found.push(format!("metadata.{shown}: the value is empty, which Stripe drops; leave the pair out"));
        }
    }
    found
}

/// What a subscription carries at Stripe: the caller's pairs and ours.
pub(crate) fn at_stripe(
    tenant: &TenantId,
    subscription: &SubscriptionId,
    user: &UserId,
    plan: &str,
    callers: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let ours = [
        (TENANT, tenant.to_string()),
        (SUBSCRIPTION, subscription.to_string()),
        (USER, user.to_string()),
        (PLAN, plan.to_owned()),
    ];
    let mut all = callers.clone();
    all.extend(ours.map(|(key, value)| (key.to_owned(), value)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> Vec<String> {
        violations(&BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn what_stripe_takes_is_fine() {
        let full: BTreeMap<_, _> = (0..MAX_PAIRS).map(|n| (format!("{n:040}"), "ä".repeat(MAX_VALUE_CHARS))).collect();
        assert_eq!(violations(&full), Vec::<String>::new());
        assert_eq!(violations(&BTreeMap::new()), Vec::<String>::new());
    }

    #[test]
    fn each_rule_is_named_with_what_to_do() {
        for (key, value, rule) in [
            ("", "v", "empty; name it"),
            (&*"k".repeat(41), "v", "41 characters; at most 40"),
            ("a[b]", "v", "square brackets"),
            ("a\n", "v", "control characters"),
            ("synapse_plan", "v", "reserved"),
            ("k", &*"v".repeat(501), "501 characters; at most 500"),
            ("k", "", "leave the pair out"),
        ] {
            let found = one(key, value);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(rule), "{found:?}");
        }
    }

    #[test]
    fn all_violations_come_at_once() {
        let mut bad: BTreeMap<_, _> = (0..46).map(|n| (n.to_string(), "v".to_owned())).collect();
        bad.insert("synapse_[x]".to_owned(), "v".repeat(501));
        assert_eq!(violations(&bad).len(), 4);
    }

    #[test]
    fn ours_and_the_callers_stay_within_stripes_fifty() {
        let callers: BTreeMap<_, _> = (0..MAX_PAIRS).map(|n| (n.to_string(), "v".to_owned())).collect();
        let id = |text: &str| text.to_owned();
        let all = at_stripe(
            &id("acme").try_into().expect("an id"),
            &id("sub-1").try_into().expect("an id"),
            &id("ada").try_into().expect("an id"),
            "team",
            &callers,
        );
        assert!(all.len() <= 50);
        assert_eq!(all[SUBSCRIPTION], "sub-1");
    }
}
