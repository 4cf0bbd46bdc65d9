//! Who calls, and whether they may: every credential is looked at here, every decision is made by the table of
//! [`crate::operations`], and every one of them becomes an audit record.

use auth::{Principal, Role};
use contracts::UserId;
use contracts::http::ApiKeyScope;
use service::http::{Code, ProblemResponse};
use service::{AuditOutcome, AuditRecord, Unauthenticated, challenge};

use crate::Gateway;
use crate::keys::{KeyRefusal, KeyUse};
use crate::operations::{Denied, Operation};

/// How a caller showed who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Header,
    Cookie,
    Frame,
    Ticket,
    /// Not at all.
    Nothing,
}

impl Via {
    fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Cookie => "cookie",
            Self::Frame => "frame",
            Self::Ticket => "ticket",
            Self::Nothing => "",
        }
    }
}

/// A known caller.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) principal: Principal,
    /// Where it is an API key.
    pub(crate) key: Option<KeyUse>,
    via: Via,
}

/// Why nobody knows the caller.
#[derive(Debug)]
pub(crate) enum Unknown {
    Token(Unauthenticated),
    Key(KeyRefusal),
    /// A cookie of a page that may not use it.
    CookieOrigin,
    /// A ticket that is used, over or unknown.
    Ticket(ProblemResponse),
}

/// Finds out who calls.
pub(crate) async fn identify(gateway: &Gateway, token: &str, via: Via) -> Result<Identity, Unknown> {
    // A cookie goes along by itself, wherever a page leads: good for a session, never for a key without end.
    if via != Via::Cookie && auth::ApiKey::is_meant(token) {
        let used = gateway.keys.verify(token).await.map_err(Unknown::Key)?;
        return Ok(Identity::of_key(used, via));
    }
    let principal = gateway.tokens.verify(token).await.map_err(Unknown::Token)?;
    Ok(Identity { principal, key: None, via })
}

/// Decides whether a caller may, and writes it down.
pub(crate) fn decide(
    identity: Result<Identity, Unknown>,
    via: Via,
    operation: Operation,
    subject: &str,
    correlation_id: &str,
) -> Result<Identity, ProblemResponse> {
    match identity {
        Ok(identity) => {
            let verdict = operation.rule().allows(identity.principal.role, identity.scopes());
            identity.audit(operation, verdict, subject, correlation_id);
            verdict.map(|()| identity).map_err(denied)
        }
        Err(unknown) => {
            unknown.audit(via, operation, subject, correlation_id);
            Err(unknown.into())
        }
    }
}

impl Identity {
    pub(crate) fn of_key(used: KeyUse, via: Via) -> Self {
        Self { principal: used.record.principal(), key: Some(used), via }
    }

    fn scopes(&self) -> Option<&[ApiKeyScope]> {
        self.key.as_ref().map(|used| used.record.scopes.as_slice())
    }

    fn key_id(&self) -> &str {
        self.key.as_ref().map_or("", |used| &used.record.key_id)
    }

    /// Whether the caller acts for everybody of their tenant.
    pub(crate) fn is_admin(&self) -> bool {
        self.principal.role == Role::Admin
    }

    /// Whether what belongs to `owner` is the caller's to see: its owner's and the administrators'.
    pub(crate) fn sees(&self, owner: &UserId) -> bool {
        self.is_admin() || self.principal.user == *owner
    }

    /// Refuses a known caller what is not theirs; only that is written down, for what they came for was before.
    pub(crate) fn may(&self, operation: Operation, subject: &str, correlation_id: &str) -> Result<(), ProblemResponse> {
        let verdict = operation.rule().allows(self.principal.role, self.scopes());
        if verdict.is_err() {
            self.audit(operation, verdict, subject, correlation_id);
        }
        verdict.map_err(denied)
    }

    /// What was done to a key.
    pub(crate) fn audit_change(
        &self,
        operation: Operation,
        refused: Option<Code>,
        subject: &str,
        correlation_id: &str,
    ) {
        let outcome = if refused.is_some() { AuditOutcome::Failed } else { AuditOutcome::Allowed };
        self.record(operation, outcome, refused.map_or("done", Code::as_str), subject, correlation_id).write();
    }

