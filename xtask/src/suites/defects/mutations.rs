//! The defects that are made in sources.

/// One change of a source file and what must fail because of it.
pub(super) struct Mutation {
    /// What is wrong then.
    pub(super) name: &'static str,
    pub(super) file: &'static str,
    /// Stands in the file exactly once.
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// Arguments of `cargo test`.
    pub(super) caught_by: &'static [&'static str],
    /// What the failing test must say.
    pub(super) says: &'static str,
}

const SIGNALING: &[&str] = &["-p", "signaling", "--test", "it", "--", "contract::", "--skip", "nats"];
const PRESENCE: &[&str] = &["-p", "presence", "--test", "it", "--", "contract::", "--skip", "nats"];

/// Those of one suite follow each other, so that its pristine run counts for all of them.
pub(super) const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "a candidate of an older negotiation is passed on",
        file: "services/signaling/src/session.rs",
        from: "if *generation != current {",
        to: "if *generation != current && *generation == 0 {",
        caught_by: SIGNALING,
        says: "stale_generation",
    },
    Mutation {
        name: "a consumer reads a field that nobody was told of",
        file: "services/signaling/src/consumers.rs",
        from: "    reason: OfflineReason,\n}",
        to: "    reason: OfflineReason,\n    #[allow(dead_code)]\n    generation: u64,\n}",
        caught_by: SIGNALING,
        says: "generation",
    },
    Mutation {
        name: "the same connection again makes a second fact",
        file: "services/presence/src/peer.rs",
        from: "known.connection_id == ask.connection_id =>",
        to: "known.connection_id == ask.connection_id && ask.proof_ver == u64::MAX =>",
        caught_by: PRESENCE,
        says: "presence",
    },
    Mutation {
        name: "a fact does not say what it belongs to",
        file: "services/presence/src/draft.rs",
        from: "self.unit.publish(tenant, peer.sequence, trail, fact);",
        to: "self.unit.publish(tenant, peer.sequence, &Trail::default(), fact);",
        caught_by: PRESENCE,
        says: "correlation",
    },
    Mutation {
        name: "a field of an event was renamed on the wire",
        file: "libs/contracts/src/events/presence.rs",
        from: "pub struct PeerWentOfflineV1 {\n    /// Which peer.\n",
        to: "pub struct PeerWentOfflineV1 {\n    /// Which peer.\n    #[serde(rename = \"peer\")]\n",
        caught_by: &["-p", "contracts", "--test", "it"],
        says: "presence.peer_went_offline.v1",
    },
    Mutation {
        name: "the inbox is not looked at",
        file: "libs/outbox/src/attempt.rs",
        from: "if record.state.is_settled() && task.gate.is_open() {",
        to: "if record.state.is_settled() && task.gate.is_open() && record.hash.is_empty() {",
        caught_by: &["-p", "outbox", "--test", "it", "--", "inbox::"],
        says: "once",
    },
];
