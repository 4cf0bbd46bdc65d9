//! Bodies of the public HTTP API.

mod problem;
mod subscription;

pub use problem::{Problem, Violation};
pub use subscription::{
    CancelSubscription, ChangePlan, CreateCheckout, CreatePortal, CreateSubscription, VerifySubscription,
};
