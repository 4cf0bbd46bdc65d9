//! Layered configuration: compiled defaults < file < environment.
//!
//! The defaults are each service's `config.toml`, which therefore lists every key. A file or a variable may only set
//! keys that are in it, with a value of the same type. `SYNAPSE_PRESENCE__LEASE__TTL_MS=5000` sets `lease.ttl_ms` of
//! the presence service. A secret `x` may also be given as `x_file`, a path (see [`Secret`]).
//!
//! Everything that is wrong is reported together, before anything starts. This is the only place in the workspace that
//! reads the environment.

mod basics;
mod error;
mod keys;
mod layers;
mod load;
mod secret;

pub use basics::{AdminSettings, COMMON_DEFAULTS, Common, Mode};
pub use error::{Checks, ConfigErrors, ConfigProblem, Validate};
pub use keys::{KeyInfo, keys};
pub use load::{Sources, dump, load, process_env, process_file};
pub use secret::{Secret, rotate};
