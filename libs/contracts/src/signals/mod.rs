//! Ephemeral, addressed messages, one file per owner. Loss is possible and harmless, or visible to the sender.

pub mod gateway;
pub mod presence;
pub mod signaling;

pub(crate) fn entries() -> Vec<crate::Entry> {
    vec![
        crate::Entry::signal::<presence::HeartbeatV1>(),
        crate::Entry::signal::<presence::ChangedV1>(),
        crate::Entry::signal::<signaling::DeliverV1>(),
        crate::Entry::signal::<signaling::ReceiptV1>(),
        crate::Entry::signal::<signaling::TakenV1>(),
        crate::Entry::signal::<gateway::EntitlementLostV1>(),
        crate::Entry::signal::<gateway::BroadcastV1>(),
        crate::Entry::signal::<gateway::CallV1>(),
        crate::Entry::signal::<gateway::ReplyV1>(),
    ]
}

/// The address of signals meant for whoever listens.
pub const EVERYBODY: &str = "all";
