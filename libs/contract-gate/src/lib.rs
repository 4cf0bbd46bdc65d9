//! The compatibility gate: may this schema replace that one inside a major version?
//!
//! Both directions must hold (FULL): today's reader reads yesterday's data (backward) and yesterday's reader reads
//! today's data (forward), against every revision ever committed. A reader here is a serde type: it ignores fields it
//! doesn't know unless it denies them, takes a missing optional field, and reads any value of an open enum
//! (`x-unknown`, our mark for `#[serde(other)]`). Beyond parsing, nothing that was told may fall silent: a dropped
//! field, a value that now reads as `unknown` or a changed default parses well and still breaks whoever relied on it.
//!
//! The rules are in `rule`, the comparison in `diff` over the normal form of `shape`; [`crosscheck`] generates
//! `instances` and holds the verdict against real parsers.

mod crosscheck;
#[cfg(test)]
mod curated;
mod diff;
mod instances;
mod meaning;
mod rule;
mod shape;

pub use crosscheck::{Reparse, Subject, crosscheck};
pub use rule::{Direction, Rule, Violation};

use serde_json::Value;

/// Every reason why `new` may not replace `old`; empty when it may.
pub fn judge(old: &Value, new: &Value) -> Vec<Violation> {
    let mut violations = diff::unreadable(old, new, Direction::Backward);
    violations.extend(diff::unreadable(new, old, Direction::Forward));
    violations.extend(meaning::lost(old, new));
    violations
}
