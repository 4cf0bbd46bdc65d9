use aws_sdk_dynamodb::types::CancellationReason;

use super::row;
use crate::{Action, Condition, Item, Key, StoreError, StoreErrorKind};

/// Why a transaction that DynamoDB cancelled may be tried again.
pub(super) enum Undone {
    /// Another transaction or the table's throughput stood in the way: pause first. What to call it when tries run out.
    Busy(StoreErrorKind),
    /// An add met an expired item, or no longer does: `anew` has changed.
    Stale,
}

/// Reads the reasons, one per action and in their order.
///
/// # Errors
/// `Conflict` with the first action whose condition did not hold, or `Invalid`: then it is final.
pub(super) fn why(
    actions: &[Action],
    anew: &mut [bool],
    reasons: &[CancellationReason],
    now_ms: u64,
) -> Result<Undone, StoreError> {
    let (mut busy, mut stale) = (StoreErrorKind::Contended, false);
    for (number, (action, reason)) in actions.iter().zip(reasons).enumerate() {
        match reason.code().unwrap_or("None") {
            "None" | "TransactionConflict" => {}
            "ConditionalCheckFailed" => {
                anew[number] = starts_anew(number, action, reason, now_ms)?;
                stale = true;
            }
            "ProvisionedThroughputExceeded" | "ThrottlingError" => busy = StoreErrorKind::Throttled,
            code => {
                let said = reason.message().unwrap_or("no message");
                let detail = format!("actions[{number}] on {}: {code}: {said}", action.key());
                return Err(StoreError::new(StoreErrorKind::Invalid, detail));
            }
        }
    }
    Ok(if stale { Undone::Stale } else { Undone::Busy(busy) })
}

/// Whether this action, an add whose own condition holds, has to put a fresh item.
fn starts_anew(number: usize, action: &Action, reason: &CancellationReason, now_ms: u64) -> Result<bool, StoreError> {
    let conflict = |key: &Key, condition: Condition| {
        let detail = format!("{key} should be {condition:?} and is not");
        Err(StoreError::new(StoreErrorKind::Conflict { action: number }, detail))
    };
    let (key, delta, condition) = match action {
        Action::Put { item, condition } => return conflict(&item.key, *condition),
        Action::Delete { key, condition } | Action::Check { key, condition } => return conflict(key, *condition),
        Action::Add { key, delta, condition } => (key, *delta, *condition),
    };
    let found = reason.item().map(row::decode).transpose()?;
    let stands = found.as_ref().filter(|item| !item.is_expired(now_ms));
    if !condition.holds(stands.map(|item| (item.version, item.counter))) {
        return conflict(key, condition);
    }
    // The caller's condition holds, so it was one of our own: expired or not, or the sum.
    if let Some(Item { counter, .. }) = stands
        && counter.checked_add(delta).is_none()
    {
        let detail = format!("actions[{number}].delta: {counter} + {delta} leaves 64 bits; reset the counter of {key}");
        return Err(StoreError::new(StoreErrorKind::Invalid, detail));
    }
    Ok(found.is_some() && stands.is_none())
}
