//! Child processes: run them, and say in an error which command it was and what it printed.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `command` without standard input and returns what it printed to standard output.
///
/// # Errors
/// The program is missing or it failed; the error carries the last lines of what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("can't start `{shown}`"))?;
    if !output.status.success() {
        let printed = [output.stdout, output.stderr].concat();
        bail!("`{shown}` failed ({}):\n{}", output.status, last_lines(&String::from_utf8_lossy(&printed), 20));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as a person would type it, without its environment.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_with_what_it_printed() {
        let error = output(Command::new("sh").args(["-c", "echo first; echo why >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`sh -c") && text.contains("exit status: 3") && text.contains("  why\n"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = output(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(format!("{error:#}").contains("can't start `no-such-program-here`"));
    }

    #[test]
    fn output_is_returned() {
        assert_eq!(output(Command::new("echo").arg("hi")).unwrap(), "hi\n");
    }
}
