//! The guides' commands, run one after the other in one shell against a system of its own: they print what the guides say
//! they print.

use std::path::Path;
use std::process::Command;

use crate::child::{Child, folder};

/// A shell block of a guide, and what it prints.
struct Step {
    commands: String,
    output: String,
}

fn steps(guide: &str) -> Vec<Step> {
    let mut found: Vec<Step> = Vec::new();
    let mut blocks = guide.split("```");
    while let (Some(_), Some(block)) = (blocks.next(), blocks.next()) {
        let (kind, text) = block.split_once('\n').unwrap();
        match kind {
            "sh" => found.push(Step { commands: text.to_owned(), output: String::new() }),
            "text" => found.last_mut().unwrap().output = text.to_owned(),
            _ => {}
        }
    }
    found
}

#[test]
fn the_billing_guide_does_what_it_says() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let guide = std::fs::read_to_string(docs.join("guide/billing.md")).unwrap();
    let folder = folder();
    std::os::unix::fs::symlink(docs.canonicalize().unwrap(), folder.path().join("docs")).unwrap();
    let mut child = Child::start(folder.path(), &[], &[]);
    child.until_printed("Ctrl-C stops.");
    let steps = steps(&guide);
    assert!(steps.len() >= 15, "{} steps", steps.len());
    let script: String = steps.iter().map(|step| format!("{}\necho '=== end of step'\n", step.commands)).collect();
    let mut shell = Command::new("timeout");
    shell.args(["240", "bash", "-c", &script]).current_dir(folder.path());
    shell.env("API", child.told("API ")).env("STRIPE", child.told("Stripe ")).env("TOKEN", child.told("export TOKEN="));
    let ran = shell.output().unwrap();
    let (printed, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let printed: Vec<&str> = printed.split("=== end of step\n").collect();
    for (number, step) in steps.iter().enumerate() {
        let found = printed.get(number).copied().unwrap_or("(it did not get here)");
        assert_eq!(found.trim(), step.output.trim(), "{}\n{complained}\n{}", step.commands, child.complained());
    }
}
