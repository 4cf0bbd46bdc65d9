//! Every write is one `TransactWriteItems`, also of one action: it costs twice the write units of a plain put and is
//! the only write whose repetition after a lost answer happens once (`ClientRequestToken`, 10 minutes).

use std::time::Duration;

use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use clock::Clock;

use super::Dynamo;
use super::failure::failed;
use super::row::{self, ALIVE, Row, number};
use super::undone::{Undone, why};
use crate::{Action, Condition, Item, Key, StoreError, StoreErrorKind};

pub(super) async fn transact(table: &Dynamo, actions: &[Action]) -> Result<(), StoreError> {
    let _turn = table.turn().await;
    let new_token = || table.entropy.uuid_v7(table.clock.now_ms()).to_string();
    let mut token = new_token();
    // Which adds start anew because what stands there has expired.
    let mut anew = vec![false; actions.len()];
    let mut kind = StoreErrorKind::Contended;
    for attempt in 0..table.options.contended_attempts_max {
        let now_ms = table.clock.now_ms();
        let steps = steps(&table.options.table, actions, &anew, now_ms)?;
        let request = table.client.transact_write_items().client_request_token(&token);
        let error = match request.set_transact_items(Some(steps)).send().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        match &error {
            SdkError::ServiceError(service) => match service.err() {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    // Nothing happened, for certain: the next try is another transaction.
                    token = new_token();
                    match why(actions, &mut anew, cancelled.cancellation_reasons(), now_ms)? {
                        Undone::Stale => continue,
                        Undone::Busy(busy) => kind = busy,
                    }
                }
                // The first try of this token still runs: ask again under the same.
                TransactWriteItemsError::TransactionInProgressException(_) => kind = StoreErrorKind::Contended,
                _ => return Err(failed("writing", error)),
            },
            _ => return Err(failed("writing", error)),
        }
        pause(table, attempt).await;
    }
    let detail = format!(
        "{} and {} more: other writers held them in {} tries; try again later",
        actions[0].key(),
        actions.len() - 1,
        table.options.contended_attempts_max
    );
    Err(StoreError::new(kind, detail))
}

/// Full jitter: anything from nothing to the bound, which doubles.
async fn pause(table: &Dynamo, attempt: u32) {
    let bound = table.options.pause_first_ms.saturating_mul(1 << attempt.min(16)).min(table.options.pause_max_ms);
    // Real time whatever the store's clock says: it is other writers that are waited for.
    Clock::system().sleep(Duration::from_millis(table.entropy.up_to(bound))).await;
}

fn steps(table: &str, actions: &[Action], anew: &[bool], now_ms: u64) -> Result<Vec<TransactWriteItem>, StoreError> {
    let step = |(action, anew): (&Action, &bool)| {
        step(table, action, *anew, now_ms).map_err(|error| {
            StoreError::new(StoreErrorKind::Invalid, "a transaction can't be built").with_source(error)
        })
    };
    actions.iter().zip(anew).map(step).collect()
}

fn step(table: &str, action: &Action, anew: bool, now_ms: u64) -> Result<TransactWriteItem, BuildError> {
    let step = TransactWriteItem::builder();
    Ok(match action {
        Action::Put { item, condition } => step.put(put(table, row::encode(item), Test::of(*condition, now_ms), None)?),
        Action::Add { key, delta, condition: _ } if anew => {
            let fresh = Item { counter: *delta, ..Item::new(key.clone(), 0, "{}") };
            let over = Test { text: Some("expires_at_ms <= :now".to_owned()), values: now(now_ms) };
            step.put(put(table, row::encode(&fresh), over, Some(ReturnValuesOnConditionCheckFailure::AllOld))?)
        }
        Action::Add { key, delta, condition } => step.update(add(table, key, *delta, *condition, now_ms)?),
        Action::Delete { key, condition } => {
            let test = Test::of(*condition, now_ms);
            let delete = Delete::builder().table_name(table).set_key(Some(row::key(key)));
            let delete = delete.set_condition_expression(test.text);
            step.delete(delete.set_expression_attribute_values(filled(test.values)).build()?)
        }
        Action::Check { key, condition } => {
            let test = Test::of(*condition, now_ms);
            // A check must have a condition: one that always holds.
            let text = test.text.unwrap_or_else(|| "attribute_exists(pk) OR attribute_not_exists(pk)".to_owned());
            let check = ConditionCheck::builder().table_name(table).set_key(Some(row::key(key)));
            let check = check.condition_expression(text);
            step.condition_check(check.set_expression_attribute_values(filled(test.values)).build()?)
        }
    }
    .build())
}

