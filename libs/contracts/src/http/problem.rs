use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An error as RFC 9457 writes it (`application/problem+json`), with our extensions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A URI that names the kind of problem; its page explains it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Stable code for programs.
    pub code: String,
    /// Names this occurrence; quote it to support.
    pub error_id: String,
    /// Ties together everything that one call caused.
    pub correlation_id: String,
    /// RFC 3339.
    pub timestamp: String,
    /// What the caller can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// Seconds to wait before trying again, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// Every rule that was broken, all at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
    /// Internals; only in development mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug: Option<String>,
    /// What one code says besides (RFC 9457 §3.2); `docs/http-api.md` names them.
    #[serde(flatten)]
    #[schemars(skip)]
    pub members: BTreeMap<String, Value>,
}

impl Problem {
    pub(crate) fn sample() -> Self {
        Self {
            kind: "/docs/errors#validation_failed".into(),
            title: "The request breaks a rule".into(),
            status: 400,
            detail: Some("two rules are broken".into()),
            code: "validation_failed".into(),
            error_id: "0190f5fe-0000-7000-8000-000000000001".into(),
            correlation_id: "0190f5fe-0000-7000-8000-000000000002".into(),
            timestamp: "2026-11-20T12:00:00Z".into(),
            suggestion: Some("Correct the fields named in 'violations'.".into()),
            retry_after_s: Some(1),
            violations: vec![Violation { field: "to".into(), message: "must have 1 to 100 characters".into() }],
            debug: Some("only in development".into()),
            members: BTreeMap::new(),
        }
    }
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// Which field, as a path (`metadata.team`).
    pub field: String,
    /// Which rule, and what to do.
    pub message: String,
}
