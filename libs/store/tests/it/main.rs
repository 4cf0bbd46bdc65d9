//! Both backends against one suite, and what is special about each.
#![allow(clippy::unwrap_used, missing_docs)]

mod conformance;
mod dynamo;
mod model;
mod observed;
mod sqlite;