/// `shown`: whether a refusal is to show what stands there.
fn put(
    table: &str,
    row: Row,
    test: Test,
    shown: Option<ReturnValuesOnConditionCheckFailure>,
) -> Result<Put, BuildError> {
    Put::builder()
        .table_name(table)
        .set_item(Some(row))
        .set_condition_expression(test.text)
        .set_expression_attribute_values(filled(test.values))
        .set_return_values_on_condition_check_failure(shown)
        .build()
}

/// An add in place: for an item that stands, or where none does. One whose time is over must not be added to, so the
/// condition refuses it and `why` asks for a put instead.
fn add(table: &str, key: &Key, delta: i64, condition: Condition, now_ms: u64) -> Result<Update, BuildError> {
    let mut test = match condition {
        Condition::Any => Test { text: Some(ALIVE.to_owned()), values: now(now_ms) },
        Condition::Absent => Test { text: Some("attribute_not_exists(pk)".to_owned()), values: Row::new() },
        Condition::Exists | Condition::Version(_) | Condition::Counter(_) => Test::of(condition, now_ms),
    };
    // The sum must stay within 64 bits; neither bound can overflow itself.
    let bound = if delta > 0 { Some(("<=", i64::MAX - delta)) } else { (delta < 0).then(|| (">=", i64::MIN - delta)) };
    if let Some((sign, bound)) = bound {
        let text = test.text.unwrap_or_default();
        test.text = Some(format!("{text} AND (attribute_not_exists(item_counter) OR item_counter {sign} :bound)"));
        test.values.insert(":bound".to_owned(), number(bound));
    }
    test.values.insert(":delta".to_owned(), number(delta));
    test.values.insert(":zero".to_owned(), number(0));
    test.values.insert(":empty".to_owned(), AttributeValue::S("{}".to_owned()));
    Update::builder()
        .table_name(table)
        .set_key(Some(row::key(key)))
        .update_expression(
            "SET item_version = if_not_exists(item_version, :zero), item_body = if_not_exists(item_body, :empty) \
             ADD item_counter :delta",
        )
        .set_condition_expression(test.text)
        .set_expression_attribute_values(Some(test.values))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
}

/// A condition as DynamoDB takes it.
struct Test {
    text: Option<String>,
    values: Row,
}

impl Test {
    fn of(condition: Condition, now_ms: u64) -> Self {
        let mut values = now(now_ms);
        let text = match condition {
            Condition::Any => return Self { text: None, values: Row::new() },
            Condition::Absent => "(attribute_not_exists(pk) OR expires_at_ms <= :now)".to_owned(),
            Condition::Exists => format!("attribute_exists(pk) AND {ALIVE}"),
            Condition::Version(version) => {
                values.insert(":version".to_owned(), number(version));
                format!("item_version = :version AND {ALIVE}")
            }
            Condition::Counter(counter) => {
                values.insert(":counter".to_owned(), number(counter));
                format!("item_counter = :counter AND {ALIVE}")
            }
        };
        Self { text: Some(text), values }
    }
}

fn now(now_ms: u64) -> Row {
    Row::from([(":now".to_owned(), number(now_ms))])
}

/// DynamoDB refuses an empty map.
fn filled(values: Row) -> Option<Row> {
    (!values.is_empty()).then_some(values)
}
