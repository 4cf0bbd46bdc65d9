//! `cargo xtask contract`: what services read, and the baselines of releases.

mod cross;
mod reads;
mod release;
mod untold;

pub(crate) use cross::{Verdict, read_by};
pub(crate) use reads::{record, services, target_folder};
pub(crate) use release::{Release, releases};
pub(crate) use untold::{Captured, UNTOLD, all_told, captured, forget};

use std::path::Path;

use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Adds the baseline of a release: the contracts' types packed, what services read, which revisions there are.
    Release {
        /// Its version (default: the workspace's).
        version: Option<String>,
    },
    /// Records what every service reads, into services/*/contract/reads.json. Part of `bless`.
    Reads,
}

/// Does it.
///
/// # Errors
/// What could not be done.
pub(crate) fn run(root: &Path, command: Command) -> Result<()> {
    match command {
        Command::Release { version } => release::add(root, version.as_deref()),
        Command::Reads => record(root),
    }
}
