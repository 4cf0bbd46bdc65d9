//! `synapse contract verify` against what runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use testkit::{Process, eventually_blocking};

use super::{DRAINED, READY, STRIPE_KEY, Target, build};

/// Through the bus and the public API of separate processes. Everything that can be seen must hold.
pub(super) fn bus(target: &Target<'_>, nats: &str) -> Result<()> {
    let mut command = target.synapse()?;
    command.args(["contract", "verify", "--nats", nats, "--gateway", &target.gateway()]);
    command.args(["--stripe", target.stripe, "--stripe-key", STRIPE_KEY]);
    held(&mut command, target.json)
}

/// Through the public API alone, of one process that serves as a user starts it.
///
/// # Errors
/// What did not start, hold or stop.
pub(crate) fn served(root: &Path) -> Result<()> {
    with_served(root, |served| {
        let mut command = Command::new(served.programs.join("synapse"));
        command.args(["contract", "verify", "--gateway", &served.told("API")?, "--stripe", &served.told("Stripe ")?]);
        command.args(["--stripe-key", STRIPE_KEY]).env("SYNAPSE_TOKEN", served.told("export TOKEN=")?);
        held(command.stdin(Stdio::null()), false)
    })
}

/// One process that serves as a user starts it.
pub(crate) struct Served {
    programs: PathBuf,
    printed: String,
}

impl Served {
    /// The word behind `label` in its welcome.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn told(&self, label: &str) -> Result<String> {
        let printed = &self.printed;
        let rest = printed.split_once(label).with_context(|| format!("synapsed did not tell {label:?}:\n{printed}"))?.1;
        Ok(rest.split_whitespace().next().unwrap_or_default().to_owned())
    }
}

/// Starts such a process, does `work` with it and stops it.
///
/// # Errors
/// What did not start, work or stop.
pub(crate) fn with_served(root: &Path, work: impl FnOnce(&Served) -> Result<()>) -> Result<()> {
    let programs = build(root)?;
    let folder = tempfile::tempdir()?;
    let mut serve = Command::new(programs.join("synapsed"));
    serve.current_dir(folder.path()).envs([
        ("SYNAPSE_PLATFORM__STORE", format!("sqlite:{}", folder.path().join("data").display())),
        ("SYNAPSE_PLATFORM__HTTP_LISTEN", "127.0.0.1:0".to_owned()),
        ("SYNAPSE_PLATFORM__ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
    ]);
    let mut process = Process::spawn(&serve, &folder.path().join("synapsed.log"));
    eventually_blocking(READY, "synapsed to be ready", || {
        let ended = process.exited().is_some();
        (ended || process.output().contains("Ctrl-C stops.")).then_some(())
    });
    ensure!(process.exited().is_none(), "synapsed ended:\n{}", process.output());
    let worked = work(&Served { programs, printed: process.output() });
    process.signal("TERM");
    let status = process.wait(DRAINED);
    ensure!(status.success(), "synapsed ended with {status}:\n{}", process.output());
    worked
}

fn held(command: &mut Command, is_quiet: bool) -> Result<()> {
    let output = command.output().context("the verification can't be started")?;
    let (report, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "the contracts do not hold ({}):\n{report}{errors}", output.status);
    if !is_quiet {
        print!("{report}");
    }
    Ok(())
}
