//! One use case each.

pub(crate) mod create;
mod fulfil;
pub(crate) mod get;
pub(crate) mod list_proof_keys;
pub(crate) mod proof_snapshot;
pub(crate) mod refresh;
pub(crate) mod verify;

use std::time::Duration;

use contracts::Failure;
use service::Rejection;

use crate::stripe::{Class, StripeFailure};

/// How often a command decides anew when others keep changing the same subscription.
const MAX_DECISIONS: usize = 8;

/// Least time a client should wait before it tries Stripe's trouble again, where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What callers are told of a failure at Stripe. The details are in the log.
fn rejection<R>(failure: &StripeFailure) -> Rejection<R> {
    let message = match failure.class {
        Class::Timeout => "the payment provider did not answer in time; try again with the same key",
        Class::Connect | Class::Unreadable | Class::Server => {
            "the payment provider is in trouble; try again with the same key"
        }
        Class::RateLimited | Class::Busy => "the payment provider is busy; try again with the same key",
        Class::NotSent => "the payment provider is not being asked now; try again with the same key",
        Class::Unauthorized => "the payment provider does not accept this installation's key; tell the operator",
        Class::Invalid | Class::Card | Class::Mismatch => {
            return Rejection::broken(format!("the payment provider refused: {}", failure.message));
        }
    };
    let is_retryable = failure.class.is_retryable();
    let wait = failure.retry_after.unwrap_or(RETRY_AFTER);
    Rejection::Failed(Failure {
        retryable: is_retryable,
        message: message.to_owned(),
        retry_after_ms: is_retryable.then(|| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
    })
}
