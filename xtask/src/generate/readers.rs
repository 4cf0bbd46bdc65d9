//! Who reads which field of what: every service's committed `contract/reads.json`, and that of the last release, whose
//! services still run while the next ones roll out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use contracts::reads::{Fields, Reads};

use crate::contract::releases;
use contract_gate::{Direction, Rule, Violation};

/// Services that are only composed of others.
const COMPOSED: &[&str] = &["synapsed"];

/// Everybody who reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers {
    /// By who it is (`signaling`, `signaling 0.1.0`): what it reads.
    readers: Vec<(String, Reads)>,
    /// Services of which nobody knows what they read: everything binds.
    unknown: Vec<String>,
}

/// Every service and the file that says what it reads.
///
/// # Errors
/// `services/` can't be read.
fn files(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    let folder = root.join("services");
    if !folder.exists() {
        return Ok(files);
    }
    for service in fs::read_dir(folder).context("can't read services/")? {
        let path = service?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.join("Cargo.toml").exists() && !COMPOSED.contains(&name.as_str()) {
            files.push((name, path.join("contract/reads.json")));
        }
    }
    files.sort();
    Ok(files)
}

/// What every service reads; all of them must have told.
///
/// # Errors
/// A service has no file.
pub(crate) fn reads_files(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let files = files(root)?;
    for (service, path) in &files {
        anyhow::ensure!(
            path.exists(),
            "{service}: {} is missing; write its tests/contract/reads.rs as other services have, then `cargo xtask bless`",
            path.display()
        );
    }
    Ok(files)
}

impl Readers {
    /// Reads the files of today's services and of the last release.
    ///
    /// # Errors
    /// A file can't be read.
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let mut all = Self::default();
        for (service, path) in files(root)? {
            if !path.exists() {
                all.unknown.push(service);
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let reads = Reads::from_text(&text).with_context(|| path.display().to_string())?;
            all.readers.push((service, reads));
        }
        if let Some(release) = releases(root)?.pop() {
            let version = release.version;
            all.readers.extend(release.reads.into_iter().map(|reads| (format!("{} {version}", reads.service), reads)));
        }
        Ok(all)
    }

    /// Readers that were written down elsewhere.
    pub(crate) fn from_list(readers: Vec<(String, Reads)>) -> Self {
        Self { readers, unknown: Vec::new() }
    }

    /// Who reads a message (`presence.connect.v1.reply`), and what of it.
    pub(crate) fn of_message(&self, message: &str) -> BTreeMap<&str, &Fields> {
        self.readers.iter().filter_map(|(who, reads)| Some((who.as_str(), reads.reads.get(message)?))).collect()
    }

    /// Services of which nobody knows what they read.
    pub(crate) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Whom a violation hurts, each with the field it reads. Data that was written once must be read for ever, so what
    /// today's type can't read counts without a reader: `None`.
    pub(crate) fn hurt(&self, message: &str, violation: &Violation) -> Option<Vec<String>> {
        if violation.direction == Direction::Backward {
            return None;
        }
        let place = plain(&violation.path);
        let mut hurt = Vec::new();
        for (who, fields) in self.of_message(message) {
            let bound = fields.iter().filter(|(path, field)| match violation.rule {
                Rule::MadeOptional => **path == place && field.required,
                Rule::ValueAdded if **path == place => !field.open,
                _ => touches(fields, path, &place),
            });
            let paths: Vec<String> = bound.map(|(path, _)| format!("`{path}`")).collect();
            if !paths.is_empty() {
                hurt.push(format!("{who} reads {}", paths.join(", ")));
            }
        }
        hurt.extend(self.unknown.iter().map(|who| format!("{who} has no contract/reads.json and may read everything")));
        Some(hurt)
    }
}