    fn audit(&self, operation: Operation, verdict: Result<(), Denied>, subject: &str, correlation_id: &str) {
        let (outcome, reason) = match verdict {
            Ok(()) => (AuditOutcome::Allowed, ""),
            Err(denied) => (AuditOutcome::Denied, denied.code()),
        };
        self.record(operation, outcome, reason, subject, correlation_id).write();
    }

    fn record<'a>(
        &'a self,
        operation: Operation,
        outcome: AuditOutcome,
        reason: &'a str,
        subject: &'a str,
        correlation_id: &'a str,
    ) -> AuditRecord<'a> {
        AuditRecord {
            action: operation.rule().name,
            outcome,
            reason,
            via: self.via.as_str(),
            principal: Some(&self.principal),
            key_id: self.key_id(),
            subject,
            correlation_id,
        }
    }
}

impl Unknown {
    fn code(&self) -> &'static str {
        match self {
            Self::Token(refusal) => refusal.code(),
            Self::Key(KeyRefusal::NoKey(_)) => "api_key_malformed",
            Self::Key(KeyRefusal::WrongKind) => "api_key_of_other_installation",
            Self::Key(KeyRefusal::Unknown) => "api_key_unknown",
            Self::Key(KeyRefusal::Expired(_)) => "api_key_expired",
            Self::Key(KeyRefusal::Revoked(_)) => "api_key_revoked",
            Self::Key(KeyRefusal::Unavailable) => "api_keys_unavailable",
            Self::CookieOrigin => "cookie_of_other_origin",
            Self::Ticket(_) => "ticket_refused",
        }
    }

    /// Whether trying again may help: what could tell was away.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Token(Unauthenticated::KeysUnavailable { .. }) | Self::Key(KeyRefusal::Unavailable))
    }

    pub(crate) fn audit(&self, via: Via, operation: Operation, subject: &str, correlation_id: &str) {
        let known = match self {
            Self::Key(KeyRefusal::Expired(record) | KeyRefusal::Revoked(record)) => Some(record),
            _ => None,
        };
        let principal = known.map(|record| record.principal());
        let record = AuditRecord {
            action: operation.rule().name,
            outcome: if self.is_passing() { AuditOutcome::Failed } else { AuditOutcome::Unauthenticated },
            reason: self.code(),
            via: via.as_str(),
            principal: principal.as_ref(),
            key_id: known.map_or("", |record| &record.key_id),
            subject,
            correlation_id,
        };
        record.write();
    }
}

impl From<Unknown> for ProblemResponse {
    fn from(unknown: Unknown) -> Self {
        let refused = |code, why: &str| challenge(Self::new(code).detail(why), Some(("invalid_token", why)));
        match unknown {
            Unknown::Token(refusal) => refusal.into(),
            Unknown::Ticket(problem) => problem,
            Unknown::CookieOrigin => Self::new(Code::Forbidden)
                .detail("a page of this origin may not use the cookie; add it to the gateway's allowed_origins"),
            Unknown::Key(refusal) => match refusal {
                KeyRefusal::NoKey(error) => refused(Code::AuthenticationInvalid, &error.to_string()),
                KeyRefusal::WrongKind => {
                    let why =
                        "this API key is for the other kind of installation: syn_live_ is production, syn_test_ is not";
                    refused(Code::AuthenticationInvalid, why)
                }
                KeyRefusal::Unknown => refused(Code::AuthenticationInvalid, "nobody has this API key; make a new one"),
                KeyRefusal::Expired(_) => {
                    refused(Code::AuthenticationExpired, "the API key has expired; make a new one")
                }
                KeyRefusal::Revoked(_) => {
                    refused(Code::AuthenticationInvalid, "the API key was revoked or has another secret now; use that")
                }
                KeyRefusal::Unavailable => {
                    Self::new(Code::Unavailable).detail("API keys can't be looked up at the moment").retry_after_s(1)
                }
            },
        }
    }
}

fn denied(denied: Denied) -> ProblemResponse {
    let problem = ProblemResponse::new(Code::Forbidden);
    match denied {
        Denied::ReadOnly => problem.detail("this token may only read"),
        Denied::NotAdmin => problem.detail("this is for administrators"),
        Denied::NotByKey => problem.detail("API keys can't do this; use an administrator's access token"),
        Denied::Scope(scope) => {
            let why = format!("the API key lacks the scope {}; use one that has it", scope.as_str());
            challenge(problem.detail(&why), Some(("insufficient_scope", &why)))
        }
    }
}
