//! `synapsed serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use clock::{Clock, Entropy};
use service::config::{self, Mode};
use service::{BusTarget, StoreTarget, shutdown_signal, telemetry};
use synapsed::development::{self, Secrets};
use synapsed::fleet::{Fleet, Settings};

/// Set by an operator who has a Stripe account; without it a development system uses the emulator.
const STRIPE_KEY_VARIABLES: [&str; 3] = [
    "SYNAPSE_SUBSCRIPTION__STRIPE__SECRET_KEY",
    "SYNAPSE_SUBSCRIPTION__STRIPE__SECRET_KEY_FILE",
    "SYNAPSE_SUBSCRIPTION_CONFIG",
];

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn serve() -> anyhow::Result<ExitCode> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let platform: service::PlatformConfig = service::load(service::PLATFORM, service::PLATFORM_DEFAULTS)?;
    let has_stripe = config::process_env().any(|(name, _)| STRIPE_KEY_VARIABLES.contains(&name.as_str()));
    let emulate = platform.common.mode == Mode::Development && !has_stripe;
    let telemetry = telemetry::init(&platform.common.telemetry, "synapsed", &clock)?;
    let folder = match platform.store_target() {
        Some(StoreTarget::Sqlite(folder)) => folder,
        _ => PathBuf::from("data"),
    };
    if !emulate {
        let fleet = Fleet::start(Settings::load(&Vec::new())?).await?;
        println!("synapsed serves at http://{}, health and metrics at http://{}", fleet.public, fleet.admin);
        shutdown_signal().await?;
        fleet.drain().await;
        telemetry.shutdown().await;
        return Ok(ExitCode::SUCCESS);
    }
    let secrets = Secrets::of_folder(&folder, &entropy)?;
    let stripe = development::start_stripe(&clock, &entropy).await?;
    let url = stripe.base_url().to_owned();
    let begun = clock.monotonic();
    let bus = platform.bus_target();
    let fleet = Fleet::start(Settings::load(&secrets.overrides(&url))?).await?;
    let ready_ms = clock.monotonic().saturating_sub(begun).as_millis();
    secrets.point_webhooks(&url, fleet.public).await?;
    let token = secrets.token(&clock, &entropy)?;
    let where_bus = match bus {
        Some(BusTarget::Embedded) | None => "in this process".to_owned(),
        Some(BusTarget::Nats(url)) => url,
        Some(BusTarget::Sqs) => "SQS and NATS".to_owned(),
    };
    print_welcome(&fleet, &url, &folder, &where_bus, &token, ready_ms);
    shutdown_signal().await?;
    println!("stopping: finishing what has begun…");
    fleet.drain().await;
    stripe.shutdown().await;
    telemetry.shutdown().await;
    println!("stopped; the data stays in {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

fn print_welcome(fleet: &Fleet, stripe: &str, folder: &std::path::Path, bus: &str, token: &str, ready_ms: u128) {
    let (public, admin) = (fleet.public, fleet.admin);
    let data = folder.display();
    let price = development::PRICE;
    let key = development::STRIPE_KEY;
    println!(
        "
  Synapse-D is ready ({ready_ms} ms). Development mode: not for real customers.

    API           http://{public}        WebSocket ws://{public}/v1/ws (synapse.v1)
    health        http://{admin}/readyz  metrics   http://{admin}/metrics
    data          {data}
    bus           {bus}
    Stripe        {stripe} (emulator; its objects end with this process)

  A token for a day:

    export TOKEN={token}

  Try:

    curl -s -H \"Authorization: Bearer $TOKEN\" http://{public}/v1/peers

    curl -s -X POST -H \"Authorization: Bearer $TOKEN\" -H 'Idempotency-Key: first' \\
      -H 'Content-Type: application/json' -d '{{\"price_id\":\"{price}\",\"payment_method_id\":\"pm_card_visa\"}}' \\
      http://{public}/v1/subscriptions

    cargo run --release -p synapse -- demo --gateway http://{public} --stripe {stripe} --stripe-key {key} --token $TOKEN

  Ctrl-C stops.
"
    );
}
