//! What other services refuse, as the public API says it. The only place where refusals become codes; each match is
//! exhaustive, so a new refusal does not compile until it has one.

use auth::ProofError;
use contracts::Failure;
use contracts::events::subscription::Status;
use contracts::requests::presence::{
    ConnectRefusal, CountRefusal, DescribeRefusal, DisconnectRefusal, ListRefusal, LookupRefusal, SetStatusRefusal,
};
use contracts::requests::signaling::{IceServersRefusal, OpenSessionRefusal, SendRefusal};
use contracts::requests::subscription::{
    CancelRefusal, ChangePlanRefusal, CheckoutRefusal, CreateRefusal, GetRefusal, NeverRefused, PortalRefusal,
    ResumeRefusal, SubscriptionListRefusal, VerifyRefusal,
};
use service::Rejection;
use service::http::{Code, ProblemResponse};

/// Turns a "no" into a problem.
pub(crate) trait IntoProblem {
    /// The problem.
    fn into_problem(self) -> ProblemResponse;
}

impl<R: IntoProblem> IntoProblem for Rejection<R> {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::Refused(refusal) => refusal.into_problem(),
            Self::Failed(failure) => failed(failure),
        }
    }
}

fn failed(failure: Failure) -> ProblemResponse {
    let problem = ProblemResponse::new(if failure.retryable { Code::Unavailable } else { Code::Internal });
    // At least a second: who asks again at once makes it worse.
    let wait_s = failure.retry_after_ms.map_or(1, |ms| ms.div_ceil(1_000).max(1));
    let problem = problem.detail(failure.message);
    if failure.retryable { problem.retry_after_s(wait_s) } else { problem }
}

fn problem(code: Code, detail: impl Into<String>) -> ProblemResponse {
    ProblemResponse::new(code).detail(detail)
}

/// A refusal that the owner learnt after this gateway was built.
fn newer() -> ProblemResponse {
    problem(Code::Conflict, "refused for a reason that this gateway does not know yet; ask its operator to update it")
}

/// Lines of `field: rule` as violations.
fn violated(code: Code, lines: Vec<String>) -> ProblemResponse {
    lines.into_iter().fold(ProblemResponse::new(code), |problem, line| {
        let (field, rule) = line.split_once(": ").unwrap_or(("", &line));
        problem.violation(field, rule)
    })
}

impl IntoProblem for CreateRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::UnknownPrice { allowed } => unknown_price(&allowed),
            Self::InvalidMetadata { violations } | Self::Invalid { violations } => {
                violated(Code::Validation, violations)
            }
            Self::IdempotencyMismatch => ProblemResponse::new(Code::IdempotencyMismatch),
            Self::PaymentFailed { message } => problem(Code::PaymentFailed, message),
            Self::PaymentActionRequired { subscription_id, payment } => {
                let detail = "the subscription is there and waits for its customer";
                problem(Code::PaymentActionRequired, detail)
                    .member("subscription_id", subscription_id.as_str().into())
                    .member("payment", serde_json::to_value(payment).unwrap_or_default())
            }
            Self::Unknown => newer(),
        }
    }
}

fn unknown_price(allowed: &[String]) -> ProblemResponse {
    problem(Code::UnknownPrice, format!("price_id: on offer are {}", allowed.join(", ")))
}

fn illegal(asked: &str, from: Status) -> ProblemResponse {
    let status = serde_json::to_value(from).unwrap_or_default();
    problem(Code::IllegalTransition, format!("{asked}: the subscription's status is {status}, which does not allow it"))
}

