//! Audit records: who tried what, and what was decided. One structured log line each, target `audit`, whatever the log
//! filter says, unless it names this target. Its fields are stable; none holds a secret.

use auth::Principal;
use auth::Role;

/// Where the records go: the target of their log lines.
pub const AUDIT_TARGET: &str = "audit";

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// The caller is known and may.
    Allowed,
    /// The caller is known and may not.
    Denied,
    /// Nobody knows who it is.
    Unauthenticated,
    /// It could not be decided.
    Failed,
}

impl AuditOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Failed => "failed",
        }
    }
}

/// One record. Empty texts stand for what is not known or does not apply.
#[derive(Clone, Copy, Debug)]
pub struct AuditRecord<'a> {
    /// What was tried: `subscriptions.create`.
    pub action: &'a str,
    /// What was decided.
    pub outcome: AuditOutcome,
    /// Why, as a stable word: `token_expired`, `not_admin`.
    pub reason: &'a str,
    /// How the caller showed who they are: `header`, `cookie`, `frame`, `ticket`.
    pub via: &'a str,
    /// Whom the caller speaks for.
    pub principal: Option<&'a Principal>,
    /// The API key that was used.
    pub key_id: &'a str,
    /// What it was tried on: the id of a key, a peer, a subscription.
    pub subject: &'a str,
    /// The call's correlation id.
    pub correlation_id: &'a str,
}

impl AuditRecord<'_> {
    /// Writes it down.
    pub fn write(&self) {
        let Self { action, outcome, reason, via, principal, key_id, subject, correlation_id } = *self;
        let tenant = principal.map_or("", |principal| principal.tenant.as_str());
        let user = principal.map_or("", |principal| principal.user.as_str());
        let role = principal.map_or("", |principal| role(principal.role));
        let token_id = principal.and_then(|principal| principal.token_id.as_deref()).unwrap_or("");
        tracing::info!(
            target: AUDIT_TARGET,
            action,
            outcome = outcome.as_str(),
            reason,
            via,
            tenant,
            user,
            role,
            token_id,
            key_id,
            subject,
            correlation_id,
            "audit"
        );
        metrics::counter!("synapse_audit_records_total", "outcome" => outcome.as_str()).increment(1);
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::User => "user",
        Role::ReadOnly => "read_only",
    }
}
