use std::sync::LazyLock;

use proptest::prelude::*;
use service::config::Mode;

use super::*;
use crate::catalogue::{Plan, PriceIds};

const NOW: u64 = 1_790_000_000_000;
const DAY: u64 = 86_400_000;
const TTL: u64 = 300_000;

fn plans() -> Vec<Plan> {
    crate::config::tests::config().plans
}

fn tenant() -> TenantId {
    "acme".parse().expect("an id")
}

fn object(status: &str) -> SubscriptionObject {
    SubscriptionObject {
        id: "sub_1".into(),
        customer: "cus_1".into(),
        status: StripeStatus::new(status),
        livemode: false,
        cancel_at_period_end: false,
        current_period_end_ms: Some(NOW + 30 * DAY),
        price_id: Some("price_team_monthly".into()),
        item_id: Some("si_1".into()),
        metadata: BTreeMap::new(),
        payment: None,
    }
}

fn reservation() -> Reservation {
    Reservation {
        subscription_id: "sub-1".to_owned().try_into().expect("an id"),
        user_id: "ada".to_owned().try_into().expect("an id"),
        plan: "team".into(),
        price_id: "price_team_monthly".into(),
        payment_method_id: None,
        email: None,
        metadata: BTreeMap::from([("team".into(), "blue".into())]),
        reserved_at_ms: NOW,
        attempt: 1,
        by_checkout: false,
    }
}

pub(crate) fn created(status: &str) -> Subscription {
    fulfil(&object(status)).subscription
}

/// Read once: some tests below apply it a million times.
static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::new(&plans(), Mode::Development));

fn fulfil(object: &SubscriptionObject) -> Change {
    reservation().fulfil(object, NOW, Rules { catalogue: &CATALOGUE, tenant: &tenant(), proof_ttl_ms: TTL })
}

fn apply(subscription: Subscription, object: &SubscriptionObject, now_ms: u64) -> Change {
    let rules = Rules { catalogue: &CATALOGUE, tenant: &tenant(), proof_ttl_ms: TTL };
    subscription.apply_fetched(object, now_ms, rules)
}

fn terms() -> Terms {
    Terms { grace_ms: 3 * DAY, renewal_leeway_ms: 3_600_000 }
}

#[test]
fn a_fulfilled_reservation_says_that_it_was_created() {
    let change = fulfil(&object("incomplete"));
    let [(1, SubscriptionEvent::Created(fact))] = change.facts.as_slice() else { panic!("{:?}", change.facts) };
    assert_eq!((fact.plan.as_str(), fact.status), ("team", Status::Incomplete));
    assert_eq!((change.subscription.ver, change.subscription.sequence), (1, 1));
    assert_eq!(change.subscription.view().metadata["team"], "blue");
}

#[test]
fn a_new_status_is_told_in_both_versions_under_one_number() {
    let change = apply(created("incomplete"), &object("active"), NOW);
    let [(2, SubscriptionEvent::StatusChangedV2(new)), (2, SubscriptionEvent::StatusChangedV1(old))] =
        change.facts.as_slice()
    else {
        panic!("{:?}", change.facts)
    };
    assert_eq!((new.previous, new.current, new.entitled), (Some(Status::Incomplete), Status::Active, true));
    assert_eq!(*old, StatusChangedV1::from(new));
    assert_eq!(change.surprise, None);
}

#[test]
fn the_same_again_tells_nothing() {
    let change = apply(created("active"), &object("active"), NOW + 1);
    assert_eq!(change.facts, []);
    let renewed = SubscriptionObject { current_period_end_ms: Some(NOW + 60 * DAY), ..object("active") };
    let change = apply(created("active"), &renewed, NOW + 1);
    assert_eq!((change.facts.len(), change.subscription.current_period_end_ms), (0, Some(NOW + 60 * DAY)));
}

#[test]
fn losing_the_entitlement_voids_the_proofs_of_the_old_epoch() {
    let change = apply(created("active"), &object("canceled"), NOW + 5);
    let Some((3, SubscriptionEvent::ProofRevoked(revoked))) = change.facts.last() else { panic!("{:?}", change.facts) };
    assert_eq!((revoked.min_ver, revoked.until_ms), (2, NOW + 5 + TTL + SKEW_MS));
    assert_eq!(revoked.reason, "canceled");
    assert_eq!((change.subscription.ver, change.subscription.sequence), (2, 3));
    assert_eq!(apply(change.subscription, &object("canceled"), NOW + 6).facts, []);
    assert_eq!(apply(created("incomplete"), &object("incomplete_expired"), NOW).facts.len(), 2, "nothing was lost");
}

#[test]
fn stripes_word_wins_over_the_machine_and_the_surprise_is_kept_for_the_log() {
    let change = apply(created("canceled"), &object("active"), NOW);
    assert_eq!(change.subscription.status.as_str(), "active");
    assert_eq!(change.surprise, Some((StripeStatus::new("canceled"), StripeStatus::new("active"))));
}

