//! `synapsed` as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;
use testkit::{Process, eventually_blocking};

/// A machine under load takes its time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Child {
    process: Process,
    errors: PathBuf,
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

impl Child {
    /// Runs it with these arguments in `folder`, where its data goes, on free ports unless `variables` (without
    /// `SYNAPSE_`) say otherwise.
    pub(crate) fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let errors = folder.join("stderr.log");
        // Its two outputs apart: what it prints is for programs, what it complains about is for people.
        let mut command = Command::new("sh");
        command.args(["-c", r#"errors=$1; shift; exec "$@" 2>"$errors""#, "sh"]);
        command.arg(&errors).arg(env!("CARGO_BIN_EXE_synapsed")).args(arguments).current_dir(folder);
        command.env("SYNAPSE_PLATFORM__STORE", format!("sqlite:{}", folder.join("data").display()));
        command.env("SYNAPSE_PLATFORM__HTTP_LISTEN", "127.0.0.1:0");
        command.env("SYNAPSE_PLATFORM__ADMIN__LISTEN", "127.0.0.1:0");
        command.envs(variables.iter().map(|(key, value)| (format!("SYNAPSE_{key}"), *value)));
        Self { process: Process::spawn(&command, &folder.join("stdout.log")), errors }
    }

    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        self.process.wait(deadline)
    }

    /// Waits until it has printed `text`.
    pub(crate) fn until_printed(&mut self, text: &str) {
        eventually_blocking(PATIENCE, text, || {
            assert!(self.process.exited().is_none(), "it ended:\n{}", self.everything());
            if self.printed().contains(text) { Ok(()) } else { Err(self.everything()) }
        });
    }

    pub(crate) fn signal(&mut self, name: &str) {
        self.process.signal(name);
    }

    /// SIGKILL: it gets no chance to put anything in order.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Standard output so far.
    pub(crate) fn printed(&self) -> String {
        self.process.output()
    }

    /// Standard error so far.
    pub(crate) fn complained(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    pub(crate) fn everything(&self) -> String {
        format!("{}{}", self.printed(), self.complained())
    }

    /// The text after `label`, up to white space.
    pub(crate) fn told(&self, label: &str) -> String {
        let printed = self.printed();
        let at = printed.find(label).unwrap_or_else(|| panic!("no {label:?} in\n{}", self.everything()));
        printed[at + label.len()..].split_whitespace().next().unwrap().to_owned()
    }
}
