//! Calls with one home: the environment, the machine's time, sleeping, durable publishing.
//!
//! Reads tokens rather than the syntax tree, so that code inside macros (`assert!`, `select!`) counts too. Clippy's
//! disallowed-methods resolve types and catch renamed imports; this catches what they can't name and says where it
//! belongs.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Finding;
use super::sources::Source;

struct Ban {
    call: Call,
    homes: &'static [Home],
    advice: &'static str,
}

enum Call {
    /// `module::function`, also when imported.
    Path(&'static str, &'static str),
    /// `.method(`
    Method(&'static str),
}

enum Home {
    /// A folder, or a file without its extension.
    Path(&'static str),
    /// A program's `src/main.rs`.
    Main,
    /// A `benches` folder or a bench's own binary.
    Benches,
    /// A build script.
    Build,
}

const CONFIGURATION: &[Home] =
    &[Home::Path("libs/service/src/config"), Home::Path("libs/testkit"), Home::Path("xtask"), Home::Main, Home::Build];
const MACHINE_TIME: &[Home] = &[
    Home::Path("libs/clock"),
    Home::Path("libs/testkit"),
    Home::Path("xtask"),
    Home::Benches,
    // A sans-IO library takes `Instant`; this file is the one place that gives it one.
    Home::Path("clients/peer/src/webrtc/time.rs"),
];
const SLEEP: &[Home] = &[Home::Path("libs/clock"), Home::Path("libs/testkit"), Home::Path("xtask")];

const ENVIRONMENT_ADVICE: &str = "Make it a field of the service's configuration (libs/service), or a clap argument.";
const TIME_ADVICE: &str = "Take `now_ms` as an argument in pure code; hold a `clock::Clock` in code that does I/O.";
const SLEEP_ADVICE: &str =
    "Wait for the thing: a step function or `testkit::eventually` in tests, `clock::Clock` else.";

const BANS: &[Ban] = &[
    Ban { call: Call::Path("env", "var"), homes: CONFIGURATION, advice: ENVIRONMENT_ADVICE },
    Ban { call: Call::Path("env", "var_os"), homes: CONFIGURATION, advice: ENVIRONMENT_ADVICE },
    Ban { call: Call::Path("env", "vars"), homes: CONFIGURATION, advice: ENVIRONMENT_ADVICE },
    Ban { call: Call::Path("SystemTime", "now"), homes: MACHINE_TIME, advice: TIME_ADVICE },
    Ban { call: Call::Path("Instant", "now"), homes: MACHINE_TIME, advice: TIME_ADVICE },
    Ban { call: Call::Path("thread", "sleep"), homes: SLEEP, advice: SLEEP_ADVICE },
    Ban { call: Call::Path("time", "sleep"), homes: SLEEP, advice: SLEEP_ADVICE },
    Ban {
        call: Call::Method("publisher"),
        // `synapse contract verify` plays a broker that delivers twice or late, in a tenant of its own (ADR 0030).
        homes: &[
            Home::Path("libs/outbox"),
            Home::Path("libs/bus"),
            Home::Path("clients/synapse/src/contract"),
            Home::Path("services/synapsed/tests/it/defects"),
        ],
        advice: "Durable publishing goes through the outbox: append the event in the transaction that changes state.",
    },
];

/// Banned calls and imports of them, outside their homes.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let Ok(stream) = source.text.parse::<TokenStream>() else { return Vec::new() };
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    let bans = BANS.iter().filter(|ban| !ban.homes.iter().any(|home| home.holds(source)));
    bans.flat_map(|ban| {
        ban.call.lines(&tokens).into_iter().map(|line| {
            let rule = format!("`{}` is banned here", ban.call.shown());
            source.finding(line, rule, ban.advice)
        })
    })
    .collect()
}

impl Home {
    fn holds(&self, source: &Source) -> bool {
        let path = &source.path;
        match self {
            Self::Path(home) => source.lies_in(home) || path.with_extension("").as_path() == std::path::Path::new(home),
            Self::Main => path.ends_with("src/main.rs"),
            Self::Benches => path.components().any(|part| part.as_os_str() == "benches"),
            Self::Build => path.ends_with("build.rs") && !path.components().any(|part| part.as_os_str() == "src"),
        }
    }
}

impl Call {
    fn shown(&self) -> String {
        match self {
            Self::Path(module, function) => format!("{module}::{function}"),
            Self::Method(name) => format!(".{name}()"),
        }
    }

    fn lines(&self, tokens: &[Token]) -> Vec<usize> {
        let starts = 0..tokens.len();
        starts.filter_map(|start| self.line_at(&tokens[start..])).collect()
    }

