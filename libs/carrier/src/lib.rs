//! A byte stream that outlives the connections it runs over.
//!
//! ```text
//! h2 ──bytes──▶ CarrierStream ──▶ Link (unacknowledged bytes kept) ──frames──▶ connection 1 ✗
//!                                                                  └─frames──▶ connection 2 …
//! ```
//!
//! Both ends hold a [`Carrier`]. [`Carrier::run`] moves its bytes over one message connection (binary WebSocket messages)
//! until that breaks; running it over the next one goes on exactly where the other side stopped hearing, and whoever
//! reads and writes the [`CarrierStream`] never notices. What names a carrier and who may resume it is the caller's
//! handshake; it has to exchange [`Carrier::received`] both ways.
//!
//! Invariants:
//! - Bytes come out in order, each once, or the stream ends with an error.
//! - At most `window_bytes` are unacknowledged per direction: a writer waits when the reader of the other side does.
//! - Nothing waits for ever: a connection that is silent for `dead_after` counts as broken.

mod drive;
mod frame;
mod link;
mod stream;

pub use drive::Ended;
pub use frame::{Frame, FrameError, MAX_PAYLOAD_BYTES};
pub use link::LinkError;
pub use stream::{Carrier, CarrierStream, Options, Stats, pair};
