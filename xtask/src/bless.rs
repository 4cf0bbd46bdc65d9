//! Files the code generates and people commit: `bless` writes them, `bless --check` fails when one drifted.
//!
//! A generator is a pure function from the workspace to texts. It never writes itself, so that check and write can't
//! disagree.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::generate;

/// One generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generated {
    /// Where it lives, relative to the workspace root.
    pub(crate) path: PathBuf,
    /// Its whole content. Ends with a line break.
    pub(crate) text: String,
}

/// Makes the files of one kind. Gets the workspace root, for generators that read committed files.
pub(crate) type Generator = fn(&Path) -> Result<Vec<Generated>>;

/// Every generator with the name shown in errors, in the order they run. None may read another's output.
pub(crate) const GENERATORS: &[(&str, Generator)] = &[
    ("goldens", generate::goldens),
    ("asyncapi", generate::asyncapi),
    ("topology", generate::topology),
    ("errors page", generate::errors_page),
    ("openapi", generate::openapi),
    ("typescript", generate::typescript),
];

// Lines of a drifted file that the check prints; the rest is in `git diff` after a bless.
const DIFF_LINES: usize = 8;

/// Runs every generator and writes its files, or, with `check`, fails naming the files that differ.
///
/// # Errors
/// A generator failed, two made the same file, a file could not be read or written, or (with `check`) one drifted.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let files = generate(root, GENERATORS)?;
    let drifted = drifted(root, &files)?;
    if check {
        if drifted.is_empty() {
            println!("bless: {} generated files are up to date", files.len());
            return Ok(());
        }
        for drift in &drifted {
            println!("{drift}");
        }
        bail!("{} generated files drifted from the code: run `cargo xtask bless` and review the diff", drifted.len());
    }
    for drift in &drifted {
        write(root, &drift.path, &files[&drift.path])?;
        println!("wrote {}", drift.path.display());
    }
    println!("bless: {} of {} generated files changed", drifted.len(), files.len());
    Ok(())
}

fn generate(root: &Path, generators: &[(&str, Generator)]) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    for (name, generator) in generators {
        let made = generator(root).with_context(|| format!("generator `{name}` failed"))?;
        for Generated { path, text } in made {
            ensure!(
                path.components().all(|part| matches!(part, Component::Normal(_))),
                "generator `{name}` made `{}`: the path must be relative to the workspace root, without `..`",
                path.display()
            );
            ensure!(
                text.ends_with('\n'),
                "generator `{name}` made `{}` without a line break at its end: add one",
                path.display()
            );
            if files.insert(path.clone(), text).is_some() {
                bail!("generator `{name}` made `{}`, which another one made already", path.display());
            }
        }
    }
    Ok(files)
}

struct Drift {
    path: PathBuf,
    difference: String,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "drifted: {}\n{}", self.path.display(), self.difference)
    }
}

fn drifted(root: &Path, files: &BTreeMap<PathBuf, String>) -> Result<Vec<Drift>> {
    let mut drifted = Vec::new();
    for (path, text) in files {
        let difference = match fs::read_to_string(root.join(path)) {
            Ok(committed) if committed == *text => continue,
            Ok(committed) => difference(&committed, text),
            Err(error) if error.kind() == ErrorKind::NotFound => "  the file does not exist\n".to_owned(),
            Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
        };
        drifted.push(Drift { path: path.clone(), difference });
    }
    Ok(drifted)
}

fn write(root: &Path, path: &Path, text: &str) -> Result<()> {
    let target = root.join(path);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).with_context(|| format!("can't create {}", folder.display()))?;
    }
    fs::write(&target, text).with_context(|| format!("can't write {}", path.display()))
}

// The first place where the two differ, once common lines at both ends are cut off: enough to see what happened.
fn difference(committed: &str, generated: &str) -> String {
    let old: Vec<&str> = committed.lines().collect();
    let new: Vec<&str> = generated.lines().collect();
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    if old.is_empty() && new.is_empty() {
        return "  line breaks differ\n".to_owned();
    }
    let mut text = format!("  from line {}:\n", head + 1);
    for (sign, lines) in [('-', old), ('+', new)] {
        for line in lines.iter().take(DIFF_LINES) {
            text.push_str(&format!("  {sign} {line}\n"));
        }
        if lines.len() > DIFF_LINES {
            text.push_str(&format!("  {sign} … {} more lines\n", lines.len() - DIFF_LINES));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_files(_: &Path) -> Result<Vec<Generated>> {
        let file = |path: &str, text: &str| Generated { path: path.into(), text: text.into() };
        Ok(vec![file("docs/a.md", "one\ntwo\nthree\n"), file("b.json", "{}\n")])
    }

    fn unnamed_line(_: &Path) -> Result<Vec<Generated>> {
        Ok(vec![Generated { path: "a".into(), text: "no line break".into() }])
    }

    fn outside(_: &Path) -> Result<Vec<Generated>> {
        Ok(vec![Generated { path: "../a".into(), text: "a\n".into() }])
    }

    fn broken(_: &Path) -> Result<Vec<Generated>> {
        bail!("the sample is missing")
    }

    #[test]
    fn a_blessed_tree_has_no_drift_and_an_edited_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        let files = generate(root.path(), &[("two", two_files)]).unwrap();
        assert_eq!(drifted(root.path(), &files).unwrap().len(), 2, "missing files count as drift");
        for (path, text) in &files {
            write(root.path(), path, text).unwrap();
        }
        assert!(drifted(root.path(), &files).unwrap().is_empty());

        fs::write(root.path().join("docs/a.md"), "one\n2\nthree\n").unwrap();
        let drifted = drifted(root.path(), &files).unwrap();
        assert_eq!(drifted.len(), 1);
        assert_eq!(drifted[0].to_string(), "drifted: docs/a.md\n  from line 2:\n  - 2\n  + two\n");
    }

    #[test]
    fn generators_that_break_the_rules_are_named() {
        let root = Path::new(".");
        for (generator, expected) in [
            (unnamed_line as Generator, "without a line break at its end"),
            (outside, "must be relative to the workspace root"),
            (broken, "the sample is missing"),
        ] {
            let error = format!("{:#}", generate(root, &[("planted", generator)]).unwrap_err());
            assert!(error.contains("generator `planted`") && error.contains(expected), "{error}");
        }
        let twice = generate(root, &[("first", two_files), ("second", two_files)]).unwrap_err().to_string();
        assert!(twice.contains("generator `second` made `b.json`") || twice.contains("`docs/a.md`"), "{twice}");
    }

    #[test]
    fn long_differences_are_cut() {
        let new: String = (0..20).map(|n| format!("line {n}\n")).collect();
        let text = difference("", &new);
        assert!(
            text.contains("+ line 7\n") && !text.contains("line 8\n") && text.contains("+ … 12 more lines"),
            "{text}"
        );
        assert_eq!(difference("a", "a\n"), "  line breaks differ\n");
    }
}
