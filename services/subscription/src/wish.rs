//! What an owner may wish for, and what a subscription's status says to it. Pure.

use contracts::events::subscription::Status;

use crate::subscription::Subscription;

/// A change that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Bill by another price.
    ChangePlan { price_id: String },
    /// End now.
    Cancel,
    /// End with the paid period.
    CancelAtPeriodEnd,
    /// Go on: take a cancellation back, or wake up.
    Resume,
}

/// What is to be done about a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is so already.
    Done,
    /// Stripe is to be asked for it.
    Ask(Ask),
    /// The status does not allow it; it would have led there.
    Illegal(Status),
}

/// What Stripe is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    ChangePrice,
    Cancel,
    EndWithPeriod(bool),
    WakeUp,
}

impl Wish {
    /// For events, the audit and metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::ChangePlan { .. } => "change_plan",
            Self::Cancel => "cancel",
            Self::CancelAtPeriodEnd => "cancel_at_period_end",
            Self::Resume => "resume",
        }
    }

    /// What is to be done about it. A status we don't know allows nothing but to end.
    pub(crate) fn judge(&self, subscription: &Subscription) -> Verdict {
        use Status::{Active, Canceled, Incomplete, IncompleteExpired, PastDue, Paused, Trialing};
        let status = subscription.status.kind();
        let runs = matches!(status, Trialing | Active | PastDue);
        match self {
            Self::ChangePlan { price_id } if runs && subscription.price_id == *price_id => Verdict::Done,
            Self::ChangePlan { .. } if runs => Verdict::Ask(Ask::ChangePrice),
            Self::Cancel | Self::CancelAtPeriodEnd if matches!(status, Canceled | IncompleteExpired) => Verdict::Done,
            Self::Cancel => Verdict::Ask(Ask::Cancel),
            Self::CancelAtPeriodEnd if runs && subscription.cancel_at_period_end => Verdict::Done,
            Self::CancelAtPeriodEnd if runs => Verdict::Ask(Ask::EndWithPeriod(true)),
            Self::CancelAtPeriodEnd if status == Incomplete => Verdict::Illegal(IncompleteExpired),
            Self::CancelAtPeriodEnd => Verdict::Illegal(Canceled),
            Self::Resume if runs && subscription.cancel_at_period_end => Verdict::Ask(Ask::EndWithPeriod(false)),
            Self::Resume if runs => Verdict::Done,
            Self::Resume if status == Paused => Verdict::Ask(Ask::WakeUp),
            Self::ChangePlan { .. } | Self::Resume => Verdict::Illegal(Active),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::StripeStatus;
    use crate::subscription::tests::created;

    #[test]
    fn every_wish_in_every_status() {
        use Verdict::{Done, Illegal};
        let change = || Wish::ChangePlan { price_id: "price_other".into() };
        let ask = Verdict::Ask;
        let (end, keep) = (Ask::EndWithPeriod(true), Ask::EndWithPeriod(false));
        let running = |ends: bool| {
            let resume = if ends { ask(keep) } else { Done };
            let later = if ends { Done } else { ask(end) };
            [ask(Ask::ChangePrice), ask(Ask::Cancel), later, resume]
        };
        let to = |status| Illegal(status);
        let stuck = [to(Status::Active), ask(Ask::Cancel), to(Status::Canceled), to(Status::Active)];
        let over = [to(Status::Active), Done, Done, to(Status::Active)];
        let incomplete = [to(Status::Active), ask(Ask::Cancel), to(Status::IncompleteExpired), to(Status::Active)];
        let paused = [to(Status::Active), ask(Ask::Cancel), to(Status::Canceled), ask(Ask::WakeUp)];
        let table = [
            ("incomplete", false, incomplete),
            ("incomplete_expired", false, over.clone()),
            ("trialing", false, running(false)),
            ("trialing", true, running(true)),
            ("active", false, running(false)),
            ("active", true, running(true)),
            ("past_due", false, running(false)),
            ("past_due", true, running(true)),
            ("unpaid", false, stuck.clone()),
            ("paused", false, paused),
            ("canceled", true, over),
            ("frozen", false, stuck),
        ];
        for (status, cancel_at_period_end, expected) in table {
            let subscription =
                Subscription { status: StripeStatus::new(status), cancel_at_period_end, ..created("active") };
            let wishes = [change(), Wish::Cancel, Wish::CancelAtPeriodEnd, Wish::Resume];
            let found = wishes.map(|wish| wish.judge(&subscription));
            assert_eq!(found, expected, "{status}, ends with its period: {cancel_at_period_end}");
        }
        let same = Wish::ChangePlan { price_id: "price_team_monthly".into() };
        assert_eq!(same.judge(&created("active")), Done);
        assert_eq!(same.judge(&created("canceled")), Illegal(Status::Active));
    }
}