// `$<ok>.ok.peers[]<…>.status` → `ok.peers[].status`: readers' paths know no variants and no places in tuples.
fn plain(path: &str) -> String {
    let (mut text, mut inside) = (String::new(), 0_u32);
    let mut chars = path.trim_start_matches('$').chars().peekable();
    while let Some(letter) = chars.next() {
        match letter {
            '<' => inside += 1,
            '>' => inside = inside.saturating_sub(1),
            _ if inside > 0 => {}
            '[' => {
                while chars.next_if(|next| *next != ']').is_some() {}
                text.push('[');
            }
            _ => text.push(letter),
        }
    }
    text.trim_start_matches('.').to_owned()
}

// Whether a change at `place` touches what is read at `path`: the same, something inside it, or a whole that is read
// without looking further.
fn touches(fields: &Fields, path: &str, place: &str) -> bool {
    let below = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| outer.is_empty() || rest.starts_with(['.', '[']))
    };
    let opaque = || !fields.keys().any(|other| below(other, path));
    path == place || below(path, place) || (below(place, path) && opaque())
}

#[cfg(test)]
mod tests {
    use contracts::reads::Field;

    use super::*;

    fn readers(fields: &[(&str, bool)]) -> Readers {
        let field = |required: &bool| Field { required: *required, ..Field::default() };
        let fields: Fields = fields.iter().map(|(path, required)| ((*path).to_owned(), field(required))).collect();
        let reads = Reads { service: "signaling".into(), reads: BTreeMap::from([("house.sold.v1".into(), fields)]) };
        Readers::from_list(vec![("signaling".into(), reads)])
    }

    fn hurt(readers: &Readers, path: &str, rule: Rule, direction: Direction) -> Option<Vec<String>> {
        readers.hurt("house.sold.v1", &Violation::new(path, rule, direction, String::new()))
    }

    #[test]
    fn paths_of_the_gate_become_paths_of_readers() {
        assert_eq!(plain("$<ok>.ok.peers[]<type=offer>.status"), "ok.peers[].status");
        assert_eq!(plain("$.pair[1].x"), "pair[].x");
        assert_eq!(plain("$.metadata.*"), "metadata.*");
        assert_eq!(plain("$"), "");
    }

    #[test]
    fn a_change_hurts_who_reads_the_place_its_inside_or_it_as_a_whole() {
        let readers = readers(&[("key", true), ("key.kid", true), ("raw", true)]);
        let removed = |path| hurt(&readers, path, Rule::FieldRemoved, Direction::Meaning).unwrap();
        assert_eq!(removed("$.key.kid"), ["signaling reads `key.kid`"]);
        assert_eq!(removed("$.key"), ["signaling reads `key`, `key.kid`"]);
        assert_eq!(removed("$.raw.deep.er"), ["signaling reads `raw`"]);
        assert_eq!(removed("$").len(), 1);
        for path in ["$.key.other", "$.keys", "$.ke", "$.price"] {
            assert!(removed(path).is_empty(), "{path}");
        }
        let other = Violation::new("$", Rule::FieldRemoved, Direction::Meaning, String::new());
        assert!(readers.hurt("house.built.v1", &other).unwrap().is_empty());
    }

    #[test]
    fn what_was_written_once_counts_without_readers() {
        assert_eq!(hurt(&readers(&[]), "$.price", Rule::Retyped, Direction::Backward), None);
    }

    #[test]
    fn who_takes_a_field_as_optional_is_not_hurt_when_it_becomes_so() {
        let readers = readers(&[("a", true), ("b", false)]);
        let optional = |path| hurt(&readers, path, Rule::MadeOptional, Direction::Forward).unwrap().len();
        assert_eq!((optional("$.a"), optional("$.b")), (1, 0));
    }

    #[test]
    fn a_service_that_told_nothing_may_read_everything() {
        let root = tempfile::tempdir().unwrap();
        let service = root.path().join("services/tunnel");
        fs::create_dir_all(&service).unwrap();
        fs::write(service.join("Cargo.toml"), "").unwrap();
        let readers = Readers::of(root.path()).unwrap();
        assert_eq!(readers.unknown(), ["tunnel"]);
        assert_eq!(hurt(&readers, "$.a", Rule::FieldRemoved, Direction::Meaning).unwrap().len(), 1);
        assert!(format!("{:#}", reads_files(root.path()).unwrap_err()).contains("tunnel: "));
    }
}
