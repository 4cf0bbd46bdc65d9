//! The webhook service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run(webhook::NAME, webhook::DEFAULTS, webhook::start)
}
