use std::collections::BTreeMap;

use serde::Serialize;

/// What a request came to, for the counts per key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Executed,
    Replayed,
    Conflict,
}

/// Counts of requests, for assertions in tests.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Journal {
    total: u64,
    /// `POST /v1/subscriptions` → how many.
    by_path: BTreeMap<String, u64>,
    by_key: BTreeMap<String, KeyCounts>,
    /// Requests whose path or key came after the limit.
    other: u64,
}

#[derive(Debug, Default, Serialize)]
struct KeyCounts {
    requests: u64,
    /// How often the endpoint ran with this key.
    executed: u64,
    replayed: u64,
    /// 409 (in use) and 400 (other parameters).
    conflicts: u64,
}

impl Journal {
    /// Counts a request as it comes in.
    pub(crate) fn arrived(&mut self, method: &str, path: &str, key: Option<&str>, limit: usize) {
        self.total += 1;
        let line = format!("{method} {path}");
        if self.by_path.len() < limit || self.by_path.contains_key(&line) {
            *self.by_path.entry(line).or_default() += 1;
        } else {
            self.other += 1;
        }
        if let Some(key) = key {
            if self.by_key.len() < limit || self.by_key.contains_key(key) {
                self.by_key.entry(key.to_owned()).or_default().requests += 1;
            } else {
                self.other += 1;
            }
        }
    }

    /// Counts what became of a request with a key.
    pub(crate) fn ended(&mut self, key: &str, outcome: Outcome) {
        if let Some(counts) = self.by_key.get_mut(key) {
            match outcome {
                Outcome::Executed => counts.executed += 1,
                Outcome::Replayed => counts.replayed += 1,
                Outcome::Conflict => counts.conflicts += 1,
            }
        }
    }
}
