//! A service's `main`: read the configuration, start, serve, drain.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use clap::{Parser, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use crate::config::{self, ConfigErrors, Sources, Validate};
use crate::health::admin_router;
use crate::http::{HttpLimits, ServeOptions, Shell, Tls, serve, serve_tls};
use crate::platform_config::{PLATFORM, PLATFORM_DEFAULTS, PlatformConfig};
use crate::{Host, Platform, Public, shutdown_signal, telemetry};

/// One service of Synapse-D as a process of its own.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until Ctrl-C or SIGTERM (the default).
    Serve,
    /// Print the configuration as it is now, secrets redacted.
    Config,
    /// Print every environment variable that sets something.
    ConfigKeys,
}

/// Loads a configuration from its defaults, the file that `SYNAPSE_<NAME>_CONFIG` names, and the environment.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load<C: DeserializeOwned + Serialize + Validate>(name: &str, defaults: &[&str]) -> Result<C, ConfigErrors> {
    let file = config::process_file(name);
    config::load(Sources { service: name, defaults, file: file.as_deref(), env: config::process_env() })
}

/// Runs a service until it is asked to stop. What goes wrong before it serves is printed, and the exit code is 1.
pub fn run<C, S, F, P>(name: &'static str, defaults: &'static str, start: S) -> ExitCode
where
    C: DeserializeOwned + Serialize + Validate,
    S: FnOnce(C, Platform) -> F,
    F: Future<Output = anyhow::Result<P>>,
    P: Into<Public>,
{
    let command = Arguments::parse().command.unwrap_or(Command::Serve);
    if matches!(command, Command::ConfigKeys) {
        let keys = config::keys(PLATFORM, PLATFORM_DEFAULTS).into_iter().chain(config::keys(name, &[defaults]));
        keys.for_each(|key| println!("{}", key.variable));
        return ExitCode::SUCCESS;
    }
    // Both are read before either is refused: all problems are told at once.
    let (platform, service) = (load::<PlatformConfig>(PLATFORM, PLATFORM_DEFAULTS), load::<C>(name, &[defaults]));
    let (platform, service) = match (platform, service) {
        (Ok(platform), Ok(service)) => (platform, service),
        (platform, service) => {
            [platform.err(), service.err()].into_iter().flatten().for_each(|errors| eprintln!("{errors}"));
            return ExitCode::FAILURE;
        }
    };
    if matches!(command, Command::Config) {
        println!("# {PLATFORM}\n{}\n# {name}\n{}", config::dump(&platform), config::dump(&service));
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().context("the runtime can't be started");
    let outcome = runtime.and_then(|runtime| runtime.block_on(serve_until_stopped(name, platform, service, start)));
    if let Err(error) = outcome {
        eprintln!("{name}: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn serve_until_stopped<C, S, F, P>(
    name: &'static str,
    config: PlatformConfig,
    service: C,
    start: S,
) -> anyhow::Result<()>
where
    S: FnOnce(C, Platform) -> F,
    F: Future<Output = anyhow::Result<P>>,
    P: Into<Public>,
{
    let (clock, entropy) = (clock::Clock::system(), clock::Entropy::system());
    let telemetry = telemetry::init(&config.common.telemetry, name, &clock)?;
    let host = Host::start(config, clock, entropy).await?;
    let public: Public = start(service, host.platform(name).await?).await?.into();
    let public = if public.is_empty() { None } else { Some(host.serve_public(name, public).await?) };
    let admin = host.serve_admin().await?;
    host.health.started();
    tracing::info!(service = name, public = ?public, %admin, "serving");
    shutdown_signal().await?;
    tracing::info!(service = name, "stopping");
    host.drain().await;
    telemetry.shutdown().await;
    Ok(())
}

impl Host {
    /// Serves public routes at the configured address until the host drains.
    ///
    /// # Errors
    /// When the address can't be listened at.
    pub async fn serve_public(&self, name: &'static str, public: impl Into<Public>) -> anyhow::Result<SocketAddr> {
        let shell =
            Shell::new(name, self.config.common.mode, HttpLimits::default(), self.clock.clone(), self.entropy.clone());
        let shell = shell.behind(self.config.proxies());
        let router = public.into().router(|routes| shell.wrap(routes));
        let tls = self.config.tls_files().map(|(certificate, key)| Tls::load(certificate, key)).transpose();
        let tls = tls.context("tls_cert_file, tls_key_file")?.map(Arc::new);
        if let Some(tls) = &tls {
            self.renew(Arc::clone(tls));
        }
        self.serve_at(self.config.http_listen, "http_listen", router, tls).await
    }

    /// Reads the certificate's files again every `secret_refresh_ms` until the host drains.
    fn renew(&self, tls: Arc<Tls>) {
        let (stop, clock) = (self.lifecycle.token(), self.clock.clone());
        let every = Duration::from_millis(self.config.secret_refresh_ms);
        self.lifecycle.spawn("tls.renew", async move {
            while stop.run_until_cancelled(clock.sleep(every)).await.is_some() {
                let tls = Arc::clone(&tls);
                match tokio::task::spawn_blocking(move || tls.reload()).await {
                    Ok(Ok(true)) => tracing::info!("the TLS certificate was renewed"),
                    Ok(Ok(false)) | Err(_) => {}
                    Ok(Err(error)) => tracing::error!(%error, "the new certificate can't be used; the last one stays"),
                }
            }
        });
    }

    /// Serves health, readiness and metrics, and keeps the metrics' memory bounded while nobody reads them.
    ///
    /// # Errors
    /// When the address can't be listened at.
    pub async fn serve_admin(&self) -> anyhow::Result<SocketAddr> {
        let (stop, upkeep) = (self.lifecycle.token(), telemetry::run_upkeep(self.clock.clone()));
        self.lifecycle.spawn("metrics.upkeep", async move {
            stop.run_until_cancelled(upkeep).await;
        });
        self.serve_at(
            self.config.common.admin.listen,
            "admin.listen",
            admin_router(self.health.clone()).merge(self.dead_letters.router()).merge(self.desks.router()),
            None,
        )
        .await
    }

    async fn serve_at(
        &self,
        address: SocketAddr,
        key: &str,
        router: Router,
        tls: Option<Arc<Tls>>,
    ) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("{key}: {address} can't be listened at; choose another"))?;
        let bound = listener.local_addr()?;
        let options = ServeOptions { drain_ms: self.config.common.drain_ms, ..ServeOptions::default() };
        let stop = self.lifecycle.token();
        self.lifecycle.spawn(format!("listen {bound}"), async move {
            match tls {
                Some(tls) => serve_tls(listener, router, tls, stop, options).await,
                None => serve(listener, router, stop, options).await,
            };
        });
        Ok(bound)
    }
}
