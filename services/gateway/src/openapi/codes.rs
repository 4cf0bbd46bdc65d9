use serde_json::{Map, Value, json};
use service::http::Code;

/// How an Idempotency-Key works, wherever it does.
pub(super) const IDEMPOTENCY: &str = "Names one intent of one user: 1 to 255 printable ASCII characters without spaces. \
The same key with the same body gives the same answer for 30 days; with another body 422 `idempotency_mismatch`. All keys \
of one user are one space.";

/// Headers of answers, by name.
pub(super) fn headers() -> Value {
    let text = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "X-Request-ID": text("Names this request; the caller's, if it was well-formed."),
        "X-Correlation-ID": text("Names everything that one call causes."),
        "X-Error-Code": text("The problem's code."),
        "RateLimit-Policy": text("Every limit that the call was counted by: `\"name\";q=<calls>;w=<seconds>`."),
        "RateLimit": text("What is left of each: `\"name\";r=<calls>;t=<seconds until all are back>`."),
        "Retry-After": {
            "description": "When to try again, seconds.",
            "schema": { "type": "integer", "minimum": 1 },
        },
    })
}

/// Every code, for the page.
pub(super) fn table() -> Value {
    let row = |code: &Code| {
        json!({
            "code": code.as_str(),
            "status": code.status(),
            "title": code.title(),
            "suggestion": code.suggestion(),
        })
    };
    Code::ALL.iter().map(row).collect()
}

/// The answers that problems of these codes are.
pub(super) fn responses(mut codes: Vec<Code>) -> Map<String, Value> {
    codes.sort_by_key(|code| (code.status(), code.as_str()));
    codes.dedup();
    let mut responses: Map<String, Value> = Map::new();
    for code in codes {
        let status = code.status().to_string();
        let line = format!("`{}`: {}", code.as_str(), code.title());
        if let Some(known) = responses.get_mut(&status) {
            let before = known["description"].as_str().unwrap_or_default();
            known["description"] = format!("{before}; {line}").into();
            continue;
        }
        let mut headers = json!({
            "X-Error-Code": { "$ref": "#/components/headers/X-Error-Code" },
            "X-Correlation-ID": { "$ref": "#/components/headers/X-Correlation-ID" },
        });
        if matches!(code.status(), 429 | 503) {
            headers["Retry-After"] = json!({ "$ref": "#/components/headers/Retry-After" });
        }
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        let content = json!({ "application/problem+json": { "schema": schema } });
        responses.insert(status, json!({ "description": line, "headers": headers, "content": content }));
    }
    responses
}
