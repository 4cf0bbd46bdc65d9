//! One use case each.

pub(crate) mod cancel;
mod change;
pub(crate) mod change_plan;
pub(crate) mod checkout;
pub(crate) mod create;
pub(crate) mod customer;
mod fulfil;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod list_proof_keys;
pub(crate) mod plans;
pub(crate) mod portal;
pub(crate) mod proof_snapshot;
pub(crate) mod refresh;
pub(crate) mod resume;
pub(crate) mod verify;

use std::time::Duration;

use contracts::Failure;
use serde::Serialize;
use service::Rejection;
use sha2::{Digest, Sha256};
use store::StoreError;

use crate::stripe::{Class, StripeFailure, hex};

/// How often a command decides anew when others keep changing the same subscription.
const MAX_DECISIONS: usize = 8;

/// Least time a client should wait before it tries Stripe's trouble again, where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Longest e-mail address Stripe takes, characters.
const MAX_EMAIL_CHARS: usize = 512;

/// Why a command that asks Stripe could not decide.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Stripe(#[from] StripeFailure),
    #[error("many change it at once; try again")]
    Contended,
}

impl<R> From<Trouble> for Rejection<R> {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Store(error) => error.into(),
            Trouble::Stripe(failure) => rejection(&failure),
            Trouble::Contended => Self::busy(Trouble::Contended.to_string()),
        }
    }
}

/// What an Idempotency-Key is remembered by.
fn key_hash(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}

/// Hash of everything that is asked for; `wish` is without its Idempotency-Key. Maps are sorted: the same wish has the
/// same hash, and wishes of different kinds never have.
fn wish_hash(kind: &str, wish: &impl Serialize) -> String {
    let content = serde_json::to_vec(wish).expect("a request is plain data");
    hex(&Sha256::new().chain_update(kind.as_bytes()).chain_update([0]).chain_update(content).finalize())
}

/// What is wrong with an Idempotency-Key and an address, `field: rule`.
fn violations(idempotency_key: &str, email: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    if !(1..=255).contains(&idempotency_key.chars().count()) {
        found.push("Idempotency-Key: use 1 to 255 characters, a new one for each new intent".to_owned());
    }
    if email.is_some_and(|email| email.is_empty() || email.chars().count() > MAX_EMAIL_CHARS) {
        found.push(format!("email: it is empty or over {MAX_EMAIL_CHARS} characters; correct it"));
    }
    found
}

/// What callers are told of a failure at Stripe. The details are in the log.
fn rejection<R>(failure: &StripeFailure) -> Rejection<R> {
    let message = match failure.class {
        Class::Timeout | Class::SlowBody => "the payment provider did not answer in time; try again with the same key",
        Class::Connect | Class::Lost | Class::Html | Class::Unreadable | Class::Server => {
            "the payment provider is in trouble; try again with the same key"
        }
        Class::RateLimited | Class::Busy => "the payment provider is busy; try again with the same key",
        Class::NotSent => "the payment provider is not being asked now; try again with the same key",
        Class::Unauthorized => "the payment provider does not accept this installation's key; tell the operator",
        Class::Invalid | Class::NotFound | Class::Card | Class::Mismatch => {
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