impl IntoProblem for ChangePlanRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            // Whether it exists is nobody else's business.
            Self::NotFound | Self::NotOwner => ProblemResponse::new(Code::NotFound),
            Self::IllegalTransition { from } => illegal("change of plan", from),
            Self::UnknownPrice { allowed } => unknown_price(&allowed),
            Self::IdempotencyMismatch => ProblemResponse::new(Code::IdempotencyMismatch),
            Self::PaymentFailed { message } => problem(Code::PaymentFailed, message),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for CancelRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::NotFound | Self::NotOwner => ProblemResponse::new(Code::NotFound),
            Self::IllegalTransition { from } => illegal("cancellation", from),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for ResumeRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::NotFound | Self::NotOwner => ProblemResponse::new(Code::NotFound),
            Self::IllegalTransition { from } => illegal("resumption", from),
            Self::PaymentFailed { message } => problem(Code::PaymentFailed, message),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for CheckoutRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::UnknownPrice { allowed } => unknown_price(&allowed),
            Self::Invalid { violations } => violated(Code::Validation, violations),
            Self::IdempotencyMismatch => ProblemResponse::new(Code::IdempotencyMismatch),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for PortalRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::NoCustomer => problem(Code::NotFound, "this user has bought nothing yet; there is nothing to manage"),
            Self::Invalid { violations } => violated(Code::Validation, violations),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for SubscriptionListRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::InvalidPage { message } => violated(Code::Validation, vec![message]),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for NeverRefused {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for GetRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::NotFound => ProblemResponse::new(Code::NotFound),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for VerifyRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            // Whether it exists is nobody else's business.
            Self::NotFound | Self::NotOwner => ProblemResponse::new(Code::NotFound),
            Self::NotEntitled { status } => {
                let status = serde_json::to_value(status).unwrap_or_default();
                problem(Code::EntitlementLost, format!("the subscription's status is {status}; it entitles to nothing"))
            }
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for ConnectRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::NotOwner => problem(Code::Forbidden, "peer_id: belongs to another user; choose another one"),
            Self::TooManyPeers { limit } => problem(
                Code::QuotaExceeded,
                format!(
                    "peers: the plan allows {limit} at once and as many are here; disconnect one or change the plan"
                ),
            ),
            Self::InvalidTransition { to } => {
                problem(Code::Conflict, format!("status: a connection begins connecting or online, not {to:?}"))
            }
            Self::Invalid { violations } => violated(Code::Validation, violations),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for DescribeRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::UnknownPeer => ProblemResponse::new(Code::PeerUnknown),
            Self::StaleGeneration => problem(Code::Conflict, "a newer connection of this peer stands"),
            Self::Invalid { violations } => violated(Code::Validation, violations),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for CountRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::Invalid { message } => violated(Code::Validation, vec![message]),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for DisconnectRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::UnknownPeer => ProblemResponse::new(Code::PeerUnknown),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for SetStatusRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::UnknownPeer => ProblemResponse::new(Code::PeerUnknown),
            Self::StaleGeneration => problem(Code::Conflict, "a newer connection of this peer stands"),
            Self::InvalidTransition { from, to } => {
                problem(Code::Conflict, format!("status: there is no way from {from:?} to {to:?}"))
            }
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for LookupRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::UnknownPeer => ProblemResponse::new(Code::PeerUnknown),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for ListRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::InvalidPage { message } => violated(Code::Validation, vec![message]),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for OpenSessionRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::UnknownPeer => ProblemResponse::new(Code::PeerUnknown),
            Self::PeerOffline => ProblemResponse::new(Code::PeerOffline),
            Self::SamePeer => violated(
                Code::Validation,
                vec!["to: names the caller itself, or a member that is named already".into()],
            ),
            Self::TooManyPeers { limit } => {
                let rule = format!("others: a session takes {limit} members, the caller included; name fewer");
                violated(Code::Validation, vec![rule])
            }
            Self::ProofRefused { message } => problem(Code::ProofRefused, message),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for SendRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::UnknownSession => ProblemResponse::new(Code::SessionUnknown),
            Self::NotMember => ProblemResponse::new(Code::NotMember),
            Self::PeerOffline => ProblemResponse::new(Code::PeerOffline),
            Self::InvalidSignal { violations } => violated(Code::InvalidSignal, violations),
            Self::TargetNeeded => {
                let rule = "to: name the member that it is for; the session has more than two";
                violated(Code::Validation, vec![rule.into()])
            }
            Self::MailboxFull { signals, bytes, retry_after_ms } => {
                let detail = format!(
                    "the peer is not here, and as much as is kept for it waits ({signals} signals or {bytes} bytes); \
                     send again when `presence` tells that it is back"
                );
                problem(Code::MailboxFull, detail).retry_after_s(retry_after_ms.div_ceil(1_000).max(1))
            }
            Self::IdentityMismatch { message } => problem(Code::IdentityMismatch, message),
            Self::StaleGeneration { current } => {
                problem(Code::StaleGeneration, format!("generation: the session is in negotiation {current}"))
            }
            Self::ProofRefused { message } => problem(Code::ProofRefused, message),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for IceServersRefusal {
    fn into_problem(self) -> ProblemResponse {
        match self {
            Self::ProofRefused { message } => problem(Code::ProofRefused, message),
            Self::Unknown => newer(),
        }
    }
}

impl IntoProblem for ProofError {
    fn into_problem(self) -> ProblemResponse {
        let code = if self == Self::Revoked { Code::EntitlementLost } else { Code::ProofRefused };
        problem(code, self.to_string())
    }
}
