use serde_json::{Map, Value, json};

/// A refusal in the form Stripe gives it: status, and the members of the `error` object.
/// Source: Stripe's API reference, "Errors" and "Error codes".
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
    param: Option<String>,
    extra: Map<String, Value>,
    /// Whether the endpoint had begun its work. Only such results are kept under an idempotency key.
    pub(crate) executed: bool,
}

impl ApiError {
    fn new(status: u16, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, kind, code, message: message.into(), param: None, extra: Map::new(), executed: true }
    }

    /// A parameter that failed validation (400). Never kept under an idempotency key.
    pub(crate) fn parameter(code: Option<&'static str>, param: impl Into<String>, message: impl Into<String>) -> Self {
        let error = Self::new(400, "invalid_request_error", code, message);
        Self { param: Some(param.into()), executed: false, ..error }
    }

    /// A request that is well formed and still impossible (400).
    pub(crate) fn refused(code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", code, message)
    }

    /// An object named in the path that does not exist (404).
    pub(crate) fn missing(noun: &str, id: &str) -> Self {
        let error =
            Self::new(404, "invalid_request_error", Some("resource_missing"), format!("No such {noun}: '{id}'"));
        Self { param: Some("id".to_owned()), ..error }
    }

    /// An object named in a parameter that does not exist (400).
    pub(crate) fn missing_reference(noun: &str, id: &str, param: impl Into<String>) -> Self {
        Self { status: 400, param: Some(param.into()), ..Self::missing(noun, id) }
    }

    /// A card the bank refused (402).
    pub(crate) fn card_declined(decline_code: &str) -> Self {
        let (code, message) = match decline_code {
            "expired_card" => ("expired_card", "Your card has expired."),
            "incorrect_cvc" => ("incorrect_cvc", "Your card's security code is incorrect."),
            "processing_error" => {
                ("processing_error", "An error occurred while processing your card. Try again in a little bit.")
            }
            _ => ("card_declined", "Your card was declined."),
        };
        let mut error = Self::new(402, "card_error", Some(code), message);
        error.extra.insert("decline_code".to_owned(), json!(decline_code));
        error
    }

    /// A card whose date is over (402), naming the part of the date.
    pub(crate) fn expired(part: &str) -> Self {
        let (code, what) =
            if part == "exp_year" { ("invalid_expiry_year", "year") } else { ("invalid_expiry_month", "month") };
        let message = format!("Your card's expiration {what} is invalid.");
        Self::new(402, "card_error", Some(code), message).at(part)
    }

    /// A payment that needs the payer to act (402).
    pub(crate) fn action_required(code: &'static str, message: &str) -> Self {
        Self::new(402, "card_error", Some(code), message)
    }

    /// A missing or wrong API key (401).
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self { executed: false, ..Self::new(401, "invalid_request_error", None, message) }
    }

    /// A connected account that does not exist or is not ours (403).
    pub(crate) fn no_such_account(account: &str) -> Self {
        let message = format!(
            "The provided key does not have access to account '{account}' (or that account does not exist). Application \
             access may have been revoked."
        );
        Self { executed: false, ..Self::new(403, "invalid_request_error", Some("account_invalid"), message) }
    }

    /// A path or method nothing answers to (404).
    pub(crate) fn unknown_url(method: &str, path: &str) -> Self {
        let message = format!(
            "Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the trailing \
             slash. If you are trying to retrieve an object, make sure you passed a valid (non-empty) identifier in \
             your code."
        );
        Self { executed: false, ..Self::new(404, "invalid_request_error", None, message) }
    }

    /// The same key with other parameters (400).
    pub(crate) fn idempotency_mismatch(key: &str) -> Self {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. Try \
             using a key other than '{key}' if you meant to execute a different request."
        );
        Self { executed: false, ..Self::new(400, "idempotency_error", None, message) }
    }

    /// The same key while the first request with it still runs (409).
    pub(crate) fn idempotency_in_use(key: &str) -> Self {
        let message = format!(
            "There is currently another in-progress request using this Idempotent Key (that probably means you \
             submitted twice, and the other request is still going through): {key}. Please try again later."
        );
        Self { executed: false, ..Self::new(409, "idempotency_error", Some("idempotency_key_in_use"), message) }
    }

    /// A fault that was asked for: the envelope Stripe uses with that status.
    pub(crate) fn injected(status: u16) -> Self {
        let (kind, code, message) = match status {
            429 => ("invalid_request_error", Some("rate_limit"), "Request rate limit exceeded."),
            409 => ("invalid_request_error", Some("lock_timeout"), "This object cannot be accessed right now."),
            402 => ("card_error", Some("card_declined"), "Your card was declined."),
            401 => ("invalid_request_error", None, "Invalid API Key provided."),
            400..=499 => ("invalid_request_error", None, "The emulator was asked to refuse this request."),
            _ => ("api_error", None, "An unknown error occurred."),
        };
        Self { executed: status >= 500, ..Self::new(status, kind, code, message) }
    }

    /// A body over the limit (413).
    pub(crate) fn too_large(limit_bytes: usize) -> Self {
        let message = format!("Request body exceeds {limit_bytes} bytes.");
        Self { executed: false, ..Self::new(413, "invalid_request_error", None, message) }
    }

    /// The emulator's own bound, told apart from anything Stripe would say (400).
    pub(crate) fn emulator_full(noun: &str, limit: usize) -> Self {
        let message =
            format!("The emulator keeps at most {limit} {noun} objects; raise Options.limits or start a new one.");
        Self { executed: false, ..Self::new(400, "invalid_request_error", Some("emulator_full"), message) }
    }

    /// Adds a member to the error object, such as the payment intent behind a decline.
    pub(crate) fn with(mut self, member: &str, value: Value) -> Self {
        self.extra.insert(member.to_owned(), value);
        self
    }

    /// Names the parameter at fault.
    pub(crate) fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// What it says to people.
    pub(crate) fn message(&self) -> String {
        self.message.clone()
    }

    /// The response body.
    pub(crate) fn body(&self) -> Value {
        let mut error = self.extra.clone();
        error.insert("type".to_owned(), json!(self.kind));
        error.insert("message".to_owned(), json!(self.message));
        if let Some(code) = self.code {
            error.insert("code".to_owned(), json!(code));
            error.insert("doc_url".to_owned(), json!(format!("https://stripe.com/docs/error-codes/{code}")));
        }
        if let Some(param) = &self.param {
            error.insert("param".to_owned(), json!(param));
        }
        json!({ "error": error })
    }
}