    fn line_at(&self, tokens: &[Token]) -> Option<usize> {
        let begins = |words: &[&str]| {
            tokens.len() > words.len() && words.iter().zip(tokens).all(|(word, token)| token.text == *word)
        };
        match self {
            Self::Path(module, function) if begins(&[module, ":", ":"]) => {
                let rest = &tokens[3..];
                match rest.first()?.text.as_str() {
                    "{" => in_group(rest, function),
                    text => (text == *function).then(|| rest[0].line),
                }
            }
            Self::Method(name) if begins(&[".", name]) => (tokens[2].text == "(").then(|| tokens[1].line),
            _ => None,
        }
    }
}

// `use module::{a, function, b::{…}}`: the function as a direct member of the group.
fn in_group(tokens: &[Token], function: &str) -> Option<usize> {
    let mut depth = 0;
    for pair in tokens.windows(2) {
        match pair[0].text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return None;
        }
        let begins_member = pair[0].text == "{" || pair[0].text == ",";
        if depth == 1 && begins_member && pair[1].text == function {
            return Some(pair[1].line);
        }
    }
    None
}

struct Token {
    text: String,
    line: usize,
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let mut push = |text: String, line| tokens.push(Token { text, line });
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.to_owned(), line);
                let end = group.span_close().start().line;
                flatten(group.stream(), tokens);
                tokens.push(Token { text: close.to_owned(), line: end });
            }
            TokenTree::Ident(ident) => push(ident.to_string(), line),
            TokenTree::Punct(punct) => push(punct.as_char().to_string(), line),
            TokenTree::Literal(_) => push(String::new(), line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        check(&Source::new(path, text)).into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn planted_calls_are_found_with_their_line() {
        for (code, call) in [
            ("std::env::var(\"A\")", "env::var"),
            ("env::var_os(\"A\")", "env::var_os"),
            ("SystemTime::now()", "SystemTime::now"),
            ("tokio::time::Instant::now()", "Instant::now"),
            ("std::thread::sleep(wait)", "thread::sleep"),
            ("tokio::time::sleep(wait).await", "time::sleep"),
            ("let t = Some(1).map(|_| Instant::now)", "Instant::now"),
            ("assert!(a < Instant::now())", "Instant::now"),
            ("tokio::select! { _ = tokio::time::sleep(wait) => {} }", "time::sleep"),
            ("use tokio::time::{Duration, sleep, timeout}", "time::sleep"),
            ("use std::thread::{self, sleep as nap}", "thread::sleep"),
            ("self.bus.publisher().publish(event)", ".publisher()"),
        ] {
            let text = format!("fn f() {{\n    {code};\n}}\n");
            let rule = format!("`{call}` is banned here");
            assert_eq!(found("services/presence/src/store.rs", &text), [(2, rule)], "{code}");
        }
    }

    #[test]
    fn what_only_looks_like_it_passes() {
        for code in [
            "// std::env::var(\"A\")\nlet a = \"Instant::now()\";",
            "clock.sleep(wait).await;",
            "let v = env!(\"CARGO_MANIFEST_DIR\");",
            "use tokio::time::{timeout, error::Elapsed};",
            "fn publisher() {}\npublisher();\nself.publisher = 1;",
            "use std::time::{Duration, Instant};",
        ] {
            assert!(found("services/presence/src/store.rs", code).is_empty(), "{code}");
        }
    }

    #[test]
    fn each_call_is_free_in_its_homes() {
        let text = "fn f() { env::var(\"A\"); Instant::now(); thread::sleep(w); b.publisher(); }";
        for (path, banned) in [
            ("xtask/src/main.rs", &[".publisher()"][..]),
            ("libs/testkit/src/wait.rs", &[".publisher()"]),
            ("libs/clock/src/time.rs", &["env::var", ".publisher()"]),
            ("libs/service/src/config.rs", &["Instant::now", "thread::sleep", ".publisher()"]),
            ("libs/service/src/config/layers.rs", &["Instant::now", "thread::sleep", ".publisher()"]),
            ("services/webhook/src/main.rs", &["Instant::now", "thread::sleep", ".publisher()"]),
            ("libs/outbox/benches/relay.rs", &["env::var", "thread::sleep"]),
            ("libs/bus/src/nats.rs", &["env::var", "Instant::now", "thread::sleep"]),
        ] {
            let expected: Vec<String> = banned.iter().map(|call| format!("`{call}` is banned here")).collect();
            let rules: Vec<String> = found(path, text).into_iter().map(|(_, rule)| rule).collect();
            assert_eq!(rules, expected, "{path}");
        }
    }
}
