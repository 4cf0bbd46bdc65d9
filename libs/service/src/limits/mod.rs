//! Rate limits that hold across replicas and restarts, and shedding that keeps what is critical.
//!
//! ```text
//! request ──▶ Limiter::take(policy, key) ──local tokens left──▶ allowed
//!                       │ none, or their time is over
//!                       ▼
//!             one conditional write on the key's bucket in the store: takes a batch of tokens (a lease)
//! ```
//!
//! Invariants:
//! - Tokens in a bucket and tokens leased from it are never more than its quota together, so whatever replicas do, no
//!   more than `quota + elapsed × quota / window` calls pass in any period. Only clocks that differ add to that: at most
//!   by their difference's worth of refill.
//! - A refused call takes nothing, neither here nor in the store.
//! - What a replica leased and did not use is given back with its next lease, or lost with the lease's end.
//! - An absent bucket is a full one: the store forgets a bucket when it would be full again.

mod bucket;
mod desk;
mod fields;
mod limiter;
mod settings;
mod shed;
mod statistics;

pub use bucket::Policy;
pub use desk::limits_desk;
pub use fields::Standings;
pub use limiter::{Limiter, Standing, Verdict};
pub use settings::{FailMode, LimiterSettings, Quota};
pub use shed::{Admission, Importance, ShedSettings, Shedder};
pub use statistics::{Counts, HourOfPolicy};
