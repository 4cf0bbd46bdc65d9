//! Test servers and validators, fetched by package name at pinned versions into `.tools/`, which git ignores.
//!
//! A stamp file per tool holds its pin: a tool whose stamp matches is left alone, so a second run is instant and a
//! changed pin reinstalls. A file lock per tool keeps parallel runs from tripping each other.

mod apt;
mod cargo;
mod node;
mod python;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::stopwatch::Stopwatch;

/// A thing to fetch.
pub(crate) struct Tool {
    /// Its name on the command line, and its folder under `.tools/`.
    pub(crate) name: &'static str,
    /// What it is pinned to, as shown to people.
    pub(crate) version: &'static str,
    source: Source,
    /// The file whose existence proves it is there, relative to its folder.
    program: &'static str,
}

enum Source {
    /// A Debian package: this file of it.
    Debian { package: &'static str, file: &'static str },
    /// A Debian package with all it needs: `bin/<name>` starts this program of it.
    DebianTree { package: &'static str, program: &'static str },
    /// A virtual environment with what this requirements file (under `xtask/tools/`) lists.
    Python { requirements: &'static str, text: &'static str },
    /// The npm packages that a lock file under `xtask/tools/` names.
    Npm { package: &'static str, lock: &'static str },
    /// A program built from the crate registry.
    Cargo { krate: &'static str, arguments: &'static [&'static str] },
    /// The same, unless a program of that name is on PATH already.
    CargoUnlessOnPath { krate: &'static str },
}

/// Everything the tests and checks need, in the order of fetching: quick and most needed first.
pub(crate) const TOOLS: &[Tool] = &[
    Tool {
        name: "nats-2.9.10",
        version: "2.9.10",
        source: Source::Debian { package: "nats-server", file: "usr/sbin/nats-server" },
        program: "bin/nats-server",
    },
    Tool {
        name: "nats-2.15.1",
        version: "2.15.1",
        source: Source::Python { requirements: "nats-server.txt", text: include_str!("../tools/nats-server.txt") },
        program: "bin/nats-server",
    },
    Tool {
        name: "moto",
        version: "5.2.5",
        source: Source::Python { requirements: "moto.txt", text: include_str!("../tools/moto.txt") },
        program: "bin/moto_server",
    },
    Tool {
        name: "dynoxide",
        version: "3.2.0",
        source: Source::Cargo {
            krate: "dynoxide-rs",
            arguments: &["--no-default-features", "--features", "native-sqlite,http-server,cli"],
        },
        program: "bin/dynoxide",
    },
    Tool {
        name: "validators",
        version: "check-jsonschema 0.39.0, kubernetes-validate 1.37.0, hadolint 2.15.1",
        source: Source::Python { requirements: "validators.txt", text: include_str!("../tools/validators.txt") },
        program: "bin/check-jsonschema",
    },
    Tool {
        name: "openapi",
        version: "openapi-spec-validator 0.9.0, schemathesis 4.32.5",
        source: Source::Python { requirements: "openapi.txt", text: include_str!("../tools/openapi.txt") },
        program: "bin/schemathesis",
    },
    Tool {
        name: "npm",
        version: "@asyncapi/parser 3.6.3, typescript 5.9.3",
        source: Source::Npm {
            package: include_str!("../tools/npm/package.json"),
            lock: include_str!("../tools/npm/package-lock.json"),
        },
        program: "node_modules/@asyncapi/parser/package.json",
    },
    Tool {
        name: "stripe-python",
        version: "stripe 16.1.0",
        source: Source::Python { requirements: "stripe-python.txt", text: include_str!("../tools/stripe-python.txt") },
        program: "bin/python",
    },
    Tool {
        name: "stripe-node",
        version: "stripe 23.1.0, stripe 16.12.0 (2024-06-20)",
        source: Source::Npm {
            package: include_str!("../tools/stripe-node/package.json"),
            lock: include_str!("../tools/stripe-node/package-lock.json"),
        },
        program: "node_modules/stripe/package.json",
    },
    // By name: Debian keeps only the newest one, and browsers must be new.
    Tool {
        name: "chromium",
        version: "Debian's newest",
        source: Source::DebianTree { package: "chromium", program: "usr/lib/chromium/chromium" },
        program: "bin/chromium",
    },
    Tool {
        name: "coturn",
        version: "Debian's newest",
        source: Source::DebianTree { package: "coturn", program: "usr/bin/turnserver" },
        program: "bin/turnserver",
    },
    Tool {
        name: "playwright",
        version: "playwright-core 1.65.1",
        source: Source::Npm {
            package: include_str!("../tools/playwright/package.json"),
            lock: include_str!("../tools/playwright/package-lock.json"),
        },
        program: "node_modules/playwright-core/package.json",
    },
    Tool {
        name: "aiortc",
        version: "aiortc 1.16.0, websockets 17.4",
        source: Source::Python { requirements: "aiortc.txt", text: include_str!("../tools/aiortc.txt") },
        program: "bin/python",
    },
    Tool {
        name: "cargo-deny",
        version: "0.20.2",
        source: Source::CargoUnlessOnPath { krate: "cargo-deny" },
        program: "bin/cargo-deny",
    },
    Tool {
        name: "cargo-audit",
        version: "0.22.2",
        source: Source::CargoUnlessOnPath { krate: "cargo-audit" },
        program: "bin/cargo-audit",
    },
];

/// The folder all tools live in.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join(".tools")
}

/// The program of the tool `name`.
///
/// # Panics
/// When [`TOOLS`] has no such tool: a misspelt name in this crate.
pub(crate) fn home(root: &Path, name: &str) -> PathBuf {
    assert!(TOOLS.iter().any(|tool| tool.name == name), "`{name}` is not in tools::TOOLS");
    folder(root).join(name)
}

/// Fetches every tool.
///
/// # Errors
/// As [`fetch`].
pub(crate) fn fetch_all(root: &Path) -> Result<()> {
    fetch(root, &TOOLS.iter().map(|tool| tool.name).collect::<Vec<_>>())
}

/// Fetches the tools of these names and prints a line for each.
///
/// # Errors
/// An unknown name, or a tool that can't be fetched; the others are still tried.
pub(crate) fn fetch(root: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        ensure!(
            TOOLS.iter().any(|tool| tool.name == *name),
            "there is no tool `{name}`; there are: {}",
            TOOLS.iter().map(|tool| tool.name).collect::<Vec<_>>().join(", ")
        );
    }
    let folder = folder(root);
    fs::create_dir_all(folder.join("stamps")).with_context(|| format!("can't create {}", folder.display()))?;
    fs::create_dir_all(folder.join("locks")).with_context(|| format!("can't create {}", folder.display()))?;
    let wanted = TOOLS.iter().filter(|tool| names.contains(&tool.name));
    let mut failed = Vec::new();
    for tool in wanted {
        let watch = Stopwatch::start();
        match tool.fetch(&folder) {
            Ok(state) => eprintln!("tool {:<12} {:<10} {} ({})", tool.name, state, tool.version, watch),
            Err(error) => {
                eprintln!("tool {:<12} FAILED     {}\n{error:#}", tool.name, tool.version);
                failed.push(tool.name);
            }
        }
    }
    ensure!(failed.is_empty(), "these tools could not be fetched: {} (reasons above)", failed.join(", "));
    Ok(())
}

impl Tool {
    fn fetch(&self, folder: &Path) -> Result<&'static str> {
        if let Source::CargoUnlessOnPath { krate } = self.source
            && cargo::on_path(krate)
        {
            return Ok("on PATH");
        }
        let lock = File::create(folder.join("locks").join(self.name)).context("can't create a lock file in .tools")?;
        lock.lock().context("can't lock a file in .tools")?;
        let (home, stamp) = (folder.join(self.name), folder.join("stamps").join(self.name));
        let pin = self.pin(&home);
        let stamped = fs::read_to_string(&stamp).is_ok_and(|written| written == pin);
        if stamped && home.join(self.program).exists() {
            return Ok("ready");
        }
        remove(&stamp)?;
        remove(&home)?;
        match self.source {
            Source::Debian { package, file } => apt::install(&home, package, file, self.version),
            Source::DebianTree { package, program } => apt::unpack(&home, package, program),
            Source::Python { requirements, text } => python::install(&home, requirements, text),
            Source::Npm { package, lock } => node::install(&home, package, lock),
            Source::Cargo { krate, arguments } => cargo::install(folder, &home, krate, self.version, arguments),
            Source::CargoUnlessOnPath { krate } => cargo::install(folder, &home, krate, self.version, &[]),
        }?;
        ensure!(home.join(self.program).exists(), "installed, but {} is not there", home.join(self.program).display());
        fs::write(&stamp, pin).with_context(|| format!("can't write {}", stamp.display()))?;
        Ok("installed")
    }

