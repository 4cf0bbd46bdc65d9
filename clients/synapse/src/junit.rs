//! JUnit's XML, as build servers read it: what both of this program's reports for machines have in common.

use std::fmt::Write;

/// Cases that belong together.
pub(crate) struct Suite<'a> {
    pub(crate) name: &'a str,
    pub(crate) cases: Vec<Case<'a>>,
}

/// One thing that was looked at.
pub(crate) struct Case<'a> {
    /// What it is a part of.
    pub(crate) class: String,
    pub(crate) name: &'a str,
    pub(crate) took_ms: Option<u64>,
    pub(crate) outcome: Outcome<'a>,
}

/// What it came to.
pub(crate) enum Outcome<'a> {
    Passed,
    /// It could not be looked at, and why.
    Skipped(&'a str),
    /// It was not as it should be: in a line, and at length.
    Failed {
        message: &'a str,
        details: String,
    },
}

/// The whole document.
pub(crate) fn document(name: &str, suites: &[Suite<'_>]) -> String {
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\">\n", escaped(name));
    for suite in suites {
        write_suite(&mut out, suite);
    }
    out.push_str("</testsuites>\n");
    out
}

fn write_suite(out: &mut String, suite: &Suite<'_>) {
    let count = |which: fn(&Outcome<'_>) -> bool| suite.cases.iter().filter(|case| which(&case.outcome)).count();
    let failures = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let _ = write!(
        out,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"",
        escaped(suite.name),
        suite.cases.len()
    );
    let took: Option<u64> = suite.cases.iter().map(|case| case.took_ms).sum();
    let _ = writeln!(out, "{}>", time(took.filter(|_| !suite.cases.is_empty())));
    for case in &suite.cases {
        let (class, name, time) = (escaped(&case.class), escaped(case.name), time(case.took_ms));
        let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{name}\"{time}");
        let _ = match &case.outcome {
            Outcome::Passed => writeln!(out, "/>"),
            Outcome::Skipped(why) => writeln!(out, "><skipped message=\"{}\"/></testcase>", escaped(why)),
            Outcome::Failed { message, details } => {
                writeln!(out, "><failure message=\"{}\">{}</failure></testcase>", escaped(message), escaped(details))
            }
        };
    }
    out.push_str("  </testsuite>\n");
}

fn time(took_ms: Option<u64>) -> String {
    took_ms.map_or_else(String::new, |ms| format!(" time=\"{}.{:03}\"", ms / 1_000, ms % 1_000))
}

/// Text for XML 1.0, in an element or an attribute: the five entities, and U+FFFD for every character that it can't
/// carry at all (§2.2).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' => out.push(letter),
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_counts_right_and_carries_any_text() {
        let case = |name, outcome| Case { class: "a \"class\"".into(), name, took_ms: Some(1_234), outcome };
        let details = "expected <a>\ngot \u{1}\u{7f}\r\u{ffff} & 'b'".to_owned();
        let cases = vec![
            case("one", Outcome::Passed),
            case("two", Outcome::Failed { message: "1 < 2 & \"so\"", details }),
            case("three", Outcome::Skipped("no lever")),
        ];
        let untimed = Case { class: "c".into(), name: "n", took_ms: None, outcome: Outcome::Passed };
        let suites = [Suite { name: "s", cases }, Suite { name: "t", cases: vec![untimed] }];
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"d\">\n\
            \x20 <testsuite name=\"s\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"3.702\">\n\
            \x20   <testcase classname=\"a &quot;class&quot;\" name=\"one\" time=\"1.234\"/>\n\
            \x20   <testcase classname=\"a &quot;class&quot;\" name=\"two\" time=\"1.234\">\
            <failure message=\"1 &lt; 2 &amp; &quot;so&quot;\">expected &lt;a&gt;\n\
            got \u{fffd}\u{fffd}\u{fffd}\u{fffd} &amp; &apos;b&apos;</failure></testcase>\n\
            \x20   <testcase classname=\"a &quot;class&quot;\" name=\"three\" time=\"1.234\">\
            <skipped message=\"no lever\"/></testcase>\n\
            \x20 </testsuite>\n\
            \x20 <testsuite name=\"t\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"0\">\n\
            \x20   <testcase classname=\"c\" name=\"n\"/>\n\
            \x20 </testsuite>\n</testsuites>\n";
        assert_eq!(document("d", &suites), expected);
    }
}
