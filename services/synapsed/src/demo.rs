//! `synapsed demo`: starts everything on free loopback ports and a temporary data folder, runs the main job through the
//! public interfaces, and stops.

use std::process::ExitCode;

use clock::{Clock, Entropy};
use synapse::demo::{self, Reporter, Target};
use synapsed::development::{self, Secrets};
use synapsed::fleet::{Fleet, Overrides, Settings};

/// Where the demo runs.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// `embedded`, `nats://host:port`, or `sqs` (then --nats and --aws-endpoint say where).
    #[arg(long, default_value = "embedded")]
    bus: String,
    /// `sqlite` (a temporary folder), `dynamodb` or `dynamodb://host:port`.
    #[arg(long, default_value = "sqlite")]
    store: String,
    /// NATS for requests and signals while --bus is sqs.
    #[arg(long, default_value = "nats://127.0.0.1:4222")]
    nats: String,
    /// A server that speaks SQS's API, instead of AWS.
    #[arg(long, default_value = "")]
    aws_endpoint: String,
    /// One JSON object instead of the timeline.
    #[arg(long)]
    json: bool,
    /// Log lines of the services, in tracing's filter language.
    #[arg(long, default_value = "error,audit=off")]
    log: String,
}

/// Runs the demo; the exit code says whether every step did what it should.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let folder = tempfile::tempdir()?;
    let secrets = Secrets::generate(&entropy);
    let stripe = development::start_stripe(&clock, &entropy).await?;
    let url = stripe.base_url().to_owned();
    let mut overrides = secrets.overrides(&url);
    overrides.extend(platform_overrides(&arguments, folder.path()));
    let settings = Settings::load(&overrides)?;
    let telemetry = service::telemetry::init(&settings.platform.common.telemetry, "synapsed", &clock)?;
    let fleet = Fleet::start(settings).await?;
    secrets.point_webhooks(&url, fleet.public).await?;
    let target = Target {
        gateway: format!("http://{}", fleet.public),
        tunnels: None,
        token: secrets.token(&clock, &entropy)?,
        price_id: development::PRICE.into(),
        stripe: url,
        stripe_key: development::STRIPE_KEY.into(),
        bus: arguments.bus,
        store: arguments.store,
    };
    let reporter = if arguments.json { Reporter::Quiet } else { Reporter::Timeline };
    let report = demo::run(&target, &clock, reporter).await;
    fleet.drain().await;
    stripe.shutdown().await;
    telemetry.shutdown().await;
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn platform_overrides(arguments: &Arguments, folder: &std::path::Path) -> Overrides {
    let store = match arguments.store.as_str() {
        "sqlite" => format!("sqlite:{}", folder.display()),
        other => other.to_owned(),
    };
    [
        ("MODE", "development"),
        ("BUS", &arguments.bus),
        ("STORE", &store),
        ("NATS_URL", &arguments.nats),
        ("SQS_ENDPOINT", &arguments.aws_endpoint),
        ("HTTP_LISTEN", "127.0.0.1:0"),
        ("ADMIN__LISTEN", "127.0.0.1:0"),
        ("TELEMETRY__LOG_FILTER", &arguments.log),
    ]
    .map(|(key, value)| (format!("SYNAPSE_PLATFORM__{key}"), value.to_owned()))
    .into()
}
