//! The browser SDK: in Node with a gateway of its own and cut lines between them, in pages of headless Chromium, against
//! the Rust SDK and against a WebRTC stack of somebody else.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Tally, cargo_test};
use crate::{process, tools};

/// The tools it needs, of [`tools::TOOLS`].
pub(super) const NEEDS: &[&str] = &["chromium", "playwright", "aiortc"];
const TESTS: &str = "clients/typescript/tests";

pub(super) fn run(root: &Path) -> Result<Tally> {
    // Of the whole workspace, so that what the other suites compile serves here too.
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--workspace", "--bin", "synapsed", "--example", "echo"]);
    process::output(build.current_dir(root))?;
    // This program was built into the same folder by the same cargo.
    let own = std::env::current_exe()?;
    let programs = own.parent().context("a program lies in a folder")?;
    let mut node = Command::new("node");
    // Node 20 has WebSockets behind this flag; later versions know it too.
    node.args(["--experimental-websocket", "--test", "--test-reporter=tap", "--test-concurrency=1"]);
    for file in ["unit", "gateway", "pages", "example", "stacks"] {
        node.arg(root.join(TESTS).join(format!("{file}.test.mjs")));
    }
    node.env("SYNAPSED", programs.join("synapsed"));
    node.env("ECHO", programs.join("examples/echo"));
    node.env("AIORTC", tools::home(root, "aiortc").join("bin/python"));
    node.env("CHROMIUM", tools::home(root, "chromium").join("bin/chromium"));
    node.env("PLAYWRIGHT", tools::home(root, "playwright").join("node_modules/playwright-core/index.mjs"));
    cargo_test::counted(node, summary)
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
