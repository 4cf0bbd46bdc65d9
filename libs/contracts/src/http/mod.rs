//! Bodies of the public HTTP API.

mod problem;
mod subscription;
mod ticket;

pub use problem::{Problem, Violation};
pub use subscription::{
    CancelSubscription, ChangePlan, CreateCheckout, CreatePortal, CreateSubscription, VerifySubscription,
};
pub use ticket::TicketIssued;
