//! What the webhook service promises and what it needs from others, on every bus (docs/contracts). It serves no request.

mod events;
mod reads;
