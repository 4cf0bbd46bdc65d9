use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use store::{StoreError, StoreErrorKind};

/// An error on the admin listener: a status and a sentence. For operators and their tools, not the public API, which
/// speaks in problems.
#[derive(Debug)]
pub struct OperatorError(pub StatusCode, pub String);

impl OperatorError {
    /// What was asked makes no sense: name the field, the rule, what to do.
    pub fn bad(what: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, what.into())
    }

    /// There is no such thing.
    pub fn missing(what: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, what.into())
    }
}

impl IntoResponse for OperatorError {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<StoreError> for OperatorError {
    fn from(error: StoreError) -> Self {
        let status = match error.kind() {
            _ if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            StoreErrorKind::Invalid => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}
