//! Names that say nothing, and so collect everything.

use super::Finding;
use super::sources::Source;

const BANNED: [&str; 6] = ["utils", "common", "helpers", "types", "misc", "manager"];
const ADVICE: &str = "Name it after the noun it holds or the use case it does; code two crates need goes where the \
                      plan's \"Where a thing belongs\" says.";

/// Banned names of files, folders and modules. `util` and `helper` are the same word.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for part in source.path.components() {
        let part = part.as_os_str().to_string_lossy();
        let stem = part.split('.').next().unwrap_or_default();
        if is_banned(stem) {
            findings.push(source.finding(1, format!("`{stem}` is a banned name for files and folders"), ADVICE));
        }
    }
    if source.is_rust() {
        findings.extend(modules(source));
    }
    findings
}

// `mod utils;` is found at the file it names; this finds `mod utils { … }`.
fn modules(source: &Source) -> impl Iterator<Item = Finding> {
    source.text.lines().enumerate().filter_map(|(index, line)| {
        let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
        let name = (words.next() == Some("mod")).then(|| words.next()).flatten()?;
        let inline = words.next().is_some_and(|word| word.starts_with('{'));
        (inline && is_banned(name))
            .then(|| source.finding(index + 1, format!("`{name}` is a banned name for a module"), ADVICE))
    })
}

fn is_banned(name: &str) -> bool {
    BANNED.iter().any(|banned| *banned == name || banned.strip_suffix('s') == Some(name) && *banned != "types")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(usize, String)> {
        check(&Source::new(path, text)).into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn banned_files_folders_and_modules_are_found() {
        for path in ["libs/bus/src/utils.rs", "libs/misc/src/lib.rs", "services/a/src/helper.rs", "web/src/types.d.ts"]
        {
            assert_eq!(rules(path, "").len(), 1, "{path}");
        }
        let found = rules("libs/bus/src/lib.rs", "mod nats;\npub(crate) mod common {\n}\n");
        assert_eq!(found, [(2, "`common` is a banned name for a module".to_owned())]);
    }

    #[test]
    fn names_that_only_contain_a_banned_word_pass() {
        for path in ["libs/bus/src/common_name.rs", "libs/contracts/src/media_types.rs", "services/a/src/type.rs"] {
            assert!(rules(path, "// mod utils { is not code here\nmod nats {}\n").is_empty(), "{path}");
        }
    }
}
