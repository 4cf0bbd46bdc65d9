//! The browser SDK: in Node with a gateway of its own and cut lines between them, in pages of headless Chromium, against
//! the Rust SDK and against a WebRTC stack of somebody else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Tally, cargo_test};
use crate::{process, tools};

/// The tools it needs, of [`tools::TOOLS`].
pub(super) const NEEDS: &[&str] = &["chromium", "playwright", "aiortc", "nats-2.15.1"];
const TESTS: &str = "clients/typescript/tests";

pub(super) fn run(root: &Path) -> Result<Tally> {
    // Of the whole workspace, so that what the other suites compile serves here too.
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--workspace", "--bin", "synapsed", "--bin", "gateway", "--example", "echo"]);
    process::output(build.current_dir(root))?;
    // This program was built into the same folder by the same cargo.
    let own = std::env::current_exe()?;
    let programs = own.parent().context("a program lies in a folder")?;
    let mut node = Command::new("node");
    // Node 20 has WebSockets behind this flag; later versions know it too.
    node.args(["--experimental-websocket", "--test", "--test-reporter=tap", "--test-concurrency=1"]);
    node.args(files(&root.join(TESTS))?);
    node.env("SYNAPSED", programs.join("synapsed"));
    node.env("GATEWAY", programs.join("gateway"));
    node.env("NATS", tools::home(root, "nats-2.15.1").join("bin/nats-server"));
    node.env("ECHO", programs.join("examples/echo"));
    node.env("AIORTC", tools::home(root, "aiortc").join("bin/python"));
    node.env("CHROMIUM", tools::home(root, "chromium").join("bin/chromium"));
    node.env("PLAYWRIGHT", tools::home(root, "playwright").join("node_modules/playwright-core/index.mjs"));
    cargo_test::counted(node, summary)
}

/// Every test file, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    let is_test = |path: &PathBuf| path.to_string_lossy().ends_with(".test.mjs");
    let mut found: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_test).collect();
    found.sort();
    ensure!(!found.is_empty(), "there are no tests in {}", folder.display());
    Ok(found)
}

/// The sums at the end: `# pass 12`. What was skipped or broken off has not passed.
fn summary(line: &str) -> Option<Tally> {
    let (word, count) = line.strip_prefix("# ")?.split_once(' ')?;
    let count = count.parse().ok()?;
    match word {
        "pass" => Some(Tally { passed: count, failed: 0 }),
        "fail" | "cancelled" | "skipped" | "todo" => Some(Tally { passed: 0, failed: count }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_at_the_end_are_counted() {
        assert_eq!(summary("# pass 12"), Some(Tally { passed: 12, failed: 0 }));
        for word in ["fail", "cancelled", "skipped", "todo"] {
            assert_eq!(summary(&format!("# {word} 1")), Some(Tally { passed: 0, failed: 1 }), "{word}");
        }
        for other in ["# tests 13", "ok 1 - a pass", "# pass along", "    # pass 3"] {
            assert_eq!(summary(other), None, "{other}");
        }
    }
}
