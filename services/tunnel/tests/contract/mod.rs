//! What the tunnel service publishes and what it needs from others, on every bus (docs/contracts). It serves no request;
//! what it promises to agents and the public is HTTP and the handshake of `contracts::tunnels`.

mod events;
mod reads;
