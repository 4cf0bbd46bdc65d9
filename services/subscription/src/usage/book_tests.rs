use proptest::prelude::*;

use super::*;

/// 2026-09-21 14:13:20 UTC.
const NOW: u64 = 1_790_000_000_000;
const DAY: u64 = 86_400_000;

fn usage(meter: &str, amount: u64, to_ms: u64) -> Usage {
    Usage {
        subscription_id: id(),
        node_id: "node-1".parse().expect("a valid id"),
        from_ms: to_ms.saturating_sub(60_000),
        to_ms,
        amounts: BTreeMap::from([(meter.to_owned(), amount)]),
    }
}

fn id() -> SubscriptionId {
    "sub-1".parse().expect("a valid id")
}

fn allow(limit: &str, allowed: u64) -> Limits {
    BTreeMap::from([(limit.to_owned(), allowed), ("peers".to_owned(), 1)])
}

/// Facts in short: `+relay_bytes_month`, `-relay_bytes_month window_ended`.
fn told(book: &mut Book, limits: &Limits, now_ms: u64) -> Vec<String> {
    let facts = book.judge(&id(), limits, now_ms).into_iter();
    let short = |(_, fact)| match fact {
        SubscriptionEvent::QuotaExceeded(fact) => format!("+{} {} of {}", fact.limit, fact.used, fact.allowed),
        SubscriptionEvent::QuotaRestored(fact) => format!("-{} {:?}", fact.limit, fact.reason),
        other => format!("{other:?}"),
    };
    facts.map(short).collect()
}

#[test]
fn a_quota_is_told_once_per_window_and_again_in_the_next() {
    let (mut book, limits) = (Book::default(), allow("tunnel_bytes_day", 100));
    book.count(&usage("tunnel_bytes", 99, NOW), NOW);
    assert_eq!(told(&mut book, &limits, NOW), Vec::<String>::new());
    book.count(&usage("tunnel_bytes", 1, NOW), NOW);
    assert_eq!(told(&mut book, &limits, NOW), ["+tunnel_bytes_day 100 of 100"]);
    book.count(&usage("tunnel_bytes", 50, NOW), NOW);
    assert_eq!(told(&mut book, &limits, NOW), Vec::<String>::new());
    assert!(book.is_exceeded());
    let tomorrow = NOW + DAY;
    assert_eq!(told(&mut book, &limits, tomorrow), ["-tunnel_bytes_day WindowEnded"]);
    assert!(!book.is_exceeded());
    book.count(&usage("tunnel_bytes", 100, tomorrow), tomorrow);
    assert_eq!(told(&mut book, &limits, tomorrow), ["+tunnel_bytes_day 100 of 100"]);
    // Nobody looked when the window ended: the next one's excess says as much.
    let later = tomorrow + DAY;
    book.count(&usage("tunnel_bytes", 700, later), later);
    assert_eq!(told(&mut book, &limits, later), ["+tunnel_bytes_day 700 of 100"]);
}

#[test]
fn a_larger_plan_restores_and_a_smaller_one_exceeds() {
    let mut book = Book::default();
    book.count(&usage("relay_bytes", 500, NOW), NOW);
    assert_eq!(told(&mut book, &allow("relay_bytes_month", 100), NOW), ["+relay_bytes_month 500 of 100"]);
    assert_eq!(told(&mut book, &allow("relay_bytes_month", 1_000), NOW), ["-relay_bytes_month PlanGrew"]);
    assert_eq!(told(&mut book, &allow("relay_bytes_month", 400), NOW), ["+relay_bytes_month 500 of 400"]);
    assert_eq!(told(&mut book, &Limits::new(), NOW), ["-relay_bytes_month PlanGrew"]);
}

#[test]
fn a_limit_of_nothing_is_exceeded_by_the_first_use_and_not_before() {
    let (mut book, limits) = (Book::default(), allow("relay_bytes_month", 0));
    assert_eq!(told(&mut book, &limits, NOW), Vec::<String>::new());
    book.count(&usage("relay_bytes", 1, NOW), NOW);
    assert_eq!(told(&mut book, &limits, NOW), ["+relay_bytes_month 1 of 0"]);
}

#[test]
fn a_span_belongs_to_the_windows_it_lay_in_and_the_future_counts_as_now() {
    let (minute, mut book) = (Window::Minute.around(NOW), Book::default());
    let used = |book: &Book, at_ms| book.used("m", Window::Minute, at_ms);
    book.count(&usage("m", 1, minute.end), minute.end);
    assert_eq!((used(&book, minute.start), used(&book, minute.end)), (1, 0), "it ended with the minute");
    book.count(&usage("m", 2, NOW + DAY), NOW);
    assert_eq!(used(&book, NOW), 3, "a clock that is ahead can't spend tomorrow's quota");
}

#[test]
fn old_windows_go_and_what_comes_late_counts_in_the_longer_ones() {
    let mut book = Book::default();
    for day in 0..500 {
        book.count(&usage("m", 1, NOW + day * DAY), NOW + day * DAY);
    }
    let meter = &book.meters["m"];
    assert_eq!((meter.minute.len(), meter.day.len(), meter.month.len()), (5, 35, 13));
    let now = NOW + 499 * DAY;
    let before = book.clone();
    book.count(&usage("m", 7, now - DAY), now);
    let (meter, old) = (&book.meters["m"], &before.meters["m"]);
    assert_eq!(meter.minute.last(), old.minute.last());
    assert_eq!(meter.day[33].used, old.day[33].used + 7);
    assert!(serde_json::to_string(&book).expect("plain data").len() < 4_000);
}

#[test]
fn reports_that_make_no_sense_are_named() {
    let with = |amounts: BTreeMap<String, u64>| check(&Usage { amounts, ..usage("m", 1, NOW) });
    assert!(with(BTreeMap::new()).expect_err("none").starts_with("amounts: 0 meters"));
    assert!(with((0..17).map(|n| (format!("m{n}"), 1)).collect()).is_err());
    assert!(with(BTreeMap::from([("Bytes!".into(), 1)])).expect_err("odd").contains("Bytes!"));
    assert!(check(&Usage { from_ms: NOW, to_ms: NOW - 1, ..usage("m", 1, NOW) }).is_err());
    assert_eq!(check(&usage("relay_bytes", 1, NOW)), Ok(()));
}

proptest! {
    /// However reports come, quotas alternate between exceeded and restored or are exceeded in a later window, facts
    /// have numbers without gaps, and what is told matches what was used.
    #[test]
    fn facts_match_what_was_used(steps in prop::collection::vec((0u64..200, 0u64..2 * DAY, 1u64..300), 1..60)) {
        let (mut book, mut now, mut sequence) = (Book::default(), NOW, 0);
        let mut standing: Option<u64> = None;
        for (amount, step, allowed) in steps {
            now += step;
            let limits = allow("m_day", allowed);
            book.count(&usage("m", amount, now), now);
            for (number, fact) in book.judge(&id(), &limits, now) {
                sequence += 1;
                prop_assert_eq!(number, sequence);
                match fact {
                    SubscriptionEvent::QuotaExceeded(fact) => {
                        prop_assert!(standing.is_none_or(|from| from < fact.window_from_ms));
                        prop_assert!(fact.used >= fact.allowed && now < fact.resets_at_ms);
                        standing = Some(fact.window_from_ms);
                    }
                    _ => prop_assert!(standing.take().is_some()),
                }
            }
            let used = book.used("m", Window::Day, now);
            prop_assert_eq!(standing.is_some(), used > 0 && used >= allowed);
        }
    }
}
