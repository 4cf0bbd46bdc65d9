//! Dev-only: real servers on free ports, a TCP proxy that fails on demand, [`eventually`].
//!
//! Nothing here leaks a process: a guard kills its child by pid when dropped, and the kernel kills it when the test
//! binary dies any other way. A missing server is a panic with the command that fetches it, never a skipped test.

#[cfg(feature = "contract")]
pub mod contract;
mod port;
mod process;
mod proxy;
mod scale;
pub mod servers;
mod wait;

pub use port::free_port;
pub use process::Process;
pub use proxy::TcpProxy;
pub use scale::scale;
pub use wait::{Attempt, eventually, eventually_blocking};
