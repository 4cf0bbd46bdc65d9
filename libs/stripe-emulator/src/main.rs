//! `stripe-emulator`: the emulator as a program of its own, for manual work and for clients in other languages.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use serde::de::DeserializeOwned;
use stripe_emulator::{DeliveryPlan, Dunning, Limits, Mode, Options, Order, SeedPrice, SeedWebhook, StripeEmulator};

/// A server that behaves like Stripe's API, on a loopback address.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Loopback address to serve on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:12111")]
    listen: SocketAddr,
    /// Where the system around it runs; `production` is refused.
    #[arg(long, value_enum, default_value_t = RunMode::Development)]
    mode: RunMode,
    /// The only API key accepted; every sk_test_… and rk_test_… when absent.
    #[arg(long)]
    api_key: Option<String>,
    /// A price that exists from the start: id:amount:currency:interval[:nickname]. May be repeated.
    #[arg(long = "price", value_parser = price)]
    prices: Vec<SeedPrice>,
    /// A webhook endpoint that exists from the start: whsec_…@http://127.0.0.1:port/path. May be repeated.
    #[arg(long = "webhook", value_parser = webhook)]
    webhooks: Vec<SeedWebhook>,
    /// How many times each event is delivered.
    #[arg(long, default_value_t = 1)]
    copies: u32,
    /// The order in which events are delivered.
    #[arg(long, value_enum, default_value_t = RunOrder::InOrder)]
    order: RunOrder,
    /// The account's API version, for requests without Stripe-Version and for events.
    #[arg(long)]
    api_version: Option<String>,
    /// What happens when renewals fail, as JSON: {"retry_days":[3,5,7],"after_retries":"cancel"}.
    #[arg(long, value_parser = json::<Dunning>)]
    dunning: Option<Dunning>,
    /// Upper bounds, as JSON with the names of the README: {"objects":1000,"requests_per_s":25}.
    #[arg(long, value_parser = json::<Limits>)]
    limits: Option<Limits>,
    /// Customers without a card can't pay, as at Stripe.
    #[arg(long)]
    no_default_card: bool,
    /// Leaves payment_behavior=default_incomplete unpaid until somebody confirms the payment intent.
    #[arg(long)]
    no_auto_confirm: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum RunMode {
    Development,
    Production,
}

#[derive(Clone, Copy, ValueEnum)]
enum RunOrder {
    InOrder,
    Reverse,
    Shuffle,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let order = match arguments.order {
        RunOrder::InOrder => Order::InOrder,
        RunOrder::Reverse => Order::Reverse,
        RunOrder::Shuffle => Order::Shuffle,
    };
    let defaults = Options::default();
    let emulator = StripeEmulator::start(Options {
        mode: match arguments.mode {
            RunMode::Development => Mode::Development,
            RunMode::Production => Mode::Production,
        },
        listen: arguments.listen,
        api_key: arguments.api_key,
        prices: arguments.prices,
        webhooks: arguments.webhooks,
        delivery: DeliveryPlan { copies: arguments.copies, order, ..DeliveryPlan::default() },
        auto_confirm: !arguments.no_auto_confirm,
        api_version: arguments.api_version.unwrap_or(defaults.api_version),
        dunning: arguments.dunning.unwrap_or_default(),
        limits: arguments.limits.unwrap_or_default(),
        default_card: defaults.default_card.filter(|_| !arguments.no_default_card),
        ..Options::default()
    })
    .await?;
    // Listened to before the address is told: whoever knows it may ask for the end at once.
    let stop = StopSignal::listen().context("listening for signals")?;
    println!("{}", emulator.base_url());
    stop.wait().await.context("waiting for a signal")?;
    emulator.shutdown().await;
    Ok(())
}

/// Ctrl-C or SIGTERM.
#[cfg(unix)]
struct StopSignal {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl StopSignal {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(mut self) -> std::io::Result<()> {
        tokio::select! {
            _ = self.interrupt.recv() => Ok(()),
            _ = self.terminate.recv() => Ok(()),
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
struct StopSignal;

#[cfg(not(unix))]
impl StopSignal {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn wait(self) -> std::io::Result<()> {
        tokio::signal::ctrl_c().await
    }
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

fn price(text: &str) -> anyhow::Result<SeedPrice> {
    let parts: Vec<&str> = text.splitn(5, ':').collect();
    let (id, amount, currency, interval, nickname) = match parts.as_slice() {
        [id, amount, currency, interval] => (*id, *amount, *currency, *interval, ""),
        [id, amount, currency, interval, nickname] => (*id, *amount, *currency, *interval, *nickname),
        _ => bail!("expected id:amount:currency:interval[:nickname], for example price_demo:900:eur:month:Demo"),
    };
    Ok(SeedPrice {
        id: id.to_owned(),
        unit_amount: amount.parse().context("the amount has to be a whole number of cents")?,
        currency: currency.to_owned(),
        interval: interval.to_owned(),
        nickname: nickname.to_owned(),
    })
}

fn webhook(text: &str) -> anyhow::Result<SeedWebhook> {
    let (secret, url) = text.split_once('@').context("expected whsec_…@http://127.0.0.1:port/path")?;
    Ok(SeedWebhook { url: url.to_owned(), secret: secret.to_owned(), enabled_events: vec!["*".to_owned()] })
}
