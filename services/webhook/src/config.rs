use std::collections::BTreeMap;
use std::path::Path;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use service::config::{Checks, ConfigProblem, Mode, Secret, Validate};

/// Most secrets that are good at once: one in use, one being rolled in, for two endpoints. Each costs an HMAC per body.
pub(crate) const MAX_SECRETS: usize = 4;
/// Most endpoints beside the first one.
const MAX_ENDPOINTS: usize = 16;
/// Most connected accounts that one endpoint may speak for.
const MAX_ACCOUNTS: usize = 100;

/// The secrets (or accounts) in a text that lists them.
pub(crate) fn each(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty())
}

/// The webhook service's settings; `config.toml` explains each and holds the defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Signing secrets of the Stripe endpoint, whole (`whsec_…`), 1 to 4, with commas or white space between them.
    pub secrets: Secret,
    /// Where Stripe posts to.
    pub path: String,
    /// Whose money the endpoint speaks of.
    pub stripe_mode: StripeMode,
    /// Connected accounts whose events act here, with commas between them; empty for the platform's own events.
    pub accounts: String,
    /// Further endpoints by name.
    pub endpoints: BTreeMap<String, EndpointConfig>,
    /// How far a signature's time may lie from ours, before and after, seconds.
    pub tolerance_s: u64,
    /// The API version that events should have; empty for any.
    pub expected_api_version: String,
    /// Largest body, bytes.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive, milliseconds.
    pub body_timeout_ms: u64,
    /// How long an event may take to become durable, milliseconds.
    pub store_timeout_ms: u64,
    /// Most requests at once.
    pub max_in_flight: usize,
    /// How long events are kept and recognised, days.
    pub memory_days: u64,
    /// Most events that one call of the operators' replay takes.
    pub replay_max: u32,
}

/// A further endpoint: one that Stripe has other secrets, another mode or connected accounts for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointConfig {
    /// Where Stripe posts to.
    pub path: String,
    /// Its signing secrets, as [`Config::secrets`].
    pub secrets: Secret,
    /// The file that holds them instead; read again while the service runs.
    pub secrets_file: String,
    /// Whose money it speaks of.
    pub stripe_mode: StripeMode,
    /// As [`Config::accounts`].
    pub accounts: String,
    /// As [`Config::expected_api_version`].
    pub expected_api_version: String,
}

/// Whose money an endpoint speaks of. Events of the other kind are kept and never act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StripeMode {
    /// Live in an installation of mode `production`, test in others.
    #[default]
    OfInstallation,
    /// Real money.
    Live,
    /// Test money.
    Test,
}

impl StripeMode {
    /// Whether events must be of real money.
    pub(crate) fn is_live(self, installation: Mode) -> bool {
        match self {
            Self::OfInstallation => installation == Mode::Production,
            Self::Live => true,
            Self::Test => false,
        }
    }
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            secrets: Secret::new(""),
            secrets_file: String::new(),
            stripe_mode: StripeMode::default(),
            accounts: String::new(),
            expected_api_version: String::new(),
        }
    }
}

impl EndpointConfig {
    /// Its secrets, wherever they stand.
    ///
    /// # Errors
    /// Why the file can't be read.
    pub(crate) fn secret(&self) -> Result<Secret, String> {
        if self.secrets_file.is_empty() {
            return Ok(self.secrets.clone());
        }
        Secret::from_file(Path::new(&self.secrets_file)).map_err(|error| format!("{}: {error}", self.secrets_file))
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("tolerance_s", self.tolerance_s, 1..=3_600);
        checks.range("max_body_bytes", self.max_body_bytes, 1_024..=2_097_152);
        checks.range("body_timeout_ms", self.body_timeout_ms, 100..=60_000);
        checks.range("store_timeout_ms", self.store_timeout_ms, 50..=30_000);
        checks.range("max_in_flight", self.max_in_flight, 1..=10_000);
        checks.range("memory_days", self.memory_days, 4..=365);
        checks.range("replay_max", self.replay_max, 1..=10_000);
        check_secrets(&mut checks, "secrets", &self.secrets);
        check_path(&mut checks, "path", &self.path);
        check_accounts(&mut checks, "accounts", &self.accounts);
        check_version(&mut checks, "expected_api_version", &self.expected_api_version);
        let rule = format!("{} of them; at most {MAX_ENDPOINTS}", self.endpoints.len());
        checks.require(self.endpoints.len() <= MAX_ENDPOINTS, "endpoints", &rule, "remove some");
        let mut paths = vec![self.path.as_str()];
        for (name, endpoint) in &self.endpoints {
            check_endpoint(&mut checks, name, endpoint);
            let key = format!("endpoints.{name}.path");
            let rule = format!("{} is another endpoint's", endpoint.path);
            checks.require(!paths.contains(&endpoint.path.as_str()), &key, &rule, "give each a path of its own");
            paths.push(&endpoint.path);
        }
        checks.finish()
    }

