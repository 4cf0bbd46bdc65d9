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
use crate::options::{Dunning, Limits, Options};
use crate::schedule::Schedule;
use crate::time;
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
    pub(crate) dunning: Dunning,
    /// Test clocks on their way; they arrive once the current request is answered.
    pub(crate) advancing: Vec<(String, i64)>,
    /// How far the emulator's own time was moved ahead of its clock, in seconds.
    pub(crate) ahead_s: i64,
    pub(crate) cause: Cause,
    clock: Clock,
    /// The connected account at work; empty for the platform's own.
    account: String,
    accounts: BTreeMap<String, Vec<Table>>,
    sequence: u64,
    schedule: Schedule,
    /// The time of the test clock or the due moment at work, in Unix seconds.
    at_s: Option<i64>,
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
            dunning: options.dunning.clone(),
            advancing: Vec::new(),
            ahead_s: 0,
            cause: Cause::default(),
            clock: options.clock.clone(),
            account: String::new(),
            accounts: BTreeMap::from([(String::new(), tables())]),
            sequence: 0,
            schedule: Schedule::default(),
            at_s: None,
        }
    }

    /// Says on whose behalf the next changes happen: on the platform's account, at the emulator's own time.
    pub(crate) fn begin(&mut self, cause: Cause) {
        self.cause = cause;
        self.account.clear();
        self.at_s = None;
    }

    /// Works on a connected account from now on; a new one comes into being.
    ///
    /// # Errors
    /// 403 when it is no account id, 400 when there are too many accounts.
    pub(crate) fn enter(&mut self, account: &str) -> Result<(), ApiError> {
        let id = account.strip_prefix("acct_").unwrap_or_default();
        if id.is_empty() || id.len() > 40 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ApiError::no_such_account(account));
        }
        if !self.accounts.contains_key(account) {
            if self.accounts.len() > self.limits.accounts {
                return Err(ApiError::emulator_full("account", self.limits.accounts));
            }
            self.accounts.insert(account.to_owned(), tables());
            self.account = account.to_owned();
            crate::resources::portal::seed(self)?;
        }
        self.account = account.to_owned();
        Ok(())
    }

    /// Works on the account that has the object with that id.
    pub(crate) fn enter_owner(&mut self, id: &str) {
        let has = |tables: &Vec<Table>| tables.iter().any(|table| table.sequence_of.contains_key(id));
        if let Some((account, _)) = self.accounts.iter().find(|(_, tables)| has(tables)) {
            self.account = account.clone();
        }
    }

    /// The accounts there are, the platform's own (empty) first.
    pub(crate) fn accounts(&self) -> Vec<String> {
        self.accounts.keys().cloned().collect()
    }

    /// Works on a known account from now on.
    pub(crate) fn switch(&mut self, account: &str) {
        debug_assert!(self.accounts.contains_key(account), "accounts are only ever added");
        self.account = account.to_owned();
    }

    /// The connected account at work.
    pub(crate) fn account(&self) -> Option<&str> {
        (!self.account.is_empty()).then_some(self.account.as_str())
    }

    /// Lets it be `at_s`, until the next request begins; `None` is the emulator's own time.
    pub(crate) fn be_at(&mut self, at_s: Option<i64>) {
        self.at_s = at_s;
    }

    /// The test clock an object lives on: its own, its customer's, or itself.
    pub(crate) fn test_clock_of(&self, id: &str) -> Option<String> {
        let object = self.find_any(id)?;
        if object["object"] == "test_helpers.test_clock" {
            return Some(id.to_owned());
        }
        let own = time::clock_of(object).map(str::to_owned);
        own.or_else(|| {
            let customer = self.find(Kind::Customer, object["customer"].as_str()?)?;
            customer["test_clock"].as_str().map(str::to_owned)
        })
    }

    /// Unix time in seconds, as objects carry it.
    pub(crate) fn now_s(&self) -> i64 {
        self.at_s.unwrap_or_else(|| self.own_now_s())
    }

    /// The emulator's own time, whatever test clock is at work.
    pub(crate) fn own_now_s(&self) -> i64 {
        i64::try_from(self.clock.now_ms() / 1_000).unwrap_or(i64::MAX).saturating_add(self.ahead_s)
    }

    /// A new id of that kind.
    pub(crate) fn id(&self, kind: Kind) -> String {
        ids::object(&self.entropy, kind.prefix())
    }

    /// Refuses when `more` objects of that kind would not fit.
    pub(crate) fn room(&self, kind: Kind, more: usize) -> Result<(), ApiError> {
        let limit = match kind {
            Kind::Event => return Ok(()),
            Kind::WebhookEndpoint | Kind::EventDestination => self.limits.webhook_endpoints,
            _ => self.limits.objects,
        };
        if self.table(kind).objects.len() + more > limit {
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
        let table = self.table_mut(kind);
        if table.sequence_of.contains_key(&id) {
            let message = format!("{} already exists.", kind.noun());
            return Err(ApiError::refused(Some("resource_already_exists"), message).at("id"));
        }
        table.sequence_of.insert(id, sequence);
        table.objects.insert(sequence, object.clone());
        self.note_due(kind, sequence, &object);
        Ok(())
    }

    /// The object with that id.
    pub(crate) fn find(&self, kind: Kind, id: &str) -> Option<&Value> {
        let table = self.table(kind);
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
        let table = self.table_mut(kind);
        let found = table.sequence_of.get(id).copied();
        let object = found.and_then(|number| Some((number, table.objects.get_mut(&number)?)));
        let (number, object) = object.ok_or_else(|| ApiError::missing(kind.noun(), id))?;
        let before = object.clone();
        change(object);
        let after = object.clone();
        self.note_due(kind, number, &after);
        Ok((before, after))
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
        let table = self.table_mut(kind);
        if let Some(sequence) = table.sequence_of.remove(id) {
            table.objects.remove(&sequence);
            self.schedule.forget(sequence);
        }
    }

    /// The objects of a kind, newest first.
    pub(crate) fn newest_first(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &Value> {
        self.table(kind).objects.values().rev()
    }

    /// The platform's own objects of a kind, oldest first, whatever account is at work.
    pub(crate) fn platform(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.accounts.get("").into_iter().flat_map(move |tables| tables[kind as usize].objects.values())
    }

    /// Keeps an object of a kind of which the oldest go when there are too many.
    pub(crate) fn keep_newest(&mut self, kind: Kind, object: Value, limit: usize) {
        self.sequence += 1;
        let sequence = self.sequence;
        let table = self.table_mut(kind);
        table.sequence_of.insert(object["id"].as_str().unwrap_or_default().to_owned(), sequence);
        table.objects.insert(sequence, object);
        while table.objects.len() > limit {
            let Some((_, oldest)) = table.objects.pop_first() else { break };
            table.sequence_of.remove(oldest["id"].as_str().unwrap_or_default());
        }
    }

    fn note_due(&mut self, kind: Kind, number: u64, object: &Value) {
        let due = time::due_s(kind, object);
        let due = due.map(|due_s| (self.account.as_str(), time::clock_of(object), due_s));
        self.schedule.set(number, due, kind, object["id"].as_str().unwrap_or_default());
    }

    /// What is due first on the account at work, on a test clock or (`None`) on the emulator's own time.
    pub(crate) fn earliest(&self, clock: Option<&str>) -> Option<(i64, Kind, String)> {
        self.schedule.earliest(&self.account, clock)
    }

    fn table(&self, kind: Kind) -> &Table {
        &self.accounts[&self.account][kind as usize]
    }

    fn table_mut(&mut self, kind: Kind) -> &mut Table {
        let tables = self.accounts.entry(self.account.clone()).or_insert_with(tables);
        &mut tables[kind as usize]
    }
}

fn tables() -> Vec<Table> {
    Kind::all().map(|_| Table::default()).collect()
}

/// The top-level fields that changed, as they were before.
pub(crate) fn previous_attributes(before: &Value, after: &Value) -> Map<String, Value> {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return Map::new() };
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value) && !name.starts_with('_'));
    changed.map(|(name, _)| (name.clone(), before.get(name).cloned().unwrap_or(Value::Null))).collect()
}
