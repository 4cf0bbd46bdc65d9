//! Events: recorded, and queued for every endpoint that wants them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::kind::Kind;
use crate::render;
use crate::resources::{entitlements, thin_events};
use crate::version::ApiVersion;
use crate::world::World;

impl World {
    /// Records an event with the object as it is now, and queues it for every endpoint that wants it.
    pub(crate) fn emit(&mut self, event_type: &str, object: &Value, previous: Option<Map<String, Value>>) {
        let mut object = object.clone();
        render::strip(&mut object);
        let mut data = json!({ "object": object });
        if let Some(mut previous) = previous.map(Value::Object) {
            render::strip(&mut previous);
            data["previous_attributes"] = previous;
        }
        let event = json!({ "data": data, "type": event_type });
        self.announce(event);
        if event_type.starts_with("customer.subscription.") {
            entitlements::refresh(self, &object);
        }
    }

    /// Announces an event whose `type` and `data` are set; members set besides (`livemode`, `api_version`, `account`,
    /// `created`, `id`) stay as they are. Returns it as it is kept.
    pub(crate) fn announce(&mut self, event: Value) -> Value {
        let mut whole = json!({
            "id": self.id(Kind::Event),
            "object": "event",
            "api_version": self.version.as_str(),
            "created": self.now_s(),
            "livemode": false,
            "request": { "id": self.cause.request_id, "idempotency_key": self.cause.idempotency_key },
        });
        if let Some(account) = self.account() {
            whole["account"] = json!(account);
        }
        if let (Some(whole), Value::Object(given)) = (whole.as_object_mut(), event) {
            whole.extend(given);
        }
        let event_type = whole["type"].as_str().unwrap_or_default().to_owned();
        let targets = self.targets(&event_type);
        whole["pending_webhooks"] = json!(targets.len());
        for (endpoint, version) in targets {
            self.deliver(&whole, &endpoint, version.as_ref());
        }
        thin_events::announce(self, &whole);
        self.keep_newest(Kind::Event, whole.clone(), self.limits.events);
        whole
    }

    /// Signs and sends any JSON to every endpoint, without keeping it: for what only a receiver's tests need.
    pub(crate) fn send_raw(&self, event: &Value) -> usize {
        let ids: Vec<&str> =
            self.platform(Kind::WebhookEndpoint).filter_map(|endpoint| endpoint["id"].as_str()).collect();
        for id in &ids {
            self.deliver_as_is(event, id);
        }
        ids.len()
    }

    /// Queues a recorded event again for every endpoint that wants it.
    ///
    /// # Errors
    /// 404 `resource_missing`.
    pub(crate) fn resend(&self, id: &str) -> Result<usize, ApiError> {
        let event = self.get(Kind::Event, id)?;
        let targets = self.targets(event["type"].as_str().unwrap_or_default());
        for (endpoint, version) in &targets {
            self.deliver(event, endpoint, version.as_ref());
        }
        Ok(targets.len())
    }

    /// An account's own endpoints, and for a connected account the platform's that listen to those.
    fn targets(&self, event_type: &str) -> Vec<(String, Option<ApiVersion>)> {
        let wanted = |endpoint: &&Value| {
            let types = endpoint["enabled_events"].as_array();
            endpoint["status"] == "enabled"
                && types.is_some_and(|types| types.iter().filter_map(Value::as_str).any(|of| matches(of, event_type)))
        };
        let target = |endpoint: &Value| {
            let id = endpoint["id"].as_str().unwrap_or_default().to_owned();
            (id, endpoint["api_version"].as_str().and_then(ApiVersion::parse))
        };
        let connected = self.account().is_some();
        let platform = self.platform(Kind::WebhookEndpoint).filter(|endpoint| endpoint["_connect"] == json!(connected));
        let own = self.newest_first(Kind::WebhookEndpoint).rev().filter(|_| connected);
        let endpoints = platform.chain(own).filter(wanted).map(target);
        let snapshots = self.platform(Kind::EventDestination).filter(|destination| {
            destination["event_payload"] == "snapshot" && destination["_connect"] == json!(connected)
        });
        let snapshot = |destination: &Value| {
            let version = destination["snapshot_api_version"].as_str().and_then(ApiVersion::parse);
            (destination["id"].as_str().unwrap_or_default().to_owned(), version)
        };
        endpoints.chain(snapshots.filter(wanted).map(snapshot)).collect()
    }

    fn deliver(&self, event: &Value, endpoint: &str, version: Option<&ApiVersion>) {
        let mut event = event.clone();
        // An endpoint without a version of its own follows the account, except where an event was made up otherwise.
        let own = event["api_version"].as_str().and_then(ApiVersion::parse);
        let version = version.cloned().or(own).unwrap_or_else(|| self.version.clone());
        event["api_version"] = json!(version.as_str());
        version.shape(&mut event);
        self.deliver_as_is(&event, endpoint);
    }

    /// Queues an event in the form it has.
    pub(crate) fn deliver_as_is(&self, event: &Value, endpoint: &str) {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        // Stripe indents the bodies it signs; a receiver that re-encodes JSON before it verifies fails here too.
        let body = format!("{event:#}");
        self.deliveries.offer(endpoint, &text("id"), &text("type"), Arc::from(body.into_bytes()));
    }
}

/// Whether an event type is meant by `*`, a group such as `invoice.*`, or its own name.
pub(crate) fn matches(pattern: &str, event_type: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(group) => event_type.starts_with(group),
        None => pattern == event_type,
    }
}
