//! `synapsed serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use axum::Router;
use clock::{Clock, Entropy};
use service::config::{self, Mode};
use service::{BusTarget, StoreTarget, shutdown_signal, telemetry};
use synapsed::development::{self, Secrets};
use synapsed::example::{self, Example};
use synapsed::fleet::{Fleet, Overrides, Settings};

/// Set by an operator who has a Stripe account; without it a development system uses the emulator.
const STRIPE_KEY_VARIABLES: [&str; 3] = [
    "SYNAPSE_SUBSCRIPTION__STRIPE__SECRET_KEY",
    "SYNAPSE_SUBSCRIPTION__STRIPE__SECRET_KEY_FILE",
    "SYNAPSE_SUBSCRIPTION_CONFIG",
];

/// Stands for the emulator's address while the configuration is checked.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn serve() -> anyhow::Result<ExitCode> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let has_stripe = config::process_env().any(|(name, _)| STRIPE_KEY_VARIABLES.contains(&name.as_str()));
    let emulate = is_development() && !has_stripe;
    // Everything that is wrong is told at once, before a port opens or a file is made; what development makes later is
    // stood in for.
    let known = if emulate { Secrets::generate(&entropy).overrides(NOWHERE) } else { Overrides::new() };
    let settings = Settings::load(&known)?;
    let platform = settings.platform.clone();
    let telemetry = telemetry::init(&platform.common.telemetry, "synapsed", &clock)?;
    let folder = match platform.store_target() {
        Some(StoreTarget::Sqlite(folder)) => folder,
        _ => PathBuf::from("data"),
    };
    if !emulate {
        let fleet = Fleet::start(settings).await?;
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
    let mut settings = Settings::load(&secrets.overrides(&url))?;
    let origins = example::origins(platform.http_listen);
    let example = Example::try_new(secrets.clone(), clock.clone(), entropy.clone())?;
    let more = if origins.is_empty() { Router::new() } else { example.routes() };
    let page = origins.first().map(|origin| format!("{origin}/example/"));
    settings.allow_origins(origins);
    let fleet = Fleet::start_with(settings, more).await?;
    example.served_at(fleet.public);
    let ready_ms = clock.monotonic().saturating_sub(begun).as_millis();
    secrets.point_webhooks(&url, fleet.public).await?;
    let token = secrets.token(&clock, &entropy)?;
    let where_bus = match bus {
        Some(BusTarget::Embedded) | None => "in this process".to_owned(),
        Some(BusTarget::Nats(url)) => url,
        Some(BusTarget::Sqs) => "SQS and NATS".to_owned(),
    };
    print_welcome(&fleet, &url, &folder, &where_bus, &token, page.as_deref(), ready_ms);
    shutdown_signal().await?;
    println!("stopping: finishing what has begun…");
    fleet.drain().await;
    stripe.shutdown().await;
    telemetry.shutdown().await;
    println!("stopped; the data stays in {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

/// Whether development's secrets may be made. Where the mode can't be read it does not matter: nothing starts.
fn is_development() -> bool {
    let platform = service::load::<service::PlatformConfig>(service::PLATFORM, service::PLATFORM_DEFAULTS);
    platform.map_or(true, |platform| platform.common.mode == Mode::Development)
}

fn print_welcome(
    fleet: &Fleet,
    stripe: &str,
    folder: &std::path::Path,
    bus: &str,
    token: &str,
    page: Option<&str>,
    ready_ms: u128,
) {
    let (public, admin) = (fleet.public, fleet.admin);
    let data = folder.display();
    let price = development::PRICE;
    let key = development::STRIPE_KEY;
    let page = page.map_or("only with http_listen on loopback and a port of its own".to_owned(), |page| {
        format!("{page}        open it in two tabs and chat")
    });
    println!(
        "
  Synapse-D is ready ({ready_ms} ms). Development mode: not for real customers.

    API           http://{public}        WebSocket ws://{public}/v1/ws (synapse.v1)
    health        http://{admin}/readyz  metrics   http://{admin}/metrics
    example       {page}
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
