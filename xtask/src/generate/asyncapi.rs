//! `docs/asyncapi.json`: every channel, operation and message as AsyncAPI 3.0.
//!
//! AsyncAPI's NATS binding knows one field, `queue`; what it can't say about JetStream and SQS stands in `x-` fields.
//! JSON Schemas' `$defs` become `components/schemas`, because a document's `$ref`s start at its root.

use anyhow::{Result, bail};
use contracts::{Class, Entry, split_kind};
use serde_json::{Map, Value, json};

use super::prose::{description, summary};
use super::{name, topology};

/// The document.
///
/// # Errors
/// Two kinds use one name for different types: rename one of the Rust types.
pub(super) fn document(entries: &[Entry]) -> Result<Value> {
    let mut parts = Parts::default();
    parts.schemas.insert("Headers".into(), headers());
    for entry in entries {
        parts.add(entry)?;
    }
    let Parts { channels, operations, messages, schemas } = parts;
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Synapse-D",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every event, request and signal between the services. Generated; see docs/contracts.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {"host": "localhost:4222", "protocol": "nats", "description": "NATS ≥ 2.9 with JetStream"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }))
}

#[derive(Default)]
struct Parts {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Parts {
    fn add(&mut self, entry: &Entry) -> Result<()> {
        let name = name(entry);
        let message = self.message(entry, &name)?;
        self.messages.insert(name.clone(), message);
        let (owner, word, major) = split_kind(entry.kind)?;
        let mut channel = json!({
            "messages": {&name: {"$ref": format!("#/components/messages/{name}")}},
            "servers": [{"$ref": "#/servers/nats"}],
        });
        let partition =
            json!({"partition": {"description": "Hash of the ordering key; keeps a key's events in order."}});
        let address = json!({"address": {"description": "Whom it is for: a process, a tenant, or `all`."}});
        let messages = json!([{"$ref": format!("#/channels/{name}/messages/{name}")}]);
        let here = json!({"$ref": format!("#/channels/{name}")});
        let mut operation = json!({"channel": here, "messages": messages, "tags": [{"name": owner}]});
        match entry.class {
            Class::Event => {
                channel["address"] = json!(format!("synapse.event.{}.{{partition}}", entry.kind));
                channel["parameters"] = partition;
                operation["action"] = json!("send");
                operation["x-delivery"] = json!("durable, at least once, in order per partitionkey");
                operation["x-jetstream"] = topology::stream();
                operation["x-sqs"] = json!({
                    "queue": "synapse-<subscriber>.fifo",
                    "messageGroupId": "partitionkey",
                    "messageDeduplicationId": "ce-id",
                });
            }
            Class::Request => {
                channel["address"] = json!(format!("synapse.request.{}", entry.kind));
                operation["action"] = json!("receive");
                operation["bindings"] = json!({"nats": {"queue": owner, "bindingVersion": "0.1.0"}});
                let reply = format!("{name}.reply");
                operation["reply"] = json!({
                    "channel": {"$ref": format!("#/channels/{reply}")},
                    "messages": [{"$ref": format!("#/channels/{reply}/messages/{reply}")}],
                });
                operation["x-delivery"] = json!("at most once per try, under the deadline in ce-expirytime");
            }
            Class::Reply => {
                channel["address"] = Value::Null;
                self.channels.insert(name, channel);
                return Ok(());
            }
            Class::Signal => {
                channel["address"] = json!(format!("synapse.signal.{}.{{address}}", entry.kind));
                channel["parameters"] = address;
                operation["action"] = json!("send");
                operation["x-delivery"] = json!("best effort");
            }
        }
        self.channels.insert(name, channel);
        self.operations.insert(format!("{owner}-{word}-v{major}"), operation);
        Ok(())
    }

