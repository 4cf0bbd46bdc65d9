//! Several tunnels in a TOML file.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use toml::{Table, Value};

use super::plan::{Problems, Settings, Wanted};

/// Most tunnels in a file.
const MAX_TUNNELS: usize = 64;

/// What a file says, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) settings: Settings,
    /// By their names, in the order of these.
    pub(super) tunnels: Vec<(String, Wanted)>,
    pub(super) problems: Problems,
}

/// Reads the file, and of its tunnels those with these names; without names all.
///
/// # Errors
/// When it can't be read, is no TOML, or lacks one of the names.
pub(super) fn read(path: &Path, names: &[String]) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    let table = text.parse::<Table>().with_context(|| format!("{} is no TOML", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut file = parse(table, folder);
    let known: Vec<String> = file.tunnels.iter().map(|(name, _)| name.clone()).collect();
    for name in names {
        ensure!(known.contains(name), "{} has no tunnel {name:?}; it has {}", path.display(), known.join(", "));
    }
    file.tunnels.retain(|(name, _)| names.is_empty() || names.contains(name));
    Ok(file)
}

fn parse(table: Table, folder: &Path) -> File {
    let mut file = File::default();
    let mut top = Fields { table, at: String::new(), problems: &mut file.problems };
    file.settings = Settings {
        edge: top.text("edge"),
        gateway: top.text("gateway"),
        subscription: top.text("subscription"),
        inspect: top.text("inspect"),
        inspect_requests: top.count("inspect_requests"),
        inspect_bytes: top.count("inspect_bytes"),
        inspect_body_bytes: top.count("inspect_body_bytes"),
        redact: top.texts("redact"),
    };
    let tunnels = top.table.remove("tunnels");
    if top.table.remove("token").is_some() {
        top.problems.add("token", "must not be in a file; set SYNAPSE_TOKEN");
    }
    top.nothing_else(
        "edge, gateway, subscription, inspect, inspect_requests, inspect_bytes, inspect_body_bytes, redact, [tunnels.NAME]",
    );
    match tunnels {
        Some(Value::Table(tunnels)) if (1..=MAX_TUNNELS).contains(&tunnels.len()) => {
            for (name, value) in tunnels {
                match value {
                    Value::Table(table) => {
                        let tunnel = tunnel(&name, table, folder, &mut file.problems);
                        file.tunnels.push((name, tunnel));
                    }
                    _ => file.problems.add(&format!("tunnels.{name}"), format!("must be a table: [tunnels.{name}]")),
                }
            }
        }
        _ => file.problems.add("tunnels", format!("must hold 1 to {MAX_TUNNELS} tables like [tunnels.web]")),
    }
    file
}

fn tunnel(name: &str, table: Table, folder: &Path, problems: &mut Problems) -> Wanted {
    let mut fields = Fields { table, at: format!("tunnels.{name}."), problems };
    let origin = match fields.table.remove("origin") {
        Some(Value::String(text)) => text,
        Some(Value::Integer(port)) => port.to_string(),
        _ => {
            fields
                .problems
                .add(&format!("tunnels.{name}.origin"), "must be a port, \"host:port\" or \"https://host:port\"");
            // Holds the place; the problem above keeps it from being used.
            "1".to_owned()
        }
    };
    let wanted = Wanted {
        origin,
        name: fields.text("name"),
        auth: fields.text("auth"),
        host_header: fields.text("host_header"),
        // Beside the file, wherever it is read from.
        origin_ca: fields.text("origin_ca").map(|path| folder.join(PathBuf::from(path))),
        insecure_origin: fields.flag("insecure_origin"),
        origin_http2: fields.flag("origin_http2"),
        agent_id: fields.text("agent_id"),
    };
    fields.nothing_else("origin, name, auth, host_header, origin_ca, insecure_origin, origin_http2, agent_id");
    wanted
}

/// A table that is read field by field.
struct Fields<'a> {
    table: Table,
    /// What stands before a field's name in a message.
    at: String,
    problems: &'a mut Problems,
}

