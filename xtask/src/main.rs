//! The developer's tools of this workspace: `cargo xtask <command>`.
//!
//! `tools` fetches the servers and validators the tests need, `test` runs the suites, `check` enforces the plan's
//! arrows, sizes and bans, `bless` regenerates every generated file, `bench` measures.

mod bench;
mod bless;
mod check;
mod contract;
mod dev;
mod fleet;
mod generate;
mod process;
mod stopwatch;
mod suites;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer tools of this workspace.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetches the test servers and validators into .tools, pinned; instant when they are there.
    Tools {
        /// Only these (default: all).
        names: Vec<String>,
    },
    /// Runs the test suites, fetching the servers they need.
    Test {
        /// Only these (default: all). An unknown name lists them.
        names: Vec<String>,
    },
    /// Enforces crate arrows, file and function sizes, banned names and calls.
    Check,
    /// Regenerates what services read, schemas, documents, types and topology from the code.
    Bless {
        /// Writes nothing; fails when a committed file differs from what the code generates.
        #[arg(long)]
        check: bool,
        /// Does not ask the services' suites what they read: quick, for changes that touch no reader.
        #[arg(long)]
        keep_reads: bool,
    },
    /// What services read, and the baselines of releases.
    #[command(subcommand)]
    Contract(contract::Command),
    /// Runs synapsed with its data in ./data; rebuilds and restarts it when a source changes. Ctrl-C ends both.
    Dev,
    /// Runs the six services as separate processes, the demo and the contract verification against them.
    Fleet {
        /// What carries events.
        #[arg(long, value_enum, default_value = "sqs")]
        bus: fleet::Carrier,
        /// The demo's report as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Measures in release against references in the same run.
    Bench {
        /// Only these: envelope, relay, consume, latency (default: all).
        names: Vec<String>,
        /// Writes the rows as JSON to this file; without a file to standard output.
        #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
        json: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let root = workspace_root();
    let done = match Arguments::parse().command {
        Command::Tools { names } if names.is_empty() => tools::fetch_all(&root),
        Command::Tools { names } => tools::fetch(&root, &names.iter().map(String::as_str).collect::<Vec<_>>()),
        Command::Test { names } => suites::run(&root, &names),
        Command::Check => check::run(&root),
        Command::Bless { check, keep_reads } => bless(&root, check, keep_reads),
        Command::Contract(command) => contract::run(&root, command),
        Command::Dev => dev::run(&root),
        Command::Fleet { bus, json } => fleet::run(&root, bus, json),
        Command::Bench { names, json } => bench::run(&root, &names, json.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

// What services read comes first: it decides which changes break somebody. With `--check` their own suites compare it.
fn bless(root: &Path, check: bool, keep_reads: bool) -> anyhow::Result<()> {
    if !check && !keep_reads {
        contract::record(root)?;
    }
    bless::run(root, check)
}

/// The workspace this binary was built in: xtask is only ever run from its own clone.
fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace's root").to_owned()
}
