//! What every service needs around its rules: configuration, telemetry, HTTP shell, problems, breaker, health, drain.
//!
//! | module | for |
//! |---|---|
//! | [`config`] | defaults < file < environment, validated as a whole before anything starts |
//! | [`telemetry`] | logs with redaction, traces over OTLP, Prometheus metrics |
//! | [`http`] | serving with limits, ids, drain; every error as a problem with a stable code |
//! | [`limits`] | rate limits shared by replicas, shedding |
//! | [`health`] | liveness, readiness, metrics endpoints |
//! | [`breaker`] | circuit breakers around external calls |
//! | [`Host`], [`Platform`] | what a process and a service stand on: bus, store, outbox, time |
//! | [`Tokens`] | who calls: access tokens, verified with keys that may change |
//! | [`run`] | a service's `main` |
//! | [`Lifecycle`] | a service's tasks, stopped together under a deadline |

pub mod breaker;
pub mod config;
mod dead_letters;
pub mod health;
pub mod http;
mod lifecycle;
pub mod limits;
mod operator;
mod peer_book;
mod platform;
mod platform_config;
mod proof_book;
mod public;
mod rejection;
mod run;
mod spans;
pub mod telemetry;
mod time;
mod tokens;

pub use dead_letters::DeadLetterDesk;
pub use lifecycle::{Lifecycle, shutdown_signal};
pub use operator::OperatorError;
pub use peer_book::{PeerBook, PeerBookOptions};
pub use platform::{Host, PROOF_AUDIENCE, PROOF_ISSUER, Platform, platform_tenant, proof_rules};
pub use platform_config::{BusTarget, PLATFORM, PLATFORM_DEFAULTS, PlatformConfig, StoreTarget};
pub use proof_book::{PROOF_SUBSCRIPTIONS, ProofBook};
pub use public::{Front, Public};
pub use rejection::{Rejection, answer, expect_reply};
pub use run::{load, run};
pub use tokens::{TokenSettings, Tokens, Unauthenticated, bearer};

/// Of every program that links this crate, so of each service's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
