use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{COMMON_DEFAULTS, Checks, Common, ConfigProblem, Validate};
use crate::http::{ForwardedHeader, TrustedProxies};

/// The name under which the platform's settings are loaded.
pub const PLATFORM: &str = "platform";

/// Every platform setting and its default, in layers.
pub const PLATFORM_DEFAULTS: &[&str] = &[COMMON_DEFAULTS, include_str!("../platform.toml")];

/// Settings of every process; `platform.toml` explains each and holds the defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // platform.toml is their documentation
pub struct PlatformConfig {
    #[serde(flatten)]
    pub common: Common,
    pub bus: String,
    pub nats_url: String,
    pub store: String,
    pub sqs_endpoint: String,
    pub aws_region: String,
    pub create_resources: bool,
    pub http_listen: SocketAddr,
    pub tls_cert_file: String,
    pub tls_key_file: String,
    pub trusted_proxies: Vec<String>,
    pub forwarded_header: ForwardedHeader,
    pub relay_in_flight: usize,
    pub consume_in_flight: usize,
    pub consume_lease_ms: u64,
    pub secret_refresh_ms: u64,
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusTarget {
    /// In process.
    Embedded,
    /// A NATS server.
    Nats(String),
    /// SQS for events, NATS for the rest.
    Sqs,
}

/// Where state goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreTarget {
    /// SQLite files in this folder.
    Sqlite(PathBuf),
    /// DynamoDB, at another endpoint where one is named.
    Dynamo(Option<String>),
}

impl PlatformConfig {
    /// Where messages go; `None` when `bus` names no such place.
    pub fn bus_target(&self) -> Option<BusTarget> {
        match self.bus.as_str() {
            "embedded" => Some(BusTarget::Embedded),
            "sqs" => Some(BusTarget::Sqs),
            url if is_nats(url) => Some(BusTarget::Nats(url.to_owned())),
            _ => None,
        }
    }

    /// The proxies whose word about clients counts; none when `trusted_proxies` can't be read.
    pub fn proxies(&self) -> TrustedProxies {
        TrustedProxies::parse(&self.trusted_proxies, self.forwarded_header).unwrap_or_default()
    }

    /// The files of the public listener's certificate and key, where it speaks TLS.
    pub fn tls_files(&self) -> Option<(&Path, &Path)> {
        let given = !self.tls_cert_file.is_empty() && !self.tls_key_file.is_empty();
        given.then(|| (Path::new(&self.tls_cert_file), Path::new(&self.tls_key_file)))
    }

    /// Where state goes; `None` when `store` names no such place.
    pub fn store_target(&self) -> Option<StoreTarget> {
        if let Some(folder) = self.store.strip_prefix("sqlite:") {
            return (!folder.is_empty()).then(|| StoreTarget::Sqlite(folder.into()));
        }
        if let Some(address) = self.store.strip_prefix("dynamodb://") {
            return (!address.is_empty()).then(|| StoreTarget::Dynamo(Some(format!("http://{address}"))));
        }
        (self.store == "dynamodb").then_some(StoreTarget::Dynamo(None))
    }
}

fn is_nats(url: &str) -> bool {
    url.strip_prefix("nats://").or_else(|| url.strip_prefix("tls://")).is_some_and(|rest| !rest.is_empty())
}

impl Validate for PlatformConfig {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.extend(self.common.problems());
        checks.range("relay_in_flight", self.relay_in_flight, 1..=10_000);
        checks.range("consume_in_flight", self.consume_in_flight, 1..=10_000);
        checks.range("consume_lease_ms", self.consume_lease_ms, 1_000..=600_000);
        checks.range("secret_refresh_ms", self.secret_refresh_ms, 100..=3_600_000);
        let bus = self.bus_target();
        checks.require(bus.is_some(), "bus", "names no bus", "use `embedded`, `nats://host:port` or `sqs`");
        let has_nats = bus != Some(BusTarget::Sqs) || is_nats(&self.nats_url);
        let rule = "`bus = \"sqs\"` needs NATS for requests and signals";
        checks.require(has_nats, "nats_url", rule, "use `nats://host:port`");
        let fix = "use `sqlite:<folder>`, `dynamodb` or `dynamodb://host:port`";
        checks.require(self.store_target().is_some(), "store", "names no store", fix);
        let both = self.tls_cert_file.is_empty() == self.tls_key_file.is_empty();
        let fix = "give the other file too, or neither for plain HTTP";
        checks.require(both, "tls_cert_file", "and tls_key_file go together", fix);
        if let Err(text) = TrustedProxies::parse(&self.trusted_proxies, self.forwarded_header) {
            let rule = format!("{text:?} is no network");
            checks.require(false, "trusted_proxies", &rule, "write networks as 10.0.0.0/8, or single addresses");
        }
        checks.finish()
    }
}