impl Fields<'_> {
    fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) => Some(text),
            _ => self.wrong(key, "must be a text in quotes"),
        }
    }

    fn flag(&mut self, key: &str) -> bool {
        match self.table.remove(key) {
            Some(Value::Boolean(flag)) => flag,
            Some(_) => self.wrong(key, "must be true or false").unwrap_or_default(),
            None => false,
        }
    }

    fn count(&mut self, key: &str) -> Option<usize> {
        match self.table.remove(key)? {
            Value::Integer(count) if count > 0 => usize::try_from(count).ok(),
            _ => self.wrong(key, "must be a whole number above 0"),
        }
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let rule = "must be a list of texts: [\"one\", \"two\"]";
        match self.table.remove(key) {
            None => Vec::new(),
            Some(Value::Array(list)) => {
                let texts: Option<Vec<String>> = list.iter().map(|text| text.as_str().map(str::to_owned)).collect();
                texts.or_else(|| self.wrong(key, rule)).unwrap_or_default()
            }
            Some(_) => self.wrong(key, rule).unwrap_or_default(),
        }
    }

    fn nothing_else(&mut self, known: &str) {
        for key in self.table.keys() {
            self.problems.add(&format!("{}{key}", self.at), format!("is no setting; there are {known}"));
        }
    }

    fn wrong<T>(&mut self, key: &str, rule: &str) -> Option<T> {
        self.problems.add(&format!("{}{key}", self.at), rule);
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> File {
        parse(text.parse().unwrap(), Path::new("/etc/synapse"))
    }

    #[test]
    fn the_guides_example_reads_as_it_says() {
        let guide = include_str!("../../../../docs/guide/tunnels.md");
        let example = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let file = parsed(example);
        file.problems.none().unwrap();
        let names: Vec<&str> = file.tunnels.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["api", "grpc", "web"]);
        let mut problems = Problems::default();
        let web = file.tunnels[2].1.ready(Some("web"), &mut problems).unwrap();
        assert_eq!((web.origin.url().as_str(), web.name.as_deref()), ("http://127.0.0.1:3000", Some("blue")));
        assert!(file.tunnels[1].1.origin_http2);
        assert_eq!(file.tunnels[0].1.origin_ca.as_deref(), Some(Path::new("/etc/synapse/dev-ca.pem")));
        assert_eq!(file.settings.redact, ["X-Signing-Key"]);
    }

    #[test]
    fn every_problem_of_a_file_is_told_at_once() {
        let file = parsed(
            "edge = 7\ntoken = \"t\"\nnonsense = 1\ninspect_bytes = -1\nredact = [1]\n\
             [tunnels.web]\norigin = true\nname = 5\norigin_http2 = \"yes\"\nnmae = \"x\"\n[tunnels]\nother = 3",
        );
        let text = file.problems.none().unwrap_err().to_string();
        for field in [
            "edge: must be a text",
            "token: must not be in a file",
            "nonsense: is no setting",
            "inspect_bytes: must be a whole number",
            "redact: must be a list",
            "tunnels.web.origin: must be a port",
            "tunnels.web.name: must be a text",
            "tunnels.web.origin_http2: must be true or false",
            "tunnels.web.nmae: is no setting",
            "tunnels.other: must be a table",
        ] {
            assert!(text.contains(&format!("\n  {field}")), "{field} in {text}");
        }
        assert!(text.starts_with("10 problems:"), "{text}");
        assert!(parsed("").problems.none().unwrap_err().to_string().starts_with("tunnels: must hold 1 to 64"));
    }

    #[test]
    fn a_name_that_the_file_lacks_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("synapse.toml");
        std::fs::write(&path, "[tunnels.a]\norigin = 1\n[tunnels.b]\norigin = \"2\"\n").unwrap();
        assert_eq!(read(&path, &["b".into()]).unwrap().tunnels.len(), 1);
        let error = read(&path, &["c".into()]).unwrap_err().to_string();
        assert!(error.ends_with("has no tunnel \"c\"; it has a, b"), "{error}");
        assert!(read(&folder.path().join("none"), &[]).unwrap_err().to_string().contains("can't be read"));
    }
}
