//! Every service in one process: the same `start` functions as the separate programs, on one bus, one public port and
//! one store file each. The only crate that links services.

pub mod catalogue;
pub mod development;
pub mod example;
pub mod fleet;

pub use fleet::Fleet;
