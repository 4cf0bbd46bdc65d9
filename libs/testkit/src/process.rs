use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::eventually_blocking;

/// A running child process. Dropping it kills it (SIGKILL, by pid) and reaps it.
///
/// The kernel kills it too when this process dies in a way that runs no destructors: a static, an abort, a SIGKILL.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts what `command` says: its program, arguments, environment changes (but not `env_clear`) and folder.
    /// Standard input is empty; both outputs go to the file `log`, which is truncated.
    ///
    /// # Panics
    /// When the log can't be written or `setpriv` (util-linux) is missing.
    pub fn spawn(command: &Command, log: &Path) -> Self {
        let output = File::create(log).unwrap_or_else(|error| panic!("can't write {}: {error}", log.display()));
        let errors = output.try_clone().expect("a fresh file handle can be doubled");
        // Set through a program, since doing it ourselves between fork and exec would take unsafe code.
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => tied.env(key, value),
                None => tied.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            tied.current_dir(folder);
        }
        tied.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = spawn_on_lasting_thread(tied)
            .unwrap_or_else(|error| panic!("can't start {:?} through setpriv (util-linux): {error}", command));
        Self { child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `deadline`; what it printed is in the message.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("process {} to end", self.pid());
        eventually_blocking(deadline, &what, || self.exited().ok_or_else(|| format!("running:\n{}", self.output())))
    }

    /// Freezes it (SIGSTOP) and returns once every thread of it stands still.
    ///
    /// # Panics
    /// When it has ended.
    pub fn freeze(&mut self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.pid());
        eventually_blocking(Duration::from_secs(10), "every thread to stop", || {
            assert!(self.exited().is_none(), "it ended:\n{}", self.output());
            let mut threads = fs::read_dir(&tasks).expect("a running process has threads").flatten();
            let stopped = |status: String| status.contains("State:\tT");
            let all = threads.all(|thread| fs::read_to_string(thread.path().join("status")).is_ok_and(stopped));
            all.then_some(())
        });
    }

    /// Ends a freeze (SIGCONT).
    pub fn thaw(&mut self) {
        self.signal("CONT");
    }

    /// Sends a signal by name: `TERM`, `INT`, `HUP`, `USR1`. Nothing happens when it ended already.
    ///
    /// # Panics
    /// When there is no such signal.
    pub fn signal(&mut self, name: &str) {
        // Not reaped yet, so the pid is still its own.
        if self.exited().is_none() {
            let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
            assert!(sent.is_ok_and(|status| status.success()), "`kill -{name} {}` failed", self.pid());
        }
    }

    /// Kills it (SIGKILL) and reaps it. Nothing happens when it ended already.
    pub fn kill(&mut self) {
        // Both fail only when it is gone, which is the goal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Held while a child is between fork and exec, when it has a copy of every open socket: a listener closed meanwhile
/// would still occupy its port.
pub(crate) static FORKING: Mutex<()> = Mutex::new(());

type Order = (Command, Sender<std::io::Result<Child>>);

// The kernel's signal on the parent's death means the parent *thread*, and a test's thread ends with the test, while
// a server may be shared by many: all children come from one thread that lasts as long as the process.
fn spawn_on_lasting_thread(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                let forking = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
                let child = command.spawn();
                drop(forking);
                // The orderer is gone only if its thread panicked; its child then has no owner.
                if let Err(mpsc::SendError(Ok(mut orphan))) = reply.send(child) {
                    let _ = orphan.kill();
                    let _ = orphan.wait();
                }
            }
        });
        orders
    });
    let (reply, answer) = mpsc::channel();
    spawner.send((command, reply)).expect("the spawning thread lasts as long as the process");
    answer.recv().expect("the spawning thread answers every order")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn sh(script: &str) -> (tempfile::TempDir, Process) {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::spawn(Command::new("sh").args(["-c", script]), &folder.path().join("log"));
        (folder, process)
    }

    fn runs(pid: u32) -> bool {
        // A zombie has a status file too.
        fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("State:\tZ"))
    }

    #[test]
    fn dropping_it_kills_it() {
        let (_folder, process) = sh("exec sleep 600");
        let pid = process.pid();
        assert!(runs(pid));
        drop(process);
        assert!(!runs(pid));
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // that nothing happens can only be seen over time
    fn it_outlives_the_thread_that_ordered_it() {
        let (_folder, mut process) = thread::spawn(|| sh("exec sleep 600")).join().unwrap();
        assert!(process.exited().is_none());
        thread::sleep(Duration::from_millis(100));
        assert!(process.exited().is_none(), "still running after its test's thread ended");
    }

    #[test]
    fn output_status_and_signals() {
        let (_folder, mut process) = sh("echo out; echo err >&2; exit 3");
        assert_eq!(process.wait(SOON).code(), Some(3));
        assert_eq!(process.output(), "out\nerr\n");

        let (_folder, mut process) = sh("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
        eventually_blocking(SOON, "the trap", || process.output().contains("ready").then_some(()));
        process.signal("TERM");
        assert!(process.wait(SOON).success());
        assert!(process.output().ends_with("bye\n"));
        process.signal("TERM");
    }

    #[test]
    #[should_panic(expected = "to end; last seen: running:\nstarted")]
    fn a_wait_that_fails_shows_the_output() {
        let (_folder, mut process) = sh("echo started; exec sleep 600");
        eventually_blocking(SOON, "output", || (!process.output().is_empty()).then_some(()));
        process.wait(Duration::from_millis(20));
    }

    #[test]
    fn a_frozen_process_stands_still_until_the_thaw() {
        let (_folder, mut process) = sh("trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done");
        eventually_blocking(SOON, "the trap", || process.output().contains("ready").then_some(()));
        process.freeze();
        process.signal("TERM");
        assert!(process.exited().is_none());
        process.thaw();
        assert!(process.wait(SOON).success());
    }
}
