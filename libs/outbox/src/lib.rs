//! State, outgoing events and the inbox record in one transaction; relay, retries, dead letters.
//!
//! A command builds a [`Unit`]: the writes of its aggregate and the facts that follow. [`Outbox::commit`] stores both
//! at once and wakes the relay, which publishes the rows and deletes them. A consumer's effects, its own facts and the
//! record that the event was handled commit together too, so an event has its effects exactly once.
//!
//! The key layout stands in `keys.rs`, the guarantees and what to tune in the README.

mod aftermath;
mod attempt;
mod consume;
mod dead;
mod gate;
mod inbox;
mod keys;
mod layout;
mod lease;
mod letter;
mod options;
mod outbox;
mod policy;
mod relay;
mod retry;
mod stored;
mod unit;
mod worker;

pub use consume::{Consumer, consume, read};
pub use dead::{DeadLetters, Letters, Redrive, RedriveKey, Selection};
pub use letter::{DeadLetter, Reason};
pub use options::{ConsumeOptions, Options, Publishing, RetryBudget, Step};
pub use outbox::{Outbox, RelayError};
pub use policy::{Effects, Failure, Order, RetryPolicy, Subscription};
pub use unit::{Buried, Unit};
