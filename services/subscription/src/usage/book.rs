//! What one subscription used, and which quotas it has used up. Pure.

use std::collections::{BTreeMap, BTreeSet};

use contracts::SubscriptionId;
use contracts::events::subscription::{QuotaExceededV1, QuotaRestoredV1, RestoredBecause, SubscriptionEvent};
use contracts::events::usage::Usage;
use serde::{Deserialize, Serialize};

use super::{Limits, Window};

/// Most meters of a subscription; with the windows kept an item stays below 30 KB.
const MAX_METERS: usize = 16;
/// Longest name of a meter, characters.
const MAX_NAME: usize = 50;

/// What a subscription used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    meters: BTreeMap<String, Meter>,
    /// Quotas told as exceeded: by limit, the begin of the window.
    exceeded: BTreeMap<String, u64>,
    /// Counts its facts.
    sequence: u64,
}

/// Oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Meter {
    minute: Vec<Count>,
    day: Vec<Count>,
    month: Vec<Count>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    from_ms: u64,
    used: u64,
}

/// What is wrong with a report of usage.
pub(crate) fn check(usage: &Usage) -> Result<(), String> {
    let is_name = |name: &String| {
        (1..=MAX_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if !(1..=MAX_METERS).contains(&usage.amounts.len()) {
        return Err(format!("amounts: {} meters; report 1 to {MAX_METERS}", usage.amounts.len()));
    }
    if let Some(odd) = usage.amounts.keys().find(|name| !is_name(name)) {
        return Err(format!("amounts: {odd:?} is no meter's name; use 1 to {MAX_NAME} of a-z, 0-9, '_'"));
    }
    if usage.to_ms < usage.from_ms {
        return Err("to_ms: it is before from_ms; report spans that end after they begin".to_owned());
    }
    Ok(())
}

impl Book {
    /// Adds a report. What is dated later than `now_ms` counts as of now; what is older than the windows kept counts
    /// in the longer ones only.
    pub(crate) fn count(&mut self, usage: &Usage, now_ms: u64) {
        // A span ends where the next begins, so its last moment is the one before.
        let at_ms = usage.to_ms.saturating_sub(1).max(usage.from_ms).min(now_ms);
        for (name, amount) in &usage.amounts {
            if self.meters.len() >= MAX_METERS && !self.meters.contains_key(name) {
                tracing::warn!(subscription = %usage.subscription_id, meter = name, "too many meters; not counted");
                continue;
            }
            let meter = self.meters.entry(name.clone()).or_default();
            for window in Window::ALL {
                meter.add(window, at_ms, *amount);
            }
        }
    }

    /// Compares with what is allowed now. The numbered facts say which quotas were used up or may be used again.
    pub(crate) fn judge(&mut self, id: &SubscriptionId, limits: &Limits, now_ms: u64) -> Vec<(u64, SubscriptionEvent)> {
        let mut facts: Vec<SubscriptionEvent> = Vec::new();
        let mut used_up = BTreeSet::new();
        for (limit, allowed) in limits {
            let Some((meter, window)) = Window::of_limit(limit) else { continue };
            let (span, used) = (window.around(now_ms), self.used(meter, window, now_ms));
            if used == 0 || used < *allowed {
                continue;
            }
            used_up.insert(limit.clone());
            if self.exceeded.insert(limit.clone(), span.start) != Some(span.start) {
                let fact = QuotaExceededV1 {
                    subscription_id: id.clone(),
                    limit: limit.clone(),
                    allowed: *allowed,
                    used,
                    window_from_ms: span.start,
                    resets_at_ms: span.end,
                };
                facts.push(fact.into());
            }
        }
        self.exceeded.retain(|limit, from_ms| {
            let holds = used_up.contains(limit);
            if !holds {
                let now_in = Window::of_limit(limit).map(|(_, window)| window.around(now_ms).start);
                let ended = now_in.is_some_and(|start| start > *from_ms);
                let reason = if ended { RestoredBecause::WindowEnded } else { RestoredBecause::PlanGrew };
                facts.push(QuotaRestoredV1 { subscription_id: id.clone(), limit: limit.clone(), reason }.into());
            }
            holds
        });
        let number = |fact| {
            self.sequence += 1;
            (self.sequence, fact)
        };
        facts.into_iter().map(number).collect()
    }

    /// Whether a quota was told as exceeded.
    pub(crate) fn is_exceeded(&self) -> bool {
        !self.exceeded.is_empty()
    }

    /// Every meter in every window of now: those that were used, and those that `limits` names.
    pub(crate) fn windows(&self, limits: &Limits, now_ms: u64) -> impl Iterator<Item = (String, Window, u64)> {
        let used = self.meters.keys().flat_map(|meter| Window::ALL.map(|window| (meter.clone(), window)));
        let limited = limits.keys().filter_map(|limit| Window::of_limit(limit));
        let mut all: Vec<_> = used.chain(limited.map(|(meter, window)| (meter.to_owned(), window))).collect();
        all.sort_by_key(|(meter, window)| (meter.clone(), *window as u8));
        all.dedup();
        all.into_iter().map(move |(meter, window)| {
            let used = self.used(&meter, window, now_ms);
            (meter, window, used)
        })
    }

    fn used(&self, meter: &str, window: Window, now_ms: u64) -> u64 {
        let start = window.around(now_ms).start;
        let counts = self.meters.get(meter).map(|meter| meter.of(window)).unwrap_or_default();
        counts.iter().find(|count| count.from_ms == start).map_or(0, |count| count.used)
    }
}

impl Meter {
    fn of(&self, window: Window) -> &[Count] {
        match window {
            Window::Minute => &self.minute,
            Window::Day => &self.day,
            Window::Month => &self.month,
        }
    }

    fn add(&mut self, window: Window, at_ms: u64, amount: u64) {
        let counts = match window {
            Window::Minute => &mut self.minute,
            Window::Day => &mut self.day,
            Window::Month => &mut self.month,
        };
        let from_ms = window.around(at_ms).start;
        match counts.binary_search_by_key(&from_ms, |count| count.from_ms) {
            Ok(at) => counts[at].used = counts[at].used.saturating_add(amount),
            Err(at) => counts.insert(at, Count { from_ms, used: amount }),
        }
        let surplus = counts.len().saturating_sub(window.kept() + 1);
        counts.drain(..surplus);
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
