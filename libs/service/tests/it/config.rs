use std::collections::BTreeMap;
use std::path::Path;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use service::config::{
    COMMON_DEFAULTS, Checks, Common, ConfigErrors, ConfigProblem, Mode, Secret, Sources, Validate, dump, load,
};
use service::http::{HTTP_DEFAULTS, HttpSettings};

const DEFAULTS: &str = r#"
# The broker.
bus_url = "nats://127.0.0.1:4222"

[lease]
# How long, milliseconds.
ttl_ms = 30000
kind = "short"
names = ["a"]

[stripe]
# Signs webhooks.
secret = ""

[plans.free]
peers = 2
"#;

#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    #[serde(flatten)]
    common: Common,
    http: HttpSettings,
    bus_url: String,
    lease: Lease,
    stripe: Stripe,
    plans: BTreeMap<String, Plan>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Lease {
    ttl_ms: u64,
    kind: Kind,
    names: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Short,
    Long,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stripe {
    secret: Secret,
}

#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    peers: u32,
}

impl Validate for Settings {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.extend(self.common.problems());
        checks.extend(self.http.problems());
        checks.range("lease.ttl_ms", self.lease.ttl_ms, 1_000..=60_000);
        checks.require(self.stripe.secret.is_set(), "stripe.secret", "is empty", "set it, or stripe.secret_file");
        checks.finish()
    }

    fn open_tables() -> &'static [&'static str] {
        &["plans"]
    }
}

fn load_with(file: Option<&Path>, env: &[(&str, &str)]) -> Result<Settings, ConfigErrors> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(Sources { service: "presence", defaults: &[COMMON_DEFAULTS, HTTP_DEFAULTS, DEFAULTS], file, env })
}

const SECRET: (&str, &str) = ("SYNAPSE_PRESENCE__STRIPE__SECRET", "whsec_hunter2");

fn keys_of(errors: &ConfigErrors) -> Vec<&str> {
    errors.problems().iter().map(|problem| problem.key.as_str()).collect()
}

#[test]
fn environment_goes_over_file_and_file_over_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("presence.toml");
    std::fs::write(&file, "mode = \"development\"\n[lease]\nttl_ms = 10_000\nkind = \"long\"\n").unwrap();
    let env = [
        SECRET,
        ("SYNAPSE_PRESENCE__LEASE__TTL_MS", "20_000"),
        ("SYNAPSE_PRESENCE__LEASE__NAMES", "x,y"),
        ("SYNAPSE_PRESENCE__TELEMETRY__SAMPLE_RATIO", "1"),
        ("SYNAPSE_PRESENCE__HTTP__LIMITS__BODY_BYTES", "1000"),
        ("SYNAPSE_SIGNALING__LEASE__TTL_MS", "somebody else's"),
        ("SYNAPSE_PRESENCE_SERVICE_HOST", "what Kubernetes sets for a service of that name"),
        ("PATH", "/bin"),
    ];
    let settings = load_with(Some(&file), &env).unwrap();
    assert_eq!((settings.lease.ttl_ms, settings.lease.kind), (20_000, Kind::Long));
    assert_eq!(settings.lease.names, ["x", "y"]);
    assert_eq!((settings.common.mode, settings.common.telemetry.sample_ratio), (Mode::Development, 1.0));
    assert_eq!(settings.http.limits.body_bytes, 1000);
    assert_eq!(settings.bus_url, "nats://127.0.0.1:4222");
    assert_eq!(settings.stripe.secret.current().expose_secret(), "whsec_hunter2");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("presence.toml");
    std::fs::write(&file, "moed = 1\nbus_url = 7\n[lease]\nkind = \"medium\"\n[leese]\nttl_ms = 1\n").unwrap();
    let env = [
        ("SYNAPSE_PRESENCE__LEASE__TTL_MS", "5"),
        ("SYNAPSE_PRESENCE__DRAIN_MS", "soon"),
        ("SYNAPSE_PRESENCE__LEASE__TTL", "5"),
        ("SYNAPSE_PRESENCE__HTTP__LISTEN", "everywhere"),
        ("SYNAPSE_PRESENCE__TELEMETRY__OTLP_ENDPOINT", "ftp://x"),
        ("SYNAPSE_PRESENCE__STRIPE__SECRET_FILE", "/nowhere/at/all"),
    ];
    let errors = load_with(Some(&file), &env).unwrap_err();
    let expected = [
        "bus_url",
        "drain_ms",
        "http.listen",
        "lease.kind",
        "lease.ttl",
        "lease.ttl_ms",
        "leese.ttl_ms",
        "moed",
        "stripe.secret",
        "stripe.secret_file",
        "telemetry.otlp_endpoint",
    ];
    assert_eq!(keys_of(&errors), expected, "{errors}");
    let text = errors.to_string();
    assert!(text.starts_with("the configuration of presence has 11 problems:\n"), "{text}");
    assert!(text.contains("moed: unknown key in ") && text.contains("did you mean mode?"), "{text}");
    let variable = "lease.ttl: unknown key in SYNAPSE_PRESENCE__LEASE__TTL: remove it, or did you mean lease.ttl_ms?";
    assert!(text.contains(variable), "{text}");
    assert!(text.contains("lease.ttl_ms: 5 is not from 1000 to 60000: "), "{text}");
    assert!(text.contains("drain_ms: SYNAPSE_PRESENCE__DRAIN_MS is not a whole number"), "{text}");
}

