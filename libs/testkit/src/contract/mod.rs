//! The parts of a service's contract suite that are the same for every service (`services/<name>/tests/contract`).
//!
//! - [`Events`]: each event the service owns comes from its real code path and keeps what was promised.
//! - [`Requests`]: each request it serves is answered as promised, good or bad, twice or too late.
//! - [`ReadingSuite`]: what it reads, found out from its real parsers and compared with its committed
//!   `contract/reads.json`.
//!
//! What must be shown comes from the catalogue: a kind or a refusal without a case fails the suite that lacks it.
//! Every suite runs on the embedded bus and on NATS ([`on_every_bus!`](crate::on_every_bus)).

mod events;
mod goldens;
mod place;
mod reading;
mod requests;

pub use events::{Events, Observer};
pub use goldens::{GoldenFact, golden_facts, golden_samples};
pub use place::{On, Place};
pub use reading::{Answers, ReadingSuite, hold_to_reads};
pub use requests::Requests;

use bus::{Envelope, Trail};
use bytes::Bytes;
use clock::{Clock, Entropy};
use contracts::TenantId;

/// Longest wait for anything; a slow machine needs more than a quick one, and nobody waits for it in vain.
const SOON: std::time::Duration = std::time::Duration::from_secs(30);

/// The tenant that suites act in.
pub const TENANT: &str = "acme";

/// A message as some other process would send it, with a payload that no type has checked.
pub fn envelope(clock: &Clock, source: &str, kind: &str, trail: &Trail, data: impl Into<Bytes>) -> Envelope {
    let tenant: TenantId = TENANT.parse().expect("a valid id");
    let now_ms = clock.now_ms();
    Envelope {
        id: Entropy::system().uuid_v7(now_ms).to_string().parse().expect("a UUID is a valid id"),
        source: format!("/synapse/{source}"),
        kind: kind.to_owned(),
        key: tenant.to_string(),
        tenant,
        sequence: 0,
        time_ms: now_ms,
        trail: trail.clone(),
        expires_at_ms: None,
        data: data.into(),
    }
}

/// A trail that no other call has: what follows from a call is known by it.
pub fn trail(number: u64) -> Trail {
    let mut trail = Trail::new(format!("contract-{number}"));
    trail.traceparent = Some(format!("00-{:032x}-b7ad6b7169203331-01", 0x0af7_6519_16cd_43dd_u64 + number));
    trail
}

/// Makes a test of each case on every bus: `on_every_bus!(case, …)` with `async fn case(on: On)`.
#[macro_export]
macro_rules! on_every_bus {
    ($($case:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::contract::On::Embedded).await;
                }
            )+
        }
        mod nats {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::contract::On::Nats).await;
                }
            )+
        }
    };
}
