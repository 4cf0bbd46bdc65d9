//! Everything the emulator knows, behind one lock. Objects are JSON with the fields of every API version; `version`
//! and `render` take away what a caller's version does not have.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use clock::{Clock, Entropy};
use serde_json::{Map, Value, json};

use crate::delivery::Deliveries;
use crate::error::ApiError;
use crate::ids;
use crate::kind::Kind;
use crate::options::{Limits, Options};
use crate::render;
use crate::resources::entitlements;
use crate::version::ApiVersion;

/// The request that makes things happen now; events name it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cause {
    pub(crate) request_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Default)]
struct Table {
    objects: BTreeMap<u64, Value>,
    sequence_of: HashMap<String, u64>,
}

/// The state of one emulated account.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) entropy: Entropy,
    pub(crate) limits: Limits,
    pub(crate) version: ApiVersion,
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) default_card: Option<String>,
    pub(crate) auto_confirm: bool,
    /// Where the hosted pages are, without a trailing slash.
    pub(crate) base_url: String,
    /// Invoices a payer confirms once the current request is answered.
    pub(crate) to_confirm: Vec<String>,
    clock: Clock,
    cause: Cause,
    tables: Vec<Table>,
    sequence: u64,
}

impl World {
    pub(crate) fn new(options: &Options, version: ApiVersion, deliveries: Arc<Deliveries>, base_url: &str) -> Self {
        Self {
            base_url: base_url.to_owned(),
            entropy: options.entropy.clone(),
            limits: options.limits.clone(),
            version,
            deliveries,
            default_card: options.default_card.clone(),
            auto_confirm: options.auto_confirm,
            to_confirm: Vec::new(),
            clock: options.clock.clone(),
            cause: Cause::default(),
            tables: Kind::all().map(|_| Table::default()).collect(),
            sequence: 0,
        }
    }

    /// Says on whose behalf the next changes happen.
    pub(crate) fn begin(&mut self, cause: Cause) {
        self.cause = cause;
    }

    /// Unix time in seconds, as objects carry it.
    pub(crate) fn now_s(&self) -> i64 {
        i64::try_from(self.clock.now_ms() / 1_000).unwrap_or(i64::MAX)
    }

    /// A new id of that kind.
    pub(crate) fn id(&self, kind: Kind) -> String {
        ids::object(&self.entropy, kind.prefix())
    }

    /// Refuses when `more` objects of that kind would not fit.
    pub(crate) fn room(&self, kind: Kind, more: usize) -> Result<(), ApiError> {
        let limit = match kind {
            Kind::Event => return Ok(()),
            Kind::WebhookEndpoint => self.limits.webhook_endpoints,
            _ => self.limits.objects,
        };
        if self.tables[kind as usize].objects.len() + more > limit {
            return Err(ApiError::emulator_full(kind.noun(), limit));
        }
        Ok(())
    }

    /// Keeps a new object. Its `id` is set.
    ///
    /// # Errors
    /// When there are too many of its kind, or one with that id.
    pub(crate) fn insert(&mut self, kind: Kind, object: Value) -> Result<(), ApiError> {
        self.room(kind, 1)?;
        let id = object["id"].as_str().unwrap_or_default().to_owned();
        self.sequence += 1;
        let sequence = self.sequence;
        let table = &mut self.tables[kind as usize];
        if table.sequence_of.contains_key(&id) {
            let message = format!("{} already exists.", kind.noun());
            return Err(ApiError::refused(Some("resource_already_exists"), message).at("id"));
        }
        table.sequence_of.insert(id, sequence);
        table.objects.insert(sequence, object);
        Ok(())
    }

    /// The object with that id.
    pub(crate) fn find(&self, kind: Kind, id: &str) -> Option<&Value> {
        let table = &self.tables[kind as usize];
        table.objects.get(table.sequence_of.get(id)?)
    }

    /// The object with that id, of whatever kind.
    pub(crate) fn find_any(&self, id: &str) -> Option<&Value> {
        Kind::all().find_map(|kind| self.find(kind, id))
    }

    /// The object a path names.
    ///
    /// # Errors
    /// 404 `resource_missing`.
    pub(crate) fn get(&self, kind: Kind, id: &str) -> Result<&Value, ApiError> {
        self.find(kind, id).ok_or_else(|| ApiError::missing(kind.noun(), id))
    }

    /// The live (not deleted) object a parameter names.
    ///
    /// # Errors
    /// 400 `resource_missing` naming the parameter.
    pub(crate) fn referenced(&self, kind: Kind, id: &str, param: &str) -> Result<&Value, ApiError> {
        match self.find(kind, id) {
            Some(object) if object["deleted"] != json!(true) => Ok(object),
            _ => Err(ApiError::missing_reference(kind.noun(), id, param)),
        }
    }

