//! What every backend must do. Each case gets an empty table and runs once per backend.

pub(crate) mod conditions;
pub(crate) mod counters;
pub(crate) mod expiry;
pub(crate) mod index;
pub(crate) mod limits;
pub(crate) mod pages;
pub(crate) mod races;
pub(crate) mod reads;
pub(crate) mod transactions;

use std::any::Any;

use clock::{Clock, ManualClock};
use store::{Action, Condition, Cursor, Item, Key, Page, Query, Store, StoreError, StoreErrorKind};

/// An empty table, the clock it runs by, and what must live as long as the test.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    pub(crate) _holds: Box<dyn Any + Send>,
}

impl Bench {
    /// A clock that stands a year ahead of the machine's, so that no server removes by its own clock what a test has
    /// not yet let expire.
    pub(crate) fn clock() -> (Clock, ManualClock) {
        Clock::manual(Clock::system().now_ms() + 365 * 24 * 3_600_000)
    }
}

pub(crate) fn key(sort: &str) -> Key {
    Key::new("p", sort)
}

pub(crate) fn item(sort: &str, version: u64) -> Item {
    Item::new(key(sort), version, format!(r#"{{"sort":{},"version":{version}}}"#, serde_json::json!(sort)))
}

pub(crate) fn put(item: Item, condition: Condition) -> Action {
    Action::Put { item, condition }
}

pub(crate) fn sorts(page: &Page) -> Vec<&str> {
    page.items.iter().map(|item| item.key.sort.as_str()).collect()
}

pub(crate) fn assert_conflict(result: Result<(), StoreError>, action: usize) {
    let error = result.expect_err("a condition that does not hold");
    assert_eq!(error.conflict(), Some(action), "{error}");
    assert!(!error.is_retryable());
}

pub(crate) fn assert_invalid<T: std::fmt::Debug>(result: Result<T, StoreError>, names: &str) {
    let error = result.expect_err("a call outside the limits");
    assert_eq!(error.kind(), StoreErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(names), "{error} should name {names}");
    assert!(!error.is_retryable());
}

/// Reads a listing to its end, page by page, and checks that no page is longer than asked for.
pub(crate) async fn all_pages(store: &Store, query: Query, in_index: bool) -> Vec<Item> {
    let mut items = Vec::new();
    let mut after: Option<Cursor> = None;
    for _ in 0..10_000 {
        let query = Query { after: after.take(), ..query.clone() };
        let page = if in_index { store.query_index(&query).await } else { store.query(&query).await }.unwrap();
        assert!(page.items.len() <= query.limit as usize);
        items.extend(page.items);
        match page.next {
            // As a caller would hand it back.
            Some(next) => after = Some(Cursor::parse(next.as_str()).unwrap()),
            None => return items,
        }
    }
    panic!("the listing has no end");
}

/// One test per case, on the bench that `$open` makes.
macro_rules! conformance {
    ($open:path) => {
        $crate::conformance::conformance! { $open:
            reads { nothing_where_nothing_was_put, what_was_put, a_later_put_replaces_everything, by_utf8_bytes,
                    odd_characters, partitions_are_apart, a_write_is_seen_by_the_next_read, an_item_of_full_size }
            conditions { absent, exists, version, check_changes_nothing, delete_what_is_not_there,
                         delete_under_conditions, a_conflict_leaves_the_item, a_conflict_says_what_was_expected }
            pages { a_prefix, an_empty_prefix_is_everything, between_includes_both_ends, descending,
                    to_the_end_by_cursor, an_exact_last_page, items_put_between_pages, items_deleted_between_pages,
                    a_page_ends_at_its_bytes, a_cursor_of_another_query, a_cursor_made_up, an_empty_partition }
            index { in_its_order, by_page, an_item_moves_in_the_index, an_item_leaves_the_index, a_deleted_item_leaves,
                    prefix_and_descending, a_cursor_of_the_table }
            expiry { absent_from_its_moment_on, gone_from_listings, conditions_see_nothing, an_add_starts_anew,
                     a_put_over_it, time_never_runs_out_without_expiry, gone_from_transactions }
            counters { an_add_creates, adds_sum, an_add_keeps_the_rest, an_add_under_conditions,
                       a_counter_is_a_condition, a_put_sets_it, an_overflow_is_refused }
            transactions { all_of_it, none_of_it, the_first_that_fails, every_kind_at_once, a_hundred_actions,
                           four_megabytes, a_failed_one_leaves_no_counter, moving_an_item,
                           one_that_waits_for_no_disk }
            limits { no_action, too_many_actions, a_key_twice, too_large_together, too_large_an_item, empty_keys,
                     long_keys, keys_at_the_limit, index_keys, page_sizes, ranges, large_numbers }
            races { one_winner_of_a_put, one_winner_of_a_version, one_winner_of_a_transaction, no_lost_adds,
                    crossing_transactions, compare_and_set_loops }
        }
    };
    ($open:path: $($group:ident { $($case:ident),* $(,)? })*) => {
        $(mod $group {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                $crate::conformance::$group::$case($open().await).await;
            })*
        })*
    };
}
pub(crate) use conformance;
