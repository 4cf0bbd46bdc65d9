use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};

use crate::{StoreError, StoreErrorKind};

/// Which table to use and how patient to be. [`DynamoOptions::table`] gives the defaults.
#[derive(Clone, Debug)]
pub struct DynamoOptions {
    /// The table's name.
    pub table: String,
    /// Where the service is, `http://` or `https://`; `None`: where AWS has it for the region.
    pub endpoint: Option<String>,
    /// The region; `None`: the one of the AWS configuration (environment, profile), `us-east-1` for an emulator.
    pub region: Option<String>,
    /// Who asks.
    pub credentials: DynamoCredentials,
    /// Whether to make the table (on-demand billing, with its index and TTL) where it is missing. For development and
    /// emulators; in production the table is infrastructure. Default false.
    pub create_table: bool,
    /// How long a new table may take to become usable. Default 60,000 ms.
    pub create_timeout_ms: u64,
    /// For one TCP and TLS connection. Default 2,000 ms.
    pub connect_timeout_ms: u64,
    /// For one request. Default 5,000 ms.
    pub attempt_timeout_ms: u64,
    /// For one call with the SDK's own repetitions. Default 15,000 ms.
    pub timeout_ms: u64,
    /// Requests the SDK makes for one call, the first included, when they fail in a way that may pass. A transaction
    /// repeats under its first token, so it happens once. Default 4.
    pub attempts_max: u32,
    /// How often a transaction is tried when another one holds its keys, before it ends as `Contended`. Default 10.
    pub contended_attempts_max: u32,
    /// Bound of the first random pause between those tries; it doubles each time. Default 10 ms.
    pub pause_first_ms: u64,
    /// Bound of the longest such pause. Default 500 ms.
    pub pause_max_ms: u64,
    /// Requests one page may take when most of what it reads has expired. Default 10.
    pub query_rounds_max: u32,
    /// Calls under way at once; further ones wait their turn. Default 256.
    pub in_flight_max: usize,
}

/// Where the credentials come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DynamoCredentials {
    /// The AWS SDK's default chain: environment, profile, web identity, container, instance.
    Chain,
    /// Fixed words for an emulator, which checks none.
    Emulator,
}

impl DynamoOptions {
    /// The defaults for a table of AWS.
    pub fn table(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            endpoint: None,
            region: None,
            credentials: DynamoCredentials::Chain,
            create_table: false,
            create_timeout_ms: 60_000,
            connect_timeout_ms: 2_000,
            attempt_timeout_ms: 5_000,
            timeout_ms: 15_000,
            attempts_max: 4,
            contended_attempts_max: 10,
            pause_first_ms: 10,
            pause_max_ms: 500,
            query_rounds_max: 10,
            in_flight_max: 256,
        }
    }

    /// The defaults for a table of the emulator at `endpoint`, made where it is missing.
    pub fn emulator(endpoint: impl Into<String>, table: impl Into<String>) -> Self {
        Self {
            endpoint: Some(endpoint.into()),
            region: Some("us-east-1".to_owned()),
            credentials: DynamoCredentials::Emulator,
            create_table: true,
            ..Self::table(table)
        }
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        let in_range = |field: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(refused(field, &value, &format!("{min} to {max}"))) }
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !(3..=255).contains(&self.table.len()) || !self.table.chars().all(fits) {
            return Err(refused("table", &self.table, "3 to 255 letters, digits, _ - ."));
        }
        if let Some(endpoint) = &self.endpoint
            && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
        {
            return Err(refused("endpoint", endpoint, "a URL that begins with http:// or https://"));
        }
        in_range("create_timeout_ms", self.create_timeout_ms, 1, 3_600_000)?;
        in_range("connect_timeout_ms", self.connect_timeout_ms, 1, 600_000)?;
        in_range("attempt_timeout_ms", self.attempt_timeout_ms, 1, 600_000)?;
        in_range("timeout_ms", self.timeout_ms, self.attempt_timeout_ms, 600_000)?;
        in_range("attempts_max", u64::from(self.attempts_max), 1, 100)?;
        in_range("contended_attempts_max", u64::from(self.contended_attempts_max), 1, 1_000)?;
        in_range("pause_first_ms", self.pause_first_ms, 0, self.pause_max_ms)?;
        in_range("pause_max_ms", self.pause_max_ms, 0, 60_000)?;
        in_range("query_rounds_max", u64::from(self.query_rounds_max), 1, 1_000)?;
        in_range("in_flight_max", self.in_flight_max as u64, 1, 100_000)
    }
}

fn refused(field: &str, value: &dyn std::fmt::Display, takes: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, format!("{field}: {value}; it takes {takes}"))
}

pub(super) async fn client(options: &DynamoOptions) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if options.credentials == DynamoCredentials::Emulator {
        loader = loader.credentials_provider(Credentials::new("emulator", "emulator", None, None, "fixed"));
        if options.region.is_none() {
            loader = loader.region(Region::new("us-east-1"));
        }
    }
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
        .operation_attempt_timeout(Duration::from_millis(options.attempt_timeout_ms))
        .operation_timeout(Duration::from_millis(options.timeout_ms))
        .build();
    let retries = RetryConfig::standard().with_max_attempts(options.attempts_max);
    Client::new(&loader.timeout_config(timeouts).retry_config(retries).load().await)
}
