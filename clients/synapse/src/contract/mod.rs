//! `synapse contract`: a running system held against its contracts (`verify`), its live traffic (`watch`), and two
//! sets of contracts against each other (`diff`). The only part of the command line that speaks the bus (ADR 0030).

mod arguments;
mod diff;
mod schemas;
mod verify;
mod watch;

pub use arguments::{Arguments, run};
pub use diff::{Change, Difference, diff};
pub use verify::{
    Check, Contract, Limits, Offence, Promise, Public, Report, Sort, Stripe, Target, Verdict, run as verify,
};
pub use watch::{Offender, Seen, Sightings, watch};
