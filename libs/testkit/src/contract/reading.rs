//! What a service reads, found out from its real parsers.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::Bus;
use bytes::Bytes;
use clock::Clock;
use contracts::Class;
use contracts::reads::{Reads, Recording, message_name};
use serde_json::Value;

use super::goldens::{golden_samples, owned};
use super::{SOON, envelope, trail};
use crate::eventually;

/// How long a service may take to ask before it is made to ask once more.
const ACT_AGAIN: Duration = Duration::from_secs(2);

/// Records what a service reads while every sample of everything it reads goes through it.
pub struct ReadingSuite {
    service: &'static str,
    recording: Recording,
}

impl ReadingSuite {
    /// Begins. What a service reads: the events it subscribes to, the requests it owns, and what is listed here: the
    /// signals it listens to and the requests it asks others.
    pub fn start(service: &'static str, subscriptions: &[&str], signals: &[&str], asked: &[&str]) -> Self {
        let of = |class: Class, kinds: &[&str]| -> Vec<(String, Value)> {
            kinds
                .iter()
                .flat_map(|kind| {
                    golden_samples(class, kind).into_iter().map(move |sample| (message_name(class, kind), sample))
                })
                .collect()
        };
        let mut samples = of(Class::Event, subscriptions);
        samples.extend(of(Class::Request, &owned(Class::Request, service)));
        samples.extend(of(Class::Signal, signals));
        samples.extend(of(Class::Reply, asked));
        Self { service, recording: Recording::start(service, samples) }
    }

    /// Asks the service every sample of every request it owns. How it answers does not matter here.
    pub async fn ask_all(&self, bus: &Bus, clock: &Clock) {
        for kind in owned(Class::Request, self.service) {
            for sample in golden_samples(Class::Request, kind) {
                let asked = envelope(clock, "gateway", kind, &trail(2), sample.to_string());
                let answered = bus.request(asked, SOON).await;
                answered.unwrap_or_else(|error| panic!("{kind} {sample}: {error}"));
            }
        }
    }

    /// Sends every sample of a signal to an address.
    ///
    /// # Panics
    /// When it can't be handed over.
    pub async fn signal_all(&self, bus: &Bus, clock: &Clock, kind: &str, address: &str) {
        for sample in golden_samples(Class::Signal, kind) {
            let signal = envelope(clock, "double", kind, &trail(3), sample.to_string());
            bus.signal(address, signal).await.expect("signals are taken");
        }
    }

    async fn parsed(&self, name: &str, sample: &Value) {
        let this = format!("{name} {sample}");
        eventually(SOON, &this, async || if self.recording.waiting().contains(&this) { None } else { Some(()) }).await;
    }

    /// Waits until the service has parsed every sample, and compares what it read of them with its committed file. Writes
    /// what was found to `<folder>/reads/<service>.json`, where `cargo xtask bless` takes it from.
    ///
    /// # Panics
    /// When a sample is refused, never arrives, or what is read differs from the committed file.
    pub async fn finish(self, manifest_folder: &str, folder: &str) {
        eventually(SOON, "every sample to be parsed by the service", async || {
            let waiting = self.recording.waiting();
            if waiting.is_empty() { Ok(()) } else { Err(format!("not parsed: {}", waiting.join("\n  "))) }
        })
        .await;
        let refused = self.recording.refused();
        assert!(refused.is_empty(), "{} refuses what was committed once:\n  {}", self.service, refused.join("\n  "));
        let found = self.recording.reads();
        let written = Path::new(folder).join("reads").join(format!("{}.json", self.service));
        std::fs::create_dir_all(written.parent().expect("it lies in a folder")).expect("the target folder is writable");
        std::fs::write(&written, found.to_text()).expect("the target folder is writable");
        let path = Path::new(manifest_folder).join("contract/reads.json");
        same_as_committed(&found, &path);
    }
}

fn same_as_committed(found: &Reads, path: &Path) {
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differences = match Reads::from_text(&committed) {
        Ok(committed) => differences(&committed, found),
        Err(error) => vec![format!("it can't be read: {error}")],
    };
    assert!(
        differences.is_empty() && committed == found.to_text(),
        "{} is not what {} reads; run `cargo xtask bless` and look at the diff:\n  {}",
        path.display(),
        found.service,
        differences.join("\n  ")
    );
}

fn differences(old: &Reads, new: &Reads) -> Vec<String> {
    let flat = |reads: &Reads| -> BTreeSet<(String, String)> {
        let paths = reads.reads.iter().flat_map(|(name, fields)| {
            fields.iter().map(move |(path, field)| (format!("{name} {path}"), format!("{field:?}")))
        });
        paths.collect()
    };
    let (old, new) = (flat(old), flat(new));
    let gone = old.difference(&new).map(|(place, field)| format!("no longer {place}: {field}"));
    gone.chain(new.difference(&old).map(|(place, field)| format!("now {place}: {field}"))).collect()
}

/// Owners of requests that answer whatever a suite says, byte for byte; else the contract's first sample.
#[derive(Clone, Debug)]
pub struct Answers(Arc<Mutex<HashMap<String, Bytes>>>);

impl Answers {
    /// Serves these kinds.
    ///
    /// # Panics
    /// When the bus does not let it.
    pub async fn serve(bus: &Bus, kinds: &[&str]) -> Self {
        let answers: HashMap<String, Bytes> = kinds
            .iter()
            .map(|kind| ((*kind).to_owned(), Bytes::from(golden_samples(Class::Reply, kind).remove(0).to_string())))
            .collect();
        let answers = Arc::new(Mutex::new(answers));
        for kind in kinds {
            let mut requests = bus.requests("double", &[*kind], 64).await.expect("anybody may serve");
            let (answers, kind) = (Arc::clone(&answers), (*kind).to_owned());
            tokio::spawn(async move {
                while let Some(request) = requests.next().await {
                    let answer = answers.lock().expect("nobody panics with the lock").get(&kind).cloned();
                    request.respond(answer.unwrap_or_default());
                }
            });
        }
        Self(answers)
    }

    /// From now on `kind` is answered so.
    pub fn set(&self, kind: &str, answer: &Value) {
        self.0.lock().expect("nobody panics with the lock").insert(kind.to_owned(), answer.to_string().into());
    }

    /// Lets `kind` be answered with each of its samples in turn; `act` makes the service of `suite` ask, again when
    /// nothing came of it: a clock that was moved just before the service began to wait does not wake it.
    pub async fn each(&self, suite: &ReadingSuite, kind: &str, mut act: impl AsyncFnMut(&Value)) {
        for sample in golden_samples(Class::Reply, kind) {
            self.set(kind, &sample);
            let name = message_name(Class::Reply, kind);
            let mut parsed = std::pin::pin!(suite.parsed(&name, &sample));
            act(&sample).await;
            while tokio::time::timeout(ACT_AGAIN, &mut parsed).await.is_err() {
                act(&sample).await;
            }
        }
        self.set(kind, &golden_samples(Class::Reply, kind)[0]);
    }
}
