//! The signaling service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run(signaling::NAME, signaling::DEFAULTS, signaling::start)
}