#[test]
fn a_secret_comes_from_a_file_or_a_value_but_not_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "whsec_fromfile\n").unwrap();
    let from_file = ("SYNAPSE_PRESENCE__STRIPE__SECRET_FILE", path.to_str().unwrap());
    let settings = load_with(None, &[from_file]).unwrap();
    assert_eq!(settings.stripe.secret.current().expose_secret(), "whsec_fromfile");
    // Rotation: the file changes while the service runs.
    std::fs::write(&path, "whsec_rotated\n").unwrap();
    assert!(settings.stripe.secret.refresh().unwrap());
    assert_eq!(settings.stripe.secret.current().expose_secret(), "whsec_rotated");
    assert_eq!(keys_of(&load_with(None, &[from_file, SECRET]).unwrap_err()), ["stripe.secret_file"]);
}

#[test]
fn neither_dump_nor_errors_show_a_secret() {
    let env = [SECRET, ("SYNAPSE_PRESENCE__BUS_URL", "nats://user:hunter2@host:4222")];
    let settings = load_with(None, &env).unwrap();
    let shown = format!("{}{settings:?}", dump(&settings));
    assert!(shown.contains("secret = \"[redacted]\""), "{shown}");
    assert!(dump(&settings).contains("nats://user:redacted@host:4222"), "{shown}");
    assert!(!dump(&settings).contains("hunter2") && !format!("{:?}", settings.stripe).contains("hunter2"));
    let dumped: toml::Table = dump(&settings).parse().unwrap();
    assert_eq!(dumped["lease"]["ttl_ms"].as_integer(), Some(30_000));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("presence.toml");
    std::fs::write(&file, "[stripe]\nsecret = \"hunter2\n").unwrap();
    let errors = load_with(Some(&file), &[]).unwrap_err().to_string();
    assert!(errors.contains("line 2 is not TOML") && !errors.contains("hunter2"), "{errors}");
}

#[test]
fn an_open_table_takes_any_key_and_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("presence.toml");
    std::fs::write(&file, "[plans.team]\npeers = 10\n[plans.big]\npeers = 100\n").unwrap();
    let settings = load_with(Some(&file), &[SECRET]).unwrap();
    assert_eq!(settings.plans.keys().collect::<Vec<_>>(), ["big", "team"]);
    std::fs::write(&file, "[plans.team]\npeers = \"many\"\n").unwrap();
    assert_eq!(keys_of(&load_with(Some(&file), &[SECRET]).unwrap_err()), ["plans"]);
}

#[test]
fn a_missing_file_and_defaults_that_drifted_are_problems() {
    let errors = load_with(Some(Path::new("/nowhere/presence.toml")), &[SECRET]).unwrap_err();
    assert_eq!(keys_of(&errors), ["/nowhere/presence.toml"]);
    let drifted = |text: &str| {
        let defaults = [COMMON_DEFAULTS, HTTP_DEFAULTS, DEFAULTS, text];
        let env = std::iter::empty();
        load::<Settings>(Sources { service: "presence", defaults: &defaults, file: None, env }).unwrap_err().to_string()
    };
    assert!(
        drifted("[lease]\nold_ms = 5").contains("lease.old_ms is not a setting"),
        "{}",
        drifted("[lease]\nold_ms = 5")
    );
    let missing = load::<Settings>(Sources {
        service: "presence",
        defaults: &[COMMON_DEFAULTS, DEFAULTS],
        file: None,
        env: std::iter::empty(),
    });
    assert!(missing.unwrap_err().to_string().contains("compiled defaults"));
}
