//! `cargo xtask dev`: builds synapsed and runs it, and again whenever a source changes. The old process serves until
//! the new one is built, and stays when the build fails. Data and tokens survive, for the folder is the same.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use clock::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::process;
use crate::stopwatch::Stopwatch;

/// What is watched, beside the workspace's own two files.
const FOLDERS: [&str; 3] = ["libs", "services", "clients"];
const FILES: [&str; 2] = ["Cargo.toml", "Cargo.lock"];
const ENDINGS: [&str; 2] = ["rs", "toml"];
/// Between two looks at the files.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks at a process that is to end.
const POLL: Duration = Duration::from_millis(20);
/// Three stages of 10 s each, and some room.
const DRAINED: Duration = Duration::from_secs(45);

/// Serves and rebuilds until Ctrl-C or SIGTERM.
///
/// # Errors
/// When cargo or the files can't be reached. A build that fails is no error here: the next change builds again.
pub(crate) fn run(root: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(develop(root, &Clock::system()))
}

async fn develop(root: &Path, clock: &Clock) -> Result<()> {
    // Before anything is started, so that no signal is missed while a build blocks this thread.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let program = program()?;
    let mut watch = Watch::new(Snapshot::of(root)?);
    let mut server = Server::default();
    if build(root)? {
        server.start(Command::new(&program).arg("serve").current_dir(root))?;
    }
    while !told_to_stop(clock, &mut interrupt, &mut terminate).await {
        server.notice_end()?;
        let Some(changed) = watch.look(Snapshot::of(root)?) else { continue };
        println!("dev: {} changed", summary(&changed));
        if !build(root)? {
            println!("dev: what ran before still runs; the next change builds again");
            continue;
        }
        server.stop(clock).await?;
        server.start(Command::new(&program).arg("serve").current_dir(root))?;
    }
    server.stop(clock).await
}

/// Waits for the next look; true when a signal came first.
async fn told_to_stop(clock: &Clock, interrupt: &mut Signal, terminate: &mut Signal) -> bool {
    tokio::select! {
        biased;
        _ = interrupt.recv() => true,
        _ = terminate.recv() => true,
        () = clock.sleep(LOOK) => false,
    }
}

fn program() -> Result<PathBuf> {
    // This program was built into the same folder by the same cargo.
    let own = std::env::current_exe()?;
    Ok(own.parent().context("a program lies in a folder")?.join("synapsed"))
}

/// Whether it compiles; cargo itself prints what does not.
fn build(root: &Path) -> Result<bool> {
    let watch = Stopwatch::start();
    let mut command = Command::new("cargo");
    command.args(["build", "--quiet", "--package", "synapsed"]).current_dir(root).stdin(Stdio::null());
    let status = command.status().with_context(|| format!("can't start `{}`", process::shown(&command)))?;
    println!("dev: {} after {watch}", if status.success() { "built" } else { "the build failed" });
    Ok(status.success())
}

/// The process that serves, if one does.
#[derive(Default)]
struct Server(Option<Child>);

impl Server {
    fn start(&mut self, command: &mut Command) -> Result<()> {
        let shown = process::shown(command);
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("can't start `{shown}`"))?;
        self.0 = Some(child);
        Ok(())
    }

    /// Says so when it ended by itself, say because its configuration is wrong.
    fn notice_end(&mut self) -> Result<()> {
        if let Some(status) = self.0.as_mut().map(Child::try_wait).transpose()?.flatten() {
            println!("dev: synapsed ended ({status}); the next change starts it again");
            self.0 = None;
        }
        Ok(())
    }

    /// Lets it drain; one that does not end in time is killed.
    async fn stop(&mut self, clock: &Clock) -> Result<()> {
        let Some(mut child) = self.0.take() else { return Ok(()) };
        if child.try_wait()?.is_none() {
            // Not reaped yet, so the id is still its own.
            process::output(Command::new("kill").arg("-TERM").arg(child.id().to_string()))?;
        }
        let ended = clock.timeout(DRAINED, async {
            while child.try_wait()?.is_none() {
                clock.sleep(POLL).await;
            }
            io::Result::Ok(())
        });
        if ended.await.transpose()?.is_none() {
            println!("dev: synapsed did not drain within {} s and is killed", DRAINED.as_secs());
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Server {
    /// After an error: what this program started ends with it.
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The watched files as they are on disk. The length helps where a file system's times are coarse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Snapshot(BTreeMap<PathBuf, (SystemTime, u64)>);

impl Snapshot {
    fn of(root: &Path) -> Result<Self> {
        let mut found = Self::default();
        for file in FILES.map(|name| root.join(name)).into_iter().filter(|file| file.exists()) {
            found.add(file);
        }
        for folder in FOLDERS.map(|name| root.join(name)).into_iter().filter(|folder| folder.exists()) {
            found.walk(&folder).with_context(|| format!("{} can't be watched", folder.display()))?;
        }
        Ok(found)
    }

    fn walk(&mut self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            // Links are not followed: they could lead in circles.
            let Ok(kind) = entry.file_type() else { continue };
            let ours = !name.as_encoded_bytes().starts_with(b".") && name != "target" && name != "node_modules";
            if kind.is_dir() && ours {
                match self.walk(&path) {
                    // Removed since it was listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    walked => walked?,
                }
            } else if kind.is_file() && path.extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known)) {
                self.add(path);
            }
        }
        Ok(())
    }

    /// A file that vanishes meanwhile is one that is not there.
    fn add(&mut self, file: PathBuf) {
        if let Ok(metadata) = fs::metadata(&file)
            && let Ok(modified) = metadata.modified()
        {
            self.0.insert(file, (modified, metadata.len()));
        }
    }

    /// What was changed, added or removed since `before`.
    fn since(&self, before: &Self) -> Vec<PathBuf> {
        let changed = self.0.iter().filter(|(path, state)| before.0.get(*path) != Some(state));
        let removed = before.0.keys().filter(|path| !self.0.contains_key(*path));
        changed.map(|(path, _)| path).chain(removed).cloned().collect()
    }
}

/// Decides when to build: what is on disk is not what was built, and two looks in a row saw the same.
struct Watch {
    built: Snapshot,
    seen: Snapshot,
}

impl Watch {
    fn new(built: Snapshot) -> Self {
        Self { seen: built.clone(), built }
    }

    /// The files to build for, told once.
    fn look(&mut self, now: Snapshot) -> Option<Vec<PathBuf>> {
        let settled = now == self.seen;
        self.seen = now;
        if !settled || self.seen == self.built {
            return None;
        }
        let changed = self.seen.since(&self.built);
        self.built = self.seen.clone();
        Some(changed)
    }
}

fn summary(changed: &[PathBuf]) -> String {
    match changed {
        [] => "nothing".to_owned(),
        [one] => one.display().to_string(),
        [first, others @ ..] => format!("{} and {} more", first.display(), others.len()),
    }
}

#[cfg(test)]
#[path = "dev_tests.rs"]
mod tests;