    fn message(&mut self, entry: &Entry, name: &str) -> Result<Value> {
        let mut schema = (entry.schema)().to_value();
        let (text, short) = (description(&schema), summary(&schema));
        let definitions = schema["$defs"].take();
        for (part, definition) in definitions.as_object().into_iter().flatten() {
            let definition = lifted(definition);
            if self.schemas.get(part).is_some_and(|other| *other != definition) {
                bail!("{name}: another kind has a different type called `{part}`; rename one");
            }
            self.schemas.insert(part.clone(), definition);
        }
        let mut payload = lifted(&schema);
        if let Value::Object(payload) = &mut payload {
            payload.remove("$schema");
            payload.remove("$defs");
            if entry.deprecation.is_some() {
                payload.insert("deprecated".into(), json!(true));
            }
        }
        let examples = (entry.samples)().into_iter().enumerate();
        let examples: Vec<Value> = examples
            .map(|(number, sample)| json!({"name": format!("sample {}", number + 1), "payload": sample}))
            .collect();
        let mut message = json!({
            "name": format!("synapse.{name}"),
            "title": name,
            "summary": short,
            "description": text,
            "contentType": "application/json",
            "headers": {"$ref": "#/components/schemas/Headers"},
            "payload": payload,
            "examples": examples,
        });
        if let Some(ending) = entry.deprecation {
            message["x-deprecation"] =
                json!({"since": ending.since, "sunset": ending.sunset, "successor": ending.successor});
        }
        Ok(message)
    }
}

// `$ref`s point at the document's components instead of a schema's own `$defs`.
fn lifted(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match value.as_str().and_then(|text| text.strip_prefix("#/$defs/")) {
                Some(part) if key == "$ref" => (key.clone(), json!(format!("#/components/schemas/{part}"))),
                _ => (key.clone(), lifted(value)),
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(list) => list.iter().map(lifted).collect(),
        plain => plain.clone(),
    }
}

// CloudEvents 1.0, NATS protocol binding, binary mode: each attribute is a header, percent-encoded (§3.1.3.2).
fn headers() -> Value {
    let text = |meaning: &str| json!({"type": "string", "description": meaning});
    json!({
        "type": "object",
        "description": "CloudEvents 1.0 attributes, binary mode. Structured mode is read as well.",
        "required": ["ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "ce-tenant", "ce-partitionkey"],
        "properties": {
            "ce-specversion": {"type": "string", "const": "1.0"},
            "ce-id": text("The message's id; for an event also its idempotency key."),
            "ce-source": text("Who sent it: `/synapse/<service>`."),
            "ce-type": text("`synapse.` and the kind."),
            "ce-time": {"type": "string", "format": "date-time", "description": "When it happened."},
            "ce-tenant": text("Whose it is."),
            "ce-datacontenttype": text("`application/json`."),
            "ce-partitionkey": text("Tenant and aggregate: events of one key keep their order."),
            "ce-sequence": text("The aggregate's version; older ones are dropped."),
            "ce-correlationid": text("Ties together everything that one call caused."),
            "ce-causationid": text("The message that caused this one."),
            "ce-expirytime": {"type": "string", "format": "date-time", "description": "Too late after this."},
            "ce-dataref": text("Where a payload too large for the broker lies."),
            "ce-datasha256": text("Hash of that payload."),
            "ce-traceparent": text("W3C trace context."),
            "ce-tracestate": text("W3C trace context."),
            "Nats-Msg-Id": text("Events only: `<source>:<id>`, JetStream's duplicate check."),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_channel_message_and_operation_and_every_ref_leads_somewhere() {
        let entries = contracts::catalogue();
        let document = document(&entries).unwrap();
        for entry in &entries {
            let name = name(entry);
            assert!(
                document["channels"].get(&name).is_some() && document["components"]["messages"].get(&name).is_some()
            );
        }
        let replies = entries.iter().filter(|entry| entry.class == Class::Reply).count();
        assert_eq!(document["operations"].as_object().unwrap().len(), entries.len() - replies);
        refs(&document, &document);
    }

    fn refs(root: &Value, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(path) = fields.get("$ref").and_then(Value::as_str) {
                    assert!(root.pointer(path.strip_prefix('#').unwrap()).is_some(), "{path} leads nowhere");
                }
                fields.values().for_each(|value| refs(root, value));
            }
            Value::Array(list) => list.iter().for_each(|value| refs(root, value)),
            _ => {}
        }
    }
}
