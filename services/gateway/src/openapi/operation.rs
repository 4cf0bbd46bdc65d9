use schemars::SchemaGenerator;
use serde_json::{Value, json};
use service::http::Code;

use super::{SchemaOf, codes, common};

/// What operations are about.
pub(super) const TAGS: [(&str, &str); 5] = [
    ("Subscriptions", "Plans, purchases, changes, proofs."),
    ("Peers", "Who is here."),
    ("Connections", "The client protocol `synapse.v1` over WebSockets, or over an event stream and posted frames."),
    ("API keys", "Keys for programs, made and taken back by administrators."),
    ("Documents", "Keys, this document, its page."),
];

/// Whose token an operation wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    Anybody,
    /// Any good token.
    Reader,
    /// One that may write: `user` or `admin`.
    Writer,
    Admin,
}

/// One good answer.
struct Answer {
    status: u16,
    about: &'static str,
    body: Body,
}

enum Body {
    None,
    Json(SchemaOf),
    /// Of this media type, as this schema has it.
    Other(&'static str, Value),
}

/// One method of one path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    about: &'static str,
    pub(super) access: Access,
    pub(super) is_idempotent: bool,
    parameters: Vec<Value>,
    pub(super) body: Option<(SchemaOf, Value)>,
    answers: Vec<Answer>,
    codes: Vec<Code>,
}

impl Operation {
    pub(super) fn new(
        (method, path): (&'static str, &'static str),
        id: &'static str,
        tag: &'static str,
        access: Access,
        summary: &'static str,
    ) -> Self {
        let (parameters, answers, codes) = (Vec::new(), Vec::new(), Vec::new());
        let (about, is_idempotent, body) = ("", false, None);
        Self { method, path, id, tag, summary, about, access, is_idempotent, parameters, body, answers, codes }
    }

    /// More than the summary says.
    pub(super) fn about(mut self, text: &'static str) -> Self {
        self.about = text;
        self
    }

    /// Needs an Idempotency-Key.
    pub(super) fn idempotent(mut self) -> Self {
        self.is_idempotent = true;
        self
    }

    /// A parameter of the query.
    pub(super) fn query(mut self, name: &str, about: &str, schema: Value) -> Self {
        self.parameters.push(json!({ "name": name, "in": "query", "description": about, "schema": schema }));
        self
    }

    /// The same that must be there.
    pub(super) fn needs(mut self, name: &str, about: &str, schema: Value) -> Self {
        let parameter =
            json!({ "name": name, "in": "query", "required": true, "description": about, "schema": schema });
        self.parameters.push(parameter);
        self
    }

    /// A header of the request.
    pub(super) fn header(mut self, name: &str, about: &str, required: bool) -> Self {
        let schema = json!({ "type": "string" });
        self.parameters.push(
            json!({ "name": name, "in": "header", "required": required, "description": about, "schema": schema }),
        );
        self
    }

    /// Takes a JSON body, such as this one.
    pub(super) fn takes(mut self, schema: SchemaOf, example: Value) -> Self {
        self.body = Some((schema, example));
        self
    }

    /// Answers with JSON of this type.
    pub(super) fn gives(mut self, status: u16, about: &'static str, schema: SchemaOf) -> Self {
        self.answers.push(Answer { status, about, body: Body::Json(schema) });
        self
    }

    /// Answers with something else, as `schema` has it.
    pub(super) fn gives_as(
        mut self,
        status: u16,
        about: &'static str,
        media_type: &'static str,
        schema: Value,
    ) -> Self {
        self.answers.push(Answer { status, about, body: Body::Other(media_type, schema) });
        self
    }

    /// Answers without a body.
    pub(super) fn ends(mut self, status: u16, about: &'static str) -> Self {
        self.answers.push(Answer { status, about, body: Body::None });
        self
    }

    /// May answer with these codes beside the common ones.
    pub(super) fn refuses(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    /// The Operation Object.
    pub(super) fn value(&self, schemas: &mut SchemaGenerator) -> Value {
        let mut parameters: Vec<Value> = self.path_parameters().collect();
        parameters.extend(self.parameters.iter().cloned());
        if self.is_idempotent {
            parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
        }
        let mut responses = codes::responses(common(self).into_iter().chain(self.codes.iter().copied()).collect());
        for Answer { status, about, body } in &self.answers {
            let mut answer = json!({ "description": about, "headers": answer_headers() });
            match body {
                Body::None => {}
                Body::Json(of) => {
                    answer["content"] = json!({ "application/json": { "schema": of(schemas).to_value() } });
                }
                Body::Other(media_type, schema) => answer["content"] = json!({ *media_type: { "schema": schema } }),
            }
            responses.insert(status.to_string(), answer);
        }
        let mut operation = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.description(),
            "security": self.security(),
            "parameters": parameters,
            "responses": responses,
        });
        if let Some((schema, example)) = &self.body {
            let content = json!({ "schema": schema(schemas).to_value(), "example": example });
            operation["requestBody"] = json!({ "required": true, "content": { "application/json": content } });
        }
        operation
    }

    fn description(&self) -> String {
        let who = match self.access {
            Access::Anybody => "Needs no token.",
            Access::Reader => "For any good token.",
            Access::Writer => "For the roles `user` and `admin`.",
            Access::Admin => "For the role `admin`.",
        };
        if self.about.is_empty() { who.to_owned() } else { format!("{} {who}", self.about) }
    }

    fn security(&self) -> Value {
        match self.access {
            Access::Anybody => json!([]),
            _ => json!([{ "bearer": [] }, { "cookie": [] }]),
        }
    }

    fn path_parameters(&self) -> impl Iterator<Item = Value> {
        let names = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        names.map(|name| {
            let schema = json!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9_-]+$" });
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
    }
}

fn answer_headers() -> Value {
    let names = ["X-Request-ID", "X-Correlation-ID", "RateLimit", "RateLimit-Policy"];
    let link = |name: &str| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    Value::Object(names.into_iter().map(link).collect())
}
