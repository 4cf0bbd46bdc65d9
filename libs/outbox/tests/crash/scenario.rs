//! The parent: kills children, then counts.

use std::os::unix::process::ExitStatusExt;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clock::{Clock, Entropy};
use outbox::Step;
use testkit::servers::{Nats, NatsVersion};
use testkit::{Process, eventually_blocking};

use crate::ledger;

/// SIGABRT: what a child that reached its step dies of.
const ABORT: i32 = 6;
/// One life of a child, and the last one that drains.
const LIFE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BusKind {
    Embedded,
    Nats(NatsVersion),
}

pub(crate) const BUSES: [BusKind; 3] =
    [BusKind::Embedded, BusKind::Nats(NatsVersion::V2_9_10), BusKind::Nats(NatsVersion::V2_15_1)];

/// Where a child dies: its name, the step, and how often the step is passed before, at most.
const PLACES: [(&str, Option<Step>, u64); 7] = [
    ("before_commit", Some(Step::BeforeCommit), 60),
    ("after_commit", Some(Step::AfterCommit), 60),
    ("mid_publish", Some(Step::MidPublish), 6),
    ("after_publish_before_delete", Some(Step::AfterPublishBeforeDelete), 6),
    ("after_effect_before_ack", Some(Step::AfterEffectBeforeAck), 30),
    ("during_redelivery", Some(Step::DuringRedelivery), 8),
    // SIGKILL from outside, at any moment.
    ("anywhere", None, 0),
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) bus: BusKind,
    place: (&'static str, Option<Step>, u64),
}

#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) kills: usize,
    pub(crate) effects: u64,
}

impl Scenario {
    pub(crate) fn all() -> Vec<Self> {
        BUSES.iter().flat_map(|bus| PLACES.iter().map(|place| Self { bus: *bus, place: *place })).collect()
    }

    pub(crate) fn name(&self) -> String {
        let bus = match self.bus {
            BusKind::Embedded => "embedded".to_owned(),
            BusKind::Nats(version) => format!("nats_{}", version.number()),
        };
        format!("{bus}::{}", self.place.0)
    }
}

pub(crate) fn run_all(bus: BusKind, scenarios: &[Scenario], kills: usize) -> Vec<Result<Done, ()>> {
    if scenarios.is_empty() {
        return Vec::new();
    }
    let run = |scenario: &Scenario| {
        // A server each: a scenario must not read another's events.
        let outcome = catch_unwind(|| match bus {
            BusKind::Embedded => scenario.run("embedded", kills),
            BusKind::Nats(version) => scenario.run(&Nats::start(version).url(), kills),
        });
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("test {} ... {word}", scenario.name());
        outcome.map_err(|_| ())
    };
    scenarios.iter().map(run).collect()
}

impl Scenario {
    fn run(&self, url: &str, kills: usize) -> Done {
        let folder = tempfile::tempdir().unwrap();
        let entropy = Entropy::system();
        for _ in 0..kills {
            let mut child = self.child(folder.path(), url, "work", entropy.up_to(self.place.2.saturating_sub(1)) + 1);
            if self.place.1.is_none() {
                self.kill_somewhere(&mut child, &entropy);
                continue;
            }
            let status = child.wait(LIFE);
            assert_eq!(status.signal(), Some(ABORT), "{} ended as {status}:\n{}", self.name(), child.output());
        }
        let mut last = self.child(folder.path(), url, "drain", 0);
        let status = last.wait(LIFE);
        assert!(status.success(), "{}: the last life ended as {status}:\n{}", self.name(), last.output());
        let effects = ledger::audit(folder.path());
        Done { kills, effects }
    }

    fn kill_somewhere(&self, child: &mut Process, entropy: &Entropy) {
        eventually_blocking(LIFE, "the child's start", || child.output().contains("working").then_some(()));
        let (clock, wait) = (Clock::system(), Duration::from_millis(entropy.up_to(400)));
        eventually_blocking(LIFE, "the moment to kill", || (clock.monotonic() >= wait).then_some(()));
        assert_eq!(child.exited(), None, "{}: the child ended by itself:\n{}", self.name(), child.output());
        child.kill();
    }

    fn child(&self, folder: &Path, url: &str, what: &str, pass: u64) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let step = self.place.1.map_or("none".to_owned(), |step| format!("{step:?}"));
        command.args(["child", what, url, &step, &pass.to_string()]).arg(folder);
        Process::spawn(&command, &folder.join("log"))
    }
}
