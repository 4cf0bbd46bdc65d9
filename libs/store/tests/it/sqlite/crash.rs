use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clock::{Clock, Entropy};
use store::{Action, Condition, Item, Key, Query, SqliteOptions, Store};
use testkit::Process;

use super::assert_sound;
use crate::conformance::all_pages;

const RUNS: usize = 8;
const WRITERS: usize = 8;
const SOON: Duration = Duration::from_secs(60);

/// A child writes and says what was acknowledged; it is killed at no particular moment, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let entropy = Entropy::system();
    let mut acknowledged = BTreeSet::new();
    for run in 0..RUNS {
        let lines = killed_after(&path, &folder.path().join("log"), run, 1 + entropy.up_to(400) as usize);
        assert!(!lines.is_empty());
        acknowledged.extend(lines);
        assert_sound(&path);
        let store = Store::sqlite(SqliteOptions::at(&path), Clock::system()).unwrap();
        let stored = |side: &'static str| {
            let store = store.clone();
            async move {
                let items = all_pages(&store, Query::all(side, 1_000), false).await;
                items.into_iter().map(|item| item.key.sort).collect::<BTreeSet<_>>()
            }
        };
        let (left, right) = (stored("left").await, stored("right").await);
        let lost: Vec<_> = acknowledged.difference(&left).collect();
        assert!(lost.is_empty(), "run {run}: acknowledged and lost: {lost:?}");
        assert_eq!(left, right, "run {run}: half a transaction");
        let count = store.get(&Key::new("count", "all")).await.unwrap().unwrap().counter;
        assert_eq!(count, left.len() as i64, "run {run}: the counter is of the same transactions");
    }
}

/// What the child said before it was killed, at least `wanted` lines.
fn killed_after(path: &Path, log: &Path, run: usize, wanted: usize) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["sqlite::crash::the_child_that_is_killed", "--exact", "--ignored", "--nocapture"]);
    // libtest takes further words as names of tests; there are none of these.
    command.arg(format!("store={}", path.display())).arg(format!("run={run}"));
    let mut child = Process::spawn(&command, log);
    let said = |child: &Process| -> Vec<String> {
        let output = child.output();
        // The last line may be cut off by the kill.
        let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter_map(|line| line.strip_prefix("stored ")).map(str::to_owned).collect()
    };
    testkit::eventually_blocking(SOON, "the child's writes", || {
        assert!(child.exited().is_none(), "{}", child.output());
        (said(&child).len() >= wanted).then_some(())
    });
    child.kill();
    said(&child)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child process of kill_9_loses_nothing_acknowledged"]
async fn the_child_that_is_killed() {
    let word = |name: &str| std::env::args().find_map(|word| word.strip_prefix(name).map(str::to_owned));
    let (Some(path), Some(run)) = (word("store="), word("run=")) else { panic!("started by hand") };
    let store = Store::sqlite(SqliteOptions::at(PathBuf::from(path)), Clock::system()).unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, run) = (store.clone(), run.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    let sort = format!("{run}#{writer}#{number}");
                    let put = |side: &str| Action::Put {
                        item: Item::new(Key::new(side, sort.clone()), 1, "x".repeat(number % 3_000)),
                        condition: Condition::Absent,
                    };
                    let count = Action::Add { key: Key::new("count", "all"), delta: 1, condition: Condition::Any };
                    store.transact(vec![put("left"), count, put("right")]).await.unwrap();
                    let line = format!("stored {sort}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}
