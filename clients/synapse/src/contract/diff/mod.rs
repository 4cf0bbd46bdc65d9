//! `synapse contract diff A B`: what changed between two sets of contracts, in words, and whom it breaks.

mod fields;
mod set;

use std::fmt::Write;

use contract_gate::{Violation, judge};
use serde::Serialize;

use set::{Message, Readers, Set};

/// What happened to one message.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Its name; replies have `.reply` appended.
    pub message: String,
    /// `new`, `removed`, `retired`, `ending`, `changed`.
    pub what: &'static str,
    /// In words, one line each.
    pub words: Vec<String>,
    /// Every rule of compatibility that the change breaks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<String>,
    /// Services whose reads it breaks, each with what it reads there; `?` where nobody recorded who reads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<String>,
}

/// The difference.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Whether nobody is broken.
    pub ok: bool,
    /// Messages compared.
    pub compared: usize,
    /// What changed, by name.
    pub changes: Vec<Change>,
}

/// Compares two sets: `built-in`, a checkout, a folder of goldens, or a release's baseline, whose services count as
/// readers of the newer set as well.
///
/// # Errors
/// A set can't be read.
pub fn diff(old: &str, new: &str) -> anyhow::Result<Difference> {
    let (before, mut after) = (Set::load(old)?, Set::load(new)?);
    if before.is_release {
        for (message, readers) in &before.readers {
            let known = after.readers.entry(message.clone()).or_default();
            known.extend(readers.iter().map(|(service, paths)| (service.clone(), paths.clone())));
        }
    }
    let mut names: Vec<&String> = before.messages.keys().chain(after.messages.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let compared = names.len();
    let none = Readers::new();
    let changes: Vec<Change> = names
        .into_iter()
        .filter_map(|name| {
            let readers = after.readers.get(name).unwrap_or(&none);
            change(name, before.messages.get(name), after.messages.get(name), readers)
        })
        .collect();
    Ok(Difference { ok: changes.iter().all(|change| change.breaks.is_empty()), compared, changes })
}

fn change(name: &str, old: Option<&Message>, new: Option<&Message>, readers: &Readers) -> Option<Change> {
    let made =
        |what, words, violations, breaks| Some(Change { message: name.to_owned(), what, words, violations, breaks });
    let everybody = || readers.keys().map(|service| format!("{service}, which reads it")).collect::<Vec<_>>();
    match (old, new) {
        (None, None) => None,
        (None, Some(_)) => made("new", vec!["is new".to_owned()], Vec::new(), Vec::new()),
        (Some(_), None) => made("removed", vec!["is gone".to_owned()], Vec::new(), everybody()),
        (Some(old), Some(new)) if new.is_retired && !old.is_retired => {
            made("retired", vec!["was retired; its name is not used again".to_owned()], Vec::new(), everybody())
        }
        (Some(old), Some(new)) => {
            let mut words = fields::words(&old.schema, &new.schema);
            if old.sunset != new.sunset {
                words.push(match &new.sunset {
                    Some(date) => format!("will end on {date}"),
                    None => "is no longer going to end".to_owned(),
                });
            }
            let violations = judge(&old.schema, &new.schema);
            if words.is_empty() && violations.is_empty() {
                return None;
            }
            let what = if words.len() == 1 && old.sunset != new.sunset { "ending" } else { "changed" };
            let breaks = whom(name, &violations, readers);
            made(what, words, violations.iter().map(Violation::to_string).collect(), breaks)
        }
    }
}

/// Whom these violations break. A reader whose paths are recorded is bound by them alone; others by everything.
fn whom(name: &str, violations: &[Violation], readers: &Readers) -> Vec<String> {
    if violations.is_empty() {
        return Vec::new();
    }
    if readers.is_empty() {
        let (owner, rest) = name.split_once('.').unwrap_or((name, ""));
        let is_event = contracts::catalogue().iter().any(|e| e.kind == name && e.class == contracts::Class::Event);
        // Of an event it is known who reads it; of the rest only that both ends do.
        return match (is_event, rest.ends_with(".reply")) {
            (true, _) => Vec::new(),
            (false, true) => vec![format!("whoever asks {owner}")],
            (false, false) => vec![format!("{owner}, or whoever sends it (not recorded who reads which field)")],
        };
    }
    let mut broken = Vec::new();
    for (service, paths) in readers {
        let Some(paths) = paths else {
            broken.push(format!("{service} (not recorded which fields it reads)"));
            continue;
        };
        let mut hit: Vec<&String> = paths
            .iter()
            .filter(|path| violations.iter().any(|violation| touches(&normal(&violation.path), path)))
            .collect();
        hit.dedup();
        if !hit.is_empty() {
            let list: Vec<String> = hit.into_iter().map(|path| format!("`{path}`")).collect();
            broken.push(format!("{service}, which reads {}", list.join(", ")));
        }
    }
    broken
}

/// `$<type=offer>.sdp` → `sdp`, as reads are written.
fn normal(path: &str) -> String {
    let mut out = String::new();
    let mut depth = 0;
    for letter in path.chars() {
        match letter {
            '<' => depth += 1,
            '>' if depth > 0 => depth -= 1,
            _ if depth == 0 => out.push(letter),
            _ => {}
        }
    }
    out.trim_start_matches('$').trim_start_matches('.').to_owned()
}

/// Whether a change at `changed` concerns whoever reads `read`: there, above it, or (for a list or map) inside it.
fn touches(changed: &str, read: &str) -> bool {
    let below = |outer: &str, inner: &str| {
        outer.is_empty()
            || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    below(changed, read)
}

impl Difference {
    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for change in &self.changes {
            let mark = if change.breaks.is_empty() { " " } else { "✗" };
            let _ = writeln!(out, "\n{mark} {}", change.message);
            for words in &change.words {
                let _ = writeln!(out, "    {words}");
            }
            for violation in &change.violations {
                let _ = writeln!(out, "    incompatible: {violation}");
            }
            match (change.breaks.is_empty(), change.violations.is_empty()) {
                (false, _) => change.breaks.iter().for_each(|who| {
                    let _ = writeln!(out, "    BREAKS {who}");
                }),
                (true, false) => out.push_str("    breaks nobody: no recorded reader reads it\n"),
                (true, true) => out.push_str("    breaks nobody\n"),
            }
        }
        let broken = self.changes.iter().filter(|change| !change.breaks.is_empty()).count();
        let _ = writeln!(
            out,
            "\n{} messages compared, {} changed, {broken} of them break somebody",
            self.compared,
            self.changes.len()
        );
        out
    }
}

#[cfg(test)]
mod tests;