#[test]
fn an_unknown_status_is_kept_as_it_came_and_fails_closed() {
    let change = apply(created("active"), &object("frozen"), NOW);
    assert_eq!(change.subscription.status.as_str(), "frozen");
    assert_eq!(change.subscription.view().status, Status::Unknown);
    assert_eq!(change.subscription.entitled_until_ms(terms()), None);
    assert!(matches!(change.facts.last(), Some((3, SubscriptionEvent::ProofRevoked(_)))));
}

#[test]
fn entitlement_ends_with_period_leeway_or_grace() {
    assert_eq!(created("active").entitled_until_ms(terms()), Some(NOW + 30 * DAY + 3_600_000));
    let ending = SubscriptionObject { cancel_at_period_end: true, ..object("active") };
    let ending = apply(created("active"), &ending, NOW).subscription;
    assert_eq!(ending.entitled_until_ms(terms()), Some(NOW + 30 * DAY));
    let late = apply(created("active"), &object("past_due"), NOW + DAY).subscription;
    assert_eq!(late.entitled_until_ms(terms()), Some(NOW + 4 * DAY));
    let later = apply(late, &object("past_due"), NOW + 2 * DAY).subscription;
    assert_eq!(later.entitled_until_ms(terms()), Some(NOW + 4 * DAY), "the grace counts from the first failure");
    let paid = apply(later, &object("active"), NOW + 3 * DAY).subscription;
    assert_eq!(paid.past_due_since_ms, None);
    for status in ["incomplete", "incomplete_expired", "unpaid", "paused", "canceled"] {
        assert_eq!(created(status).entitled_until_ms(terms()), None, "{status}");
    }
}

#[test]
fn an_illegal_wish_is_audited_and_changes_nothing() {
    let change = created("canceled").reject_hint(&StripeStatus::new("active")).expect("illegal");
    let [(2, SubscriptionEvent::TransitionRejected(fact))] = change.facts.as_slice() else { panic!() };
    assert_eq!((fact.from, fact.to, fact.source.as_str()), (Status::Canceled, Status::Active, "webhook"));
    assert_eq!(change.subscription.status.as_str(), "canceled");
    assert_eq!(created("active").reject_hint(&StripeStatus::new("active")), None);
    assert_eq!(created("active").reject_hint(&StripeStatus::new("canceled")), None);
}

#[test]
fn the_plan_follows_a_known_price_only() {
    let price_ids = PriceIds { test: vec!["price_gold".into()], live: vec!["price_by_hand".into()] };
    let gold = Plan { name: "gold".into(), price_ids, ..plans()[0].clone() };
    let catalogue = Catalogue::new(&[plans(), vec![gold]].concat(), Mode::Development);
    let tenant = tenant();
    let rules = Rules { catalogue: &catalogue, tenant: &tenant, proof_ttl_ms: TTL };
    let priced = |price: &str| SubscriptionObject { price_id: Some(price.into()), ..object("active") };
    let moved = created("active").apply_fetched(&priced("price_gold"), NOW, rules).subscription;
    assert_eq!((moved.plan.as_str(), moved.price_id.as_str()), ("gold", "price_gold"));
    let kept = moved.apply_fetched(&priced("price_by_hand"), NOW, rules).subscription;
    assert_eq!((kept.plan.as_str(), kept.price_id.as_str()), ("gold", "price_gold"));
}

const STATUSES: [&str; 9] =
    ["incomplete", "incomplete_expired", "trialing", "active", "past_due", "unpaid", "paused", "canceled", "frozen"];

/// What Stripe went through, and hints about any of it in any order, each heard when Stripe was somewhere on its way.
fn story() -> impl Strategy<Value = (Vec<usize>, Vec<(usize, usize)>)> {
    prop::collection::vec(0..STATUSES.len(), 1..8).prop_flat_map(|life| {
        let steps = life.len();
        (Just(life), prop::collection::vec((0..steps, 0..steps), 0..24))
    })
}

proptest! {
    #[test]
    fn any_order_and_doubling_of_hints_ends_at_stripes_truth((life, mut hints) in story()) {
        // Time only goes forward at Stripe: the fetches see its states in order, whatever the hints say.
        hints.sort_by_key(|(_, seen)| *seen);
        hints.push((0, life.len() - 1));
        let mut now = created(STATUSES[life[0]]);
        let (mut told, mut losses, mut granted) = (vec![1], 0, grants(now.status.kind()));
        for (number, (hinted, seen)) in hints.iter().enumerate() {
            let hinted = StripeStatus::new(STATUSES[life[*hinted]]);
            let truth = object(STATUSES[life[*seen]]);
            if let Some(rejected) = now.clone().reject_hint(&hinted) {
                told.extend(rejected.facts.iter().map(|(sequence, _)| *sequence));
                now = rejected.subscription;
            }
            let change = apply(now, &truth, NOW + number as u64);
            let revocations = change.facts.iter().filter_map(|(_, fact)| match fact {
                SubscriptionEvent::ProofRevoked(revoked) => Some(revoked.min_ver),
                _ => None,
            });
            prop_assert_eq!(revocations.collect::<Vec<_>>(), if granted && !grants(truth.status.kind()) {
                vec![change.subscription.ver]
            } else {
                vec![]
            });
            losses += u64::from(granted && !grants(truth.status.kind()));
            told.extend(change.facts.iter().map(|(sequence, _)| *sequence));
            now = change.subscription;
            granted = grants(now.status.kind());
        }
        prop_assert_eq!(now.status.as_str(), STATUSES[life[life.len() - 1]]);
        prop_assert_eq!(now.ver, 1 + losses);
        prop_assert_eq!(told.last().copied(), Some(now.sequence));
        told.dedup();
        prop_assert!(told.iter().copied().eq(1..=now.sequence), "{:?}", told);
    }

    #[test]
    fn the_same_truth_twice_is_the_same_as_once(from in 0..9usize, to in 0..9usize) {
        let once = apply(created(STATUSES[from]), &object(STATUSES[to]), NOW).subscription;
        let twice = apply(once.clone(), &object(STATUSES[to]), NOW + 1);
        prop_assert_eq!(twice.facts, vec![]);
        prop_assert_eq!(twice.subscription, once);
    }
}

