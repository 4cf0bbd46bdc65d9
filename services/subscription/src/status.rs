//! Stripe's subscription statuses, which may follow which, and which entitle.

use contracts::events::subscription::Status;
use serde::{Deserialize, Serialize};

/// A status as Stripe wrote it. One we don't know is kept as it came and entitles to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct StripeStatus(String);

impl StripeStatus {
    pub(crate) fn new(raw: impl Into<String>) -> Self {
        Self(raw.into())
    }

    /// As Stripe wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The status it is, or [`Status::Unknown`].
    pub(crate) fn kind(&self) -> Status {
        match self.0.as_str() {
            "incomplete" => Status::Incomplete,
            "incomplete_expired" => Status::IncompleteExpired,
            "trialing" => Status::Trialing,
            "active" => Status::Active,
            "past_due" => Status::PastDue,
            "unpaid" => Status::Unpaid,
            "paused" => Status::Paused,
            "canceled" => Status::Canceled,
            _ => Status::Unknown,
        }
    }
}

/// Whether the status machine has this arrow (Stripe's documentation, "How subscriptions work", subscription statuses).
/// Nothing leads out of a final status, nor into or out of one we don't know.
pub(crate) fn allowed(from: Status, to: Status) -> bool {
    use Status::{Active, Canceled, Incomplete, IncompleteExpired, PastDue, Paused, Trialing, Unpaid};
    matches!(
        (from, to),
        (Incomplete, Active | IncompleteExpired)
            | (Trialing, Active | PastDue | Paused | Canceled)
            | (Active, PastDue | Canceled | Unpaid | Trialing)
            | (PastDue, Active | Canceled | Unpaid)
            | (Unpaid | Paused, Active | Canceled)
    )
}

/// Whether proofs may be issued in this status; past due only within its grace.
pub(crate) fn grants(status: Status) -> bool {
    matches!(status, Status::Trialing | Status::Active | Status::PastDue)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 9] = [
        "incomplete",
        "incomplete_expired",
        "trialing",
        "active",
        "past_due",
        "unpaid",
        "paused",
        "canceled",
        "frozen",
    ];

    #[test]
    fn every_status_of_stripe_is_known_by_the_name_the_contract_gives_it() {
        for raw in ALL {
            let kind = StripeStatus::new(raw).kind();
            let written = serde_json::to_value(kind).expect("a status is JSON");
            assert_eq!(written, if raw == "frozen" { "unknown" } else { raw });
        }
    }

    #[test]
    fn the_machine_has_exactly_the_arrows_of_the_table() {
        let table = [
            ("incomplete", "active"),
            ("incomplete", "incomplete_expired"),
            ("trialing", "active"),
            ("trialing", "past_due"),
            ("trialing", "paused"),
            ("trialing", "canceled"),
            ("active", "past_due"),
            ("active", "canceled"),
            ("active", "unpaid"),
            ("active", "trialing"),
            ("past_due", "active"),
            ("past_due", "canceled"),
            ("past_due", "unpaid"),
            ("unpaid", "active"),
            ("unpaid", "canceled"),
            ("paused", "active"),
            ("paused", "canceled"),
        ];
        for from in ALL {
            for to in ALL {
                let expected = table.contains(&(from, to));
                let found = allowed(StripeStatus::new(from).kind(), StripeStatus::new(to).kind());
                assert_eq!(found, expected, "{from} to {to}");
            }
        }
    }

    #[test]
    fn final_statuses_have_no_way_out_and_unknown_ones_entitle_to_nothing() {
        for raw in ALL {
            let kind = StripeStatus::new(raw).kind();
            let ways = ALL.iter().filter(|to| allowed(kind, StripeStatus::new(**to).kind())).count();
            assert_eq!(ways == 0, ["canceled", "incomplete_expired", "frozen"].contains(&raw), "{raw}");
            assert_eq!(grants(kind), ["trialing", "active", "past_due"].contains(&raw), "{raw}");
        }
    }
}
