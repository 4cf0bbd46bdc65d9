//! The HTTP shell: what every service that serves HTTP has around its routes.
//!
//! [`Shell::wrap`] gives a router request and correlation ids, limits, a span, metrics, and answers every error as a
//! problem (RFC 9457). [`serve`] runs it on a listener until told to stop, then drains.

mod client_address;
mod context;
mod guard;
mod limits;
pub mod problem;
mod problem_table;
mod serve;
mod settings;
mod shell;
mod tls;

pub use client_address::{ClientAddress, ForwardedHeader, Secure, TrustedProxies};
pub use context::RequestContext;
pub use limits::{HttpLimits, path_is_safe};
pub use problem::{Code, ProblemResponse};
pub use serve::{ServeOptions, Served, serve, serve_tls};
pub use settings::{HTTP_DEFAULTS, HttpSettings};
pub use shell::{Shell, Verbatim};
pub use tls::{Tls, TlsError};
