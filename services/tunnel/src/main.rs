//! The tunnel service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run(tunnel::NAME, tunnel::DEFAULTS, tunnel::start)
}
