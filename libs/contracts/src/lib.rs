//! Every message that crosses a process, and nothing else: ids, events, requests, signals, the WebSocket's frames and
//! the HTTP bodies. serde and JSON Schema only; no I/O.
//!
//! A *kind* such as `presence.peer_went_offline.v1` names a message everywhere: `owner.name.version`. Compatible
//! changes add optional fields; anything else is a new version beside the old one (docs/contracts).
//!
//! A new event is one payload struct and one line in its owner's file below `events/`; schemas, goldens, the AsyncAPI
//! document, the catalogue page, the TypeScript types and the topology follow from `cargo xtask bless`.

#[macro_use]
mod macros;

mod answer;
mod catalogue;
pub mod events;
pub mod frames;
pub mod http;
mod ids;
mod kind;
pub mod plans;
pub mod reads;
pub mod requests;
pub mod signals;
pub mod topology;
pub mod tunnels;

pub use answer::{Answer, Failure};
pub use catalogue::{Aggregate, Class, Entry, catalogue};
pub use ids::{
    ConnectionId, EventId, IdError, NodeId, PeerId, SessionId, SignalId, SubscriptionId, TenantId, TunnelId, UserId,
};
pub use kind::{Contract, Deprecation, Event, Fact, KindError, Request, Signal, split_kind};
pub use reads::read;
