//! The words of plans that cross processes: what a plan limits and what it includes. Proofs carry them by these names.

/// Names of limits. A limit that a plan does not name does not bind.
pub mod limit {
    /// Peers connected at once.
    pub const PEERS: &str = "peers";
    /// Bytes relayed in a month.
    pub const RELAY_BYTES_MONTH: &str = "relay_bytes_month";
    /// Tunnels open at once.
    pub const TUNNELS: &str = "tunnels";
    /// Requests through a tunnel in a minute.
    pub const TUNNEL_REQUESTS_MINUTE: &str = "tunnel_requests_minute";
    /// Bytes through a tunnel in a day.
    pub const TUNNEL_BYTES_DAY: &str = "tunnel_bytes_day";
    /// Bytes through a tunnel in a month.
    pub const TUNNEL_BYTES_MONTH: &str = "tunnel_bytes_month";

    /// Every one.
    pub const ALL: [&str; 6] =
        [PEERS, RELAY_BYTES_MONTH, TUNNELS, TUNNEL_REQUESTS_MINUTE, TUNNEL_BYTES_DAY, TUNNEL_BYTES_MONTH];
}

/// Names of features.
pub mod feature {
    /// Being seen and seeing others.
    pub const PRESENCE: &str = "presence";
    /// Negotiating sessions.
    pub const SIGNALING: &str = "signaling";
    /// Data through the platform where peers can't reach each other.
    pub const RELAY: &str = "relay";
    /// Public addresses for what runs on somebody's machine.
    pub const TUNNELS: &str = "tunnels";
    /// Names of tunnels that stay reserved while nobody is connected.
    pub const PINNED_NAMES: &str = "pinned_names";
    /// Names of tunnels that the owner chooses.
    pub const VANITY_NAMES: &str = "vanity_names";

    /// Every one.
    pub const ALL: [&str; 6] = [PRESENCE, SIGNALING, RELAY, TUNNELS, PINNED_NAMES, VANITY_NAMES];
}