    // Everything that decides what gets installed: a change of it reinstalls.
    fn pin(&self, home: &Path) -> String {
        let detail = match self.source {
            Source::Debian { package, file } => format!("debian {package} {file}"),
            Source::DebianTree { package, program } => format!("debian {package} {program}"),
            // A virtual environment's programs name their interpreter by its full path: a moved clone needs a new one.
            Source::Python { text, .. } => format!("python {}\n{text}", home.display()),
            Source::Npm { lock, .. } => format!("npm\n{lock}"),
            Source::Cargo { krate, arguments } => format!("cargo {krate} {}", arguments.join(" ")),
            Source::CargoUnlessOnPath { krate } => format!("cargo {krate}"),
        };
        format!("{} {}\n{detail}\n", self.name, self.version)
    }
}

fn remove(path: &Path) -> Result<()> {
    let done = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANTED: Tool = Tool {
        name: "planted",
        version: "1.0",
        source: Source::Cargo { krate: "no-such-crate", arguments: &[] },
        program: "bin/planted",
    };

    #[test]
    fn a_stamped_tool_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("planted/bin")).unwrap();
        fs::create_dir_all(folder.path().join("stamps")).unwrap();
        fs::create_dir_all(folder.path().join("locks")).unwrap();
        fs::write(folder.path().join("planted/bin/planted"), "").unwrap();
        fs::write(folder.path().join("stamps/planted"), PLANTED.pin(Path::new(""))).unwrap();
        assert_eq!(PLANTED.fetch(folder.path()).unwrap(), "ready");
    }

    #[test]
    fn names_and_pins_differ() {
        for (index, tool) in TOOLS.iter().enumerate() {
            let pin = |tool: &Tool| tool.pin(Path::new("home"));
            assert!(TOOLS[..index].iter().all(|other| other.name != tool.name && pin(other) != pin(tool)));
        }
    }

    #[test]
    fn a_moved_clone_gets_new_virtual_environments() {
        for tool in TOOLS {
            let moved = tool.pin(Path::new("/a")) != tool.pin(Path::new("/b"));
            assert_eq!(moved, matches!(tool.source, Source::Python { .. }), "{}", tool.name);
        }
    }

    #[test]
    fn shown_versions_are_the_pinned_ones() {
        for tool in TOOLS {
            let text = match tool.source {
                Source::Python { text, .. } => text,
                Source::Npm { lock, .. } => lock,
                _ => continue,
            };
            for version in
                tool.version.split([' ', ',', '(', ')']).filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            {
                assert!(text.contains(version), "{}: {version} is not in its pins", tool.name);
            }
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = fetch(Path::new("/nonexistent"), &["natz"]).unwrap_err().to_string();
        assert!(error.contains("no tool `natz`") && error.contains("nats-2.9.10, "), "{error}");
    }
}
