//! The public API as an OpenAPI 3.1 document, made from the types that the handlers read and answer and from one table
//! of operations. A test compares the table with the router.

mod codes;
mod operation;
mod operations;

use std::sync::LazyLock;

use contracts::http::Problem;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use service::http::Code;

use self::operation::{Access, Operation};
use self::operations::operations;

const ABOUT: &str = "Connects peers and sells them the connection. Errors are problems (RFC 9457) with stable codes. Ids \
of a call (`X-Request-ID`, `X-Correlation-ID`) are taken over and answered. Where limits bind, answers say where the \
caller stands (`RateLimit`, `RateLimit-Policy`, draft-ietf-httpapi-ratelimit-headers-10).";

/// The document's text, as it is served and committed: keys sorted, indented.
pub fn document_text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut document = document();
        document.sort_all_objects();
        format!("{document:#}\n")
    });
    &TEXT
}

/// The document.
pub fn document() -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = operation.value(&mut schemas);
    }
    schemas.subschema_for::<Problem>();
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Synapse-D",
            "summary": "The gateway's HTTP API",
            "description": ABOUT,
            "version": "1",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": operation::TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "synapse_token" },
            },
            "parameters": {
                "IdempotencyKey": {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": true,
                    "description": codes::IDEMPOTENCY,
                    "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
                    "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
                },
            },
            "headers": codes::headers(),
        },
        "x-problem-codes": codes::table(),
    })
}

/// A schema of the document's components, by its type.
type SchemaOf = fn(&mut SchemaGenerator) -> schemars::Schema;

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> schemars::Schema {
    generator.subschema_for::<T>()
}

/// Which codes every operation of this kind may answer with, beside its own.
fn common(operation: &Operation) -> Vec<Code> {
    let mut codes = vec![
        Code::Validation,
        Code::MalformedRequest,
        Code::UnsafePath,
        Code::PayloadTooLarge,
        Code::UriTooLong,
        Code::RateLimited,
        Code::HeadersTooLarge,
        Code::Internal,
        Code::Unavailable,
    ];
    if operation.access != Access::Anybody {
        codes.extend([Code::AuthenticationMissing, Code::AuthenticationInvalid, Code::AuthenticationExpired]);
    }
    if operation.access >= Access::Writer || operation.method != "get" {
        codes.push(Code::Forbidden);
    }
    if operation.body.is_some() {
        codes.push(Code::UnsupportedMediaType);
    }
    if operation.is_idempotent {
        codes.extend([Code::IdempotencyKeyMissing, Code::IdempotencyMismatch]);
    }
    codes
}
