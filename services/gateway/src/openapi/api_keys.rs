//! The operations of API keys.

use contracts::http::{ApiKeyIssued, ApiKeyPage, ApiKeyView, CreateApiKey, RotateApiKey};
use serde_json::json;
use service::http::Code;

use super::operation::Access::Admin;
use super::operation::Operation;
use super::operations::{limit, text};
use super::schema;

const KEYS: &str = "API keys";

pub(super) fn operations() -> Vec<Operation> {
    let wanted = json!({ "name": "ci", "scopes": ["peers:read"], "role": "user" });
    vec![
        Operation::new(("get", "/v1/api-keys"), "listApiKeys", KEYS, Admin, "The tenant's API keys")
            .about("Oldest first, those that ended in the last 30 days included.")
            .query("limit", "How many a page.", limit())
            .query("after", "The `next` of the last page.", text())
            .gives(200, "A page.", schema::<ApiKeyPage>),
        Operation::new(("post", "/v1/api-keys"), "createApiKey", KEYS, Admin, "Makes an API key")
            .about(
                "The secret is in the answer and nowhere else, so no Idempotency-Key is taken: nobody could be shown it \
                 again.",
            )
            .takes(schema::<CreateApiKey>, wanted)
            .gives(201, "The key and its secret.", schema::<ApiKeyIssued>)
            .refuses(&[Code::Conflict]),
        Operation::new(("get", "/v1/api-keys/{id}"), "getApiKey", KEYS, Admin, "One API key")
            .gives(200, "The key.", schema::<ApiKeyView>)
            .refuses(&[Code::NotFound]),
        Operation::new(("delete", "/v1/api-keys/{id}"), "revokeApiKey", KEYS, Admin, "Takes an API key back")
            .about("Revoking what is revoked changes nothing. It is void everywhere within seconds.")
            .ends(204, "It is revoked.")
            .refuses(&[Code::NotFound]),
        Operation::new(("post", "/v1/api-keys/{id}/rotate"), "rotateApiKey", KEYS, Admin, "Another secret for an API key")
            .about(
                "The secret before stays good for a while. The new one is in the answer and nowhere else, so no \
                 Idempotency-Key is taken.",
            )
            .takes(schema::<RotateApiKey>, json!({ "overlap_ms": 3_600_000 }))
            .gives(200, "The key and its new secret.", schema::<ApiKeyIssued>)
            .refuses(&[Code::NotFound, Code::Conflict]),
    ]
}
