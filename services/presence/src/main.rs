//! The presence service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run(presence::NAME, presence::DEFAULTS, presence::start)
}
