//! What presence promises and what it needs from others, on every bus (docs/contracts).

mod events;
mod reads;
mod requests;
