//! What the subscription service promises and what it needs from others, on every bus (docs/contracts).

mod changes;
mod events;
mod reads;
mod requests;