    /// Changes an object; returns how it was and how it is.
    ///
    /// # Errors
    /// 404 `resource_missing`.
    pub(crate) fn modify(
        &mut self,
        kind: Kind,
        id: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<(Value, Value), ApiError> {
        let table = &mut self.tables[kind as usize];
        let object = table.sequence_of.get(id).and_then(|sequence| table.objects.get_mut(sequence));
        let object = object.ok_or_else(|| ApiError::missing(kind.noun(), id))?;
        let before = object.clone();
        change(object);
        Ok((before, object.clone()))
    }

    /// Changes an object and emits `event` with its previous attributes, if anything changed. Returns the object.
    ///
    /// # Errors
    /// 404 `resource_missing`.
    pub(crate) fn change(
        &mut self,
        kind: Kind,
        id: &str,
        event: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Value, ApiError> {
        let (before, after) = self.modify(kind, id, change)?;
        let previous = previous_attributes(&before, &after);
        if !previous.is_empty() {
            self.emit(event, &after, Some(previous));
        }
        Ok(after)
    }

    /// Forgets an object.
    pub(crate) fn remove(&mut self, kind: Kind, id: &str) {
        let table = &mut self.tables[kind as usize];
        if let Some(sequence) = table.sequence_of.remove(id) {
            table.objects.remove(&sequence);
        }
    }

    /// The objects of a kind, newest first.
    pub(crate) fn newest_first(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &Value> {
        self.tables[kind as usize].objects.values().rev()
    }

    /// Records an event with the object as it is now, and queues it for every endpoint that wants it.
    pub(crate) fn emit(&mut self, event_type: &str, object: &Value, previous: Option<Map<String, Value>>) {
        self.record(event_type, object, previous);
        if event_type.starts_with("customer.subscription.") {
            entitlements::refresh(self, object);
        }
    }

    fn record(&mut self, event_type: &str, object: &Value, previous: Option<Map<String, Value>>) {
        let mut object = object.clone();
        render::strip(&mut object);
        let mut data = json!({ "object": object });
        if let Some(previous) = previous {
            data["previous_attributes"] = Value::Object(previous);
        }
        let targets = self.targets(event_type);
        let id = self.id(Kind::Event);
        let event = json!({
            "id": id,
            "object": "event",
            "api_version": self.version.as_str(),
            "created": self.now_s(),
            "data": data,
            "livemode": false,
            "pending_webhooks": targets.len(),
            "request": { "id": self.cause.request_id, "idempotency_key": self.cause.idempotency_key },
            "type": event_type,
        });
        for (endpoint, version) in targets {
            self.deliver(&event, &endpoint, &version);
        }
        let table = &mut self.tables[Kind::Event as usize];
        self.sequence += 1;
        table.sequence_of.insert(id, self.sequence);
        table.objects.insert(self.sequence, event);
        while table.objects.len() > self.limits.events {
            let Some((_, oldest)) = table.objects.pop_first() else { break };
            table.sequence_of.remove(oldest["id"].as_str().unwrap_or_default());
        }
    }

    /// Queues a recorded event again for every endpoint that wants it.
    ///
    /// # Errors
    /// 404 `resource_missing`.
    pub(crate) fn resend(&self, id: &str) -> Result<usize, ApiError> {
        let event = self.get(Kind::Event, id)?;
        let targets = self.targets(event["type"].as_str().unwrap_or_default());
        for (endpoint, version) in &targets {
            self.deliver(event, endpoint, version);
        }
        Ok(targets.len())
    }

    fn targets(&self, event_type: &str) -> Vec<(String, ApiVersion)> {
        let wanted = |endpoint: &&Value| {
            let types = endpoint["enabled_events"].as_array();
            endpoint["status"] == "enabled"
                && types.is_some_and(|types| types.iter().filter_map(Value::as_str).any(|of| matches(of, event_type)))
        };
        let target = |endpoint: &Value| {
            let version = endpoint["api_version"].as_str().and_then(ApiVersion::parse);
            let id = endpoint["id"].as_str().unwrap_or_default().to_owned();
            (id, version.unwrap_or_else(|| self.version.clone()))
        };
        self.newest_first(Kind::WebhookEndpoint).rev().filter(wanted).map(target).collect()
    }

    fn deliver(&self, event: &Value, endpoint: &str, version: &ApiVersion) {
        let mut event = event.clone();
        event["api_version"] = json!(version.as_str());
        version.shape(&mut event);
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

/// The top-level fields that changed, as they were before.
fn previous_attributes(before: &Value, after: &Value) -> Map<String, Value> {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return Map::new() };
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    changed.map(|(name, _)| (name.clone(), before.get(name).cloned().unwrap_or(Value::Null))).collect()
}
