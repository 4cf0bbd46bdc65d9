//! Bodies of the public HTTP API.

mod api_key;
mod problem;
mod subscription;
mod ticket;

pub use api_key::{
    ApiKeyIssued, ApiKeyPage, ApiKeyRole, ApiKeyScope, ApiKeyStatus, ApiKeyView, CreateApiKey, RotateApiKey,
};
pub use problem::{Problem, Violation};
pub use subscription::{
    CancelSubscription, ChangePlan, CreateCheckout, CreatePortal, CreateSubscription, VerifySubscription,
};
pub use ticket::TicketIssued;