/// Every order of the numbers below `count`.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let shorter = permutations(count - 1);
    let insert = |order: &Vec<usize>, at: usize| [&order[..at], &[count - 1], &order[at..]].concat();
    shorter.iter().flat_map(|order| (0..=order.len()).map(move |at| insert(order, at))).collect()
}

/// Lives that Stripe's subscriptions lead, as their events tell them; those of one line came within one second.
const LIVES: [&[&str]; 9] = [
    &["incomplete", "active", "canceled"],
    &["incomplete", "incomplete_expired"],
    &["incomplete", "active", "past_due", "active", "canceled"],
    &["incomplete", "active", "past_due", "unpaid", "active", "canceled"],
    &["trialing", "active", "past_due", "canceled"],
    &["trialing", "paused", "active", "past_due", "active"],
    &["trialing", "past_due", "unpaid", "canceled"],
    &["active", "active", "active", "trialing", "active", "active"],
    &["active", "frozen", "active", "canceled"],
];

/// Two workers that look at Stripe at the same time: each has read the record, then Stripe, then commits. The older
/// commit is refused (`store.rs`) and its worker looks again.
struct Store {
    record: Subscription,
    version: u64,
    told: Vec<u64>,
}

impl Store {
    fn commit(&mut self, version: u64, truth: &str, hinted: &str, now_ms: u64) -> bool {
        if version != self.version {
            return false;
        }
        let mut subscription = self.record.clone();
        let hinted = StripeStatus::new(hinted);
        let is_false = hinted.as_str() != truth;
        if let Some(rejected) = subscription.clone().reject_hint(&hinted).filter(|_| is_false) {
            self.told.extend(rejected.facts.iter().map(|(sequence, _)| *sequence));
            subscription = rejected.subscription;
        }
        let change = apply(subscription, &object(truth), now_ms);
        self.told.extend(change.facts.iter().map(|(sequence, _)| *sequence));
        (self.record, self.version) = (change.subscription, version + 1);
        true
    }

    fn assert_is(&mut self, truth: &str, what: &str) {
        assert_eq!(self.record.status.as_str(), truth, "{what}");
        assert_eq!(self.record.entitled_until_ms(terms()).is_some(), grants(StripeStatus::new(truth).kind()), "{what}");
        self.told.dedup();
        assert!(self.told.iter().copied().eq(1..=self.record.sequence), "{what}: {:?}", self.told);
    }
}

#[test]
fn every_order_of_every_life_ends_at_stripes_truth() {
    let mut stories = 0_u32;
    for life in LIVES {
        let last = life.len() - 1;
        for order in permutations(life.len()) {
            // The hints of a life come while Stripe is at `reach`, then the rest when all is over; each of them twice
            // where `doubled` says so, and every other one crosses a look that began earlier.
            for reach in [0, last / 2, last] {
                for doubled in 0..2 {
                    let what = format!("{life:?} heard as {order:?}, Stripe first at {reach}, doubled {doubled}");
                    let record = created(life[0]);
                    let mut store = Store { record, version: 1, told: vec![1] };
                    let heard: Vec<usize> =
                        order.iter().flat_map(|hint| vec![*hint; 1 + (hint + doubled) % 2]).collect();
                    for (number, hint) in heard.iter().enumerate() {
                        // A hint can't be heard before it happened.
                        let seen = if number * 2 < heard.len() { reach.max(*hint) } else { last };
                        let (began, now_ms) = (store.version, NOW + number as u64);
                        if number % 2 == 1 {
                            // Another worker looks and commits between this one's look and its commit.
                            assert!(store.commit(began, life[seen], life[*hint], now_ms));
                            let stale = life[reach.min(*hint)];
                            assert!(!store.commit(began, stale, life[*hint], now_ms), "an older look counts: {what}");
                        }
                        let began = store.version;
                        assert!(store.commit(began, life[seen], life[*hint], now_ms));
                    }
                    store.assert_is(life[last], &what);
                    stories += 1;
                }
            }
        }
    }
    assert!(stories > 9_000, "{stories}");
}