    fn open_tables() -> &'static [&'static str] {
        &["endpoints"]
    }
}

fn check_endpoint(checks: &mut Checks, name: &str, endpoint: &EndpointConfig) {
    let key = |field: &str| format!("endpoints.{name}.{field}");
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let good = (1..=40).contains(&name.len()) && name.bytes().all(plain) && name != crate::endpoint::FIRST;
    let rule = format!("is no name, or `{}`, which is the first one's", crate::endpoint::FIRST);
    checks.require(good, &format!("endpoints.{name}"), &rule, "use 1 to 40 of a-z 0-9 _");
    check_path(checks, &key("path"), &endpoint.path);
    check_accounts(checks, &key("accounts"), &endpoint.accounts);
    check_version(checks, &key("expected_api_version"), &endpoint.expected_api_version);
    let both = endpoint.secrets.is_set() && !endpoint.secrets_file.is_empty();
    checks.require(!both, &key("secrets_file"), "secrets is set as well", "keep one of the two");
    match endpoint.secret() {
        Ok(secret) => {
            let is_set = each(secret.current().expose_secret()).next().is_some();
            let fix = "set the endpoint's signing secret (whsec_…), or secrets_file";
            checks.require(is_set, &key("secrets"), "none is set", fix);
            check_secrets(checks, &key("secrets"), &secret);
        }
        Err(rule) => checks.require(false, &key("secrets_file"), &rule, "correct the path, its rights or content"),
    }
}

fn check_secrets(checks: &mut Checks, key: &str, secrets: &Secret) {
    let secrets = secrets.current();
    let count = each(secrets.expose_secret()).count();
    let rule = format!("{count} secrets; at most {MAX_SECRETS}");
    checks.require(count <= MAX_SECRETS, key, &rule, "remove those that Stripe no longer signs with");
    for (number, secret) in each(secrets.expose_secret()).enumerate() {
        let good = secret.bytes().all(|byte| byte.is_ascii_graphic());
        let rule = format!("number {} has odd characters in it", number + 1);
        checks.require(good, key, &rule, "copy the endpoint's signing secret from Stripe, whole: whsec_…");
    }
}

fn check_path(checks: &mut Checks, key: &str, path: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let good = path.starts_with('/') && path.len() <= 200 && path.bytes().all(plain);
    checks.require(good, key, "is no plain path", "write it like /stripe/webhook: A-Z a-z 0-9 / - _ . ~");
}

fn check_accounts(checks: &mut Checks, key: &str, accounts: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let id = |account: &str| account.starts_with("acct_") && account.bytes().all(plain) && account.len() <= 255;
    let good = each(accounts).all(id) && each(accounts).count() <= MAX_ACCOUNTS;
    let rule = format!("is no list of at most {MAX_ACCOUNTS} accounts");
    checks.require(good, key, &rule, "write them as Stripe does, with commas between: acct_1, acct_2");
}

fn check_version(checks: &mut Checks, key: &str, version: &str) {
    let good = version.is_empty() || version.starts_with(|c: char| c.is_ascii_digit()) && version.len() <= 64;
    checks.require(good, key, "is no API version", "write it as Stripe does: 2025-03-31.basil");
}

impl Config {
    pub(crate) fn memory_ms(&self) -> u64 {
        self.memory_days * 24 * 60 * 60 * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = defaults();
        change(&mut config);
        config.problems().iter().map(ToString::to_string).collect()
    }

    fn defaults() -> Config {
        let sources = service::config::Sources {
            service: crate::NAME,
            defaults: &[crate::DEFAULTS],
            file: None,
            env: std::iter::empty(),
        };
        service::config::load(sources).expect("the compiled defaults are good")
    }

    #[test]
    fn secrets_are_never_empty_never_many_and_never_shown() {
        for good in ["whsec_a", "whsec_a,whsec_b", "whsec_a\nwhsec_b\r\n", " a, b ,c d "] {
            assert!(with(|config| config.secrets = Secret::new(good)).is_empty(), "{good:?}");
        }
        for bad in ["whsec_\0", "whsec_\u{e9}", "a,b,c,d,e"] {
            assert_eq!(with(|config| config.secrets = Secret::new(bad)).len(), 1, "{bad:?}");
        }
        let config = Config { secrets: Secret::new("whsec_hush"), ..defaults() };
        assert!(!service::config::dump(&config).contains("hush") && !format!("{config:?}").contains("hush"));
    }

