//! The subscription service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run(subscription::NAME, subscription::DEFAULTS, subscription::start)
}
