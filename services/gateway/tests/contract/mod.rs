//! What the gateway needs from others, on every bus (docs/contracts). It owns no event and serves no request; what it
//! promises to clients is HTTP and the WebSocket protocol.

mod reads;
