//! The gateway service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run(gateway::NAME, gateway::DEFAULTS, gateway::start)
}