    #[test]
    fn every_number_has_its_range_and_a_path_is_plain() {
        assert_eq!(with(|config| config.tolerance_s = 0).len(), 1);
        assert_eq!(with(|config| config.max_body_bytes = 4 << 20).len(), 1);
        assert_eq!(with(|config| config.memory_days = 3).len(), 1);
        for path in ["stripe", "", "/{id}", "/a b", "/*rest"] {
            assert_eq!(with(|config| config.path = path.into()).len(), 1, "{path}");
        }
    }

    #[test]
    fn secrets_come_from_one_variable() {
        let env = [("SYNAPSE_WEBHOOK__SECRETS".to_owned(), "whsec_new, whsec_old".to_owned())];
        let sources = service::config::Sources {
            service: crate::NAME,
            defaults: &[crate::DEFAULTS],
            file: None,
            env: env.into_iter(),
        };
        let config: Config = service::config::load(sources).expect("good");
        let text = config.secrets.current();
        assert_eq!(each(text.expose_secret()).collect::<Vec<_>>(), ["whsec_new", "whsec_old"]);
    }

    fn load_with(file: Option<&Path>, env: &[(&str, String)]) -> Result<Config, Vec<String>> {
        let sources = service::config::Sources {
            service: crate::NAME,
            defaults: &[crate::DEFAULTS],
            file,
            env: env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())),
        };
        service::config::load(sources).map_err(|errors| errors.problems().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn further_endpoints_come_from_a_file_and_from_variables() {
        let folder = tempfile::tempdir().expect("a folder");
        let (secrets, file) = (folder.path().join("connect"), folder.path().join("webhook.toml"));
        std::fs::write(&secrets, "whsec_new,whsec_old\n").expect("written");
        let text =
            "[endpoints.connect]\npath = \"/stripe/connect\"\naccounts = \"acct_1,acct_2\"\nstripe_mode = \"live\"\n";
        std::fs::write(&file, text).expect("written");
        let env = [
            ("SYNAPSE_WEBHOOK__ENDPOINTS__CONNECT__SECRETS_FILE", secrets.display().to_string()),
            ("SYNAPSE_WEBHOOK__ENDPOINTS__SANDBOX__PATH", "/stripe/sandbox".to_owned()),
            ("SYNAPSE_WEBHOOK__ENDPOINTS__SANDBOX__SECRETS", "whsec_sandbox".to_owned()),
            ("SYNAPSE_WEBHOOK__ENDPOINTS__SANDBOX__STRIPE_MODE", "test".to_owned()),
        ];
        let config = load_with(Some(&file), &env).expect("good");
        let (connect, sandbox) = (&config.endpoints["connect"], &config.endpoints["sandbox"]);
        assert_eq!(each(connect.secret().expect("read").current().expose_secret()).count(), 2);
        assert!(connect.stripe_mode.is_live(Mode::Development) && !sandbox.stripe_mode.is_live(Mode::Production));
        assert!(config.stripe_mode.is_live(Mode::Production) && !config.stripe_mode.is_live(Mode::Development));
        assert!(!service::config::dump(&config).contains("whsec_sandbox"));
    }

    #[test]
    fn an_endpoint_needs_a_name_a_path_of_its_own_and_a_secret() {
        let endpoint = |path: &str, secrets: &str| EndpointConfig {
            path: path.into(),
            secrets: Secret::new(secrets),
            ..EndpointConfig::default()
        };
        let of =
            |name: &str, endpoint: EndpointConfig| with(|config| drop(config.endpoints.insert(name.into(), endpoint)));
        assert!(of("test", endpoint("/t", "whsec_a")).is_empty());
        assert_eq!(of("A b", endpoint("/t", "whsec_a")).len(), 1);
        assert_eq!(of("stripe", endpoint("/t", "whsec_a")).len(), 1);
        assert_eq!(of("test", endpoint("/stripe/webhook", "whsec_a")).len(), 1);
        assert!(of("test", endpoint("/t", ""))[0].starts_with("endpoints.test.secrets: none is set"));
        assert_eq!(of("test", EndpointConfig { accounts: "cus_1".into(), ..endpoint("/t", "whsec_a") }).len(), 1);
        let missing = EndpointConfig { secrets_file: "/nowhere/at/all".into(), ..endpoint("/t", "") };
        assert!(of("test", missing)[0].starts_with("endpoints.test.secrets_file: /nowhere"));
        let unknown = [("SYNAPSE_WEBHOOK__ENDPOINTS__X__PFAD", "/x".to_owned())];
        assert!(load_with(None, &unknown).is_err());
    }
}
