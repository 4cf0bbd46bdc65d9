//! What was found: each contract with its checks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// What sort of promise it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// A durable fact.
    Event,
    /// A question to one owner.
    Request,
    /// Its answer.
    Reply,
    /// Ephemeral and addressed.
    Signal,
    /// A route of the public HTTP API.
    Http,
    /// A frame of the public WebSocket.
    Frame,
}

impl Sort {
    /// Its name in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Request => "request",
            Self::Reply => "reply",
            Self::Signal => "signal",
            Self::Http => "http",
            Self::Frame => "frame",
        }
    }
}

impl From<contracts::Class> for Sort {
    fn from(class: contracts::Class) -> Self {
        match class {
            contracts::Class::Event => Self::Event,
            contracts::Class::Request => Self::Request,
            contracts::Class::Reply => Self::Reply,
            contracts::Class::Signal => Self::Signal,
        }
    }
}

/// One contract.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Promise {
    /// What sort of promise.
    pub sort: Sort,
    /// Its kind, route or frame.
    pub name: String,
}

impl Promise {
    /// A promise by its name.
    pub fn new(sort: Sort, name: impl Into<String>) -> Self {
        Self { sort, name: name.into() }
    }

    /// The service that keeps it.
    pub fn owner(&self) -> &str {
        match self.sort {
            Sort::Http | Sort::Frame => "gateway",
            _ => self.name.split('.').next().unwrap_or_default(),
        }
    }
}

/// How a promise was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offence {
    /// What should have happened.
    pub expected: String,
    /// What happened.
    pub got: String,
    /// The message that shows it, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether nobody was asked, because whoever had to answer is known to be silent: then nothing was seen.
    #[serde(skip)]
    pub(crate) is_unasked: bool,
}

impl Offence {
    /// Something else than was expected.
    pub fn new(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { expected: expected.into(), got: got.into(), message: None, is_unasked: false }
    }

    /// Nobody was asked, and why.
    pub(crate) fn unasked(expected: impl Into<String>, why: impl Into<String>) -> Self {
        Self { is_unasked: true, ..Self::new(expected, why) }
    }

    /// With the message that shows it.
    pub fn with(mut self, message: impl ToString) -> Self {
        self.message = Some(short(&message.to_string(), 600));
        self
    }
}

/// What one check, or all of a contract's together, came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// As promised.
    Held,
    /// Not as promised.
    Broken(Offence),
    /// It could not be seen.
    NotTestable {
        /// Why.
        why: String,
    },
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What, in a few words.
    pub name: String,
    /// What it came to.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The checks of a run, by contract.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pages: Mutex<BTreeMap<Promise, Vec<Check>>>,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, BTreeMap<Promise, Vec<Check>>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a page for a contract, so that it is reported even if nothing is found.
    pub(crate) fn open(&self, promise: Promise) {
        self.pages().entry(promise).or_default();
    }

    /// Whether nothing is known of a contract yet.
    pub(crate) fn is_blank(&self, promise: &Promise) -> bool {
        self.pages().get(promise).is_none_or(Vec::is_empty)
    }

    /// Notes a check. The same check of the same contract again: the first offence stands.
    pub(crate) fn note(&self, promise: &Promise, name: &str, verdict: Verdict) {
        let mut pages = self.pages();
        let checks = pages.entry(promise.clone()).or_default();
        match checks.iter_mut().find(|check| check.name == name) {
            None => checks.push(Check { name: name.to_owned(), verdict }),
            Some(known) => {
                let worse = |verdict: &Verdict| match verdict {
                    Verdict::NotTestable { .. } => 0,
                    Verdict::Held => 1,
                    Verdict::Broken(_) => 2,
                };
                if worse(&verdict) > worse(&known.verdict) {
                    known.verdict = verdict;
                }
            }
        }
    }

    /// Notes how a check went and passes its value on.
    pub(crate) fn judge<T>(&self, promise: &Promise, name: &str, outcome: Result<T, Offence>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.note(promise, name, Verdict::Held);
                Some(value)
            }
            Err(offence) => {
                let verdict = match offence.is_unasked {
                    true => Verdict::NotTestable { why: offence.got },
                    false => Verdict::Broken(offence),
                };
                self.note(promise, name, verdict);
                None
            }
        }
    }

    /// Notes that something could not be seen.
    pub(crate) fn untestable(&self, promise: &Promise, name: &str, why: impl Into<String>) {
        self.note(promise, name, Verdict::NotTestable { why: why.into() });
    }

    /// Everything, in order of sort and name.
    pub(crate) fn close(&self) -> Vec<(Promise, Vec<Check>)> {
        std::mem::take(&mut *self.pages()).into_iter().collect()
    }
}

/// A text of at most `most` characters.
pub(crate) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most).collect();
    cut.push('…');
    cut
}
