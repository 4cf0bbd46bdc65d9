//! Events, requests and signals over NATS, SQS or in process.
//!
//! - **Events** are durable facts, delivered at least once to every subscribing service, in order per key. They are
//!   published only by the outbox's relay, through [`Bus::publisher`].
//! - **Requests** ask one owner and get one reply before a deadline.
//! - **Signals** are ephemeral and addressed; nobody can mistake [`Bus::signal`] for publishing a fact.
//!
//! Every message is a CloudEvents 1.0 event ([`Envelope`]).

mod backend;
mod bus;
mod embedded;
mod envelope;
mod error;
mod lanes;
mod meter;
mod nats;
mod observe;
mod ring;
mod sqs;
mod typed;
pub mod wire;

pub use backend::{
    Backend, Capabilities, Deliveries, Delivery, Incoming, IncomingRequest, Malformed, Requests, Settle, Signals,
    Subscribe,
};
pub use bus::{Bus, Publisher};
pub use embedded::EmbeddedOptions;
pub use envelope::{Envelope, Trail};
pub use error::{BusError, BusErrorKind};
pub use nats::NatsOptions;
pub use observe::{Observation, Observe, Observed, Watcher};
pub use sqs::SqsOptions;
pub use typed::{Asked, Sender, serve};
