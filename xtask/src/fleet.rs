//! `cargo xtask fleet`: the six services as separate processes on NATS and DynamoDB, events on NATS or SQS, with the demo
//! and the contract verification run against them. What it started it stops again, in order, and a service that does not
//! drain cleanly fails the run.

mod verify;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testkit::servers::{Dynoxide, Moto, Nats, NatsVersion};
use testkit::{Process, eventually_blocking, free_port};

pub(crate) use verify::{served, with_served};

use crate::process;
use crate::tools;

/// Who answers is started before who asks.
const SERVICES: [&str; 6] = ["subscription", "presence", "signaling", "webhook", "tunnel", "gateway"];
/// The servers it needs, of [`tools::TOOLS`].
pub(crate) const NEEDS: &[&str] = &["nats-2.15.1", "moto", "dynoxide"];

const STRIPE_KEY: &str = "sk_test_synapse";
const PRICE: &str = "price_team_monthly:2900:eur:month:Team";
/// Development only: everything listens on loopback and ends with this process.
const TOKEN_SECRET: &str = "a development secret of the fleet, not for use elsewhere";
const SEALING_SECRET: &str = "a-development-sealing-secret-of-the-fleet";
const WEBHOOK_SECRET: &str = "whsec_development_fleet_0123456789abcdef";

const READY: Duration = Duration::from_secs(60);
/// Three stages of 10 s each, and some room.
const DRAINED: Duration = Duration::from_secs(45);

/// What carries events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Carrier {
    /// JetStream.
    Nats,
    /// One FIFO queue per subscribing service.
    Sqs,
}

/// One running service.
struct Service {
    name: &'static str,
    process: Process,
}

/// Builds everything, starts the fleet, runs the demo and the contract verification against it, stops it. `json` passes
/// the demo's JSON through.
///
/// # Errors
/// What did not build, start, work or stop.
pub(crate) fn run(root: &Path, carrier: Carrier, json: bool) -> Result<()> {
    tools::fetch(root, NEEDS)?;
    let programs = build(root)?;
    let folder = tempfile::tempdir()?;
    let (nats, moto, dynoxide) = (Nats::start(NatsVersion::V2_15_1), Moto::start(), Dynoxide::start());
    let (gateway, webhook, tunnel) = (free_port(), free_port(), free_port());
    let (stripe, stripe_url) = start_stripe(&programs, folder.path(), webhook)?;
    let bus = if carrier == Carrier::Sqs { "sqs".to_owned() } else { nats.url() };
    let mut services = Vec::new();
    for name in SERVICES {
        let mut command = Command::new(programs.join(name));
        let public = match name {
            "webhook" => webhook,
            "tunnel" => tunnel,
            _ => gateway,
        };
        let admin = free_port();
        command.envs([
            ("SYNAPSE_PLATFORM__BUS", bus.as_str()),
            ("SYNAPSE_PLATFORM__NATS_URL", &nats.url()),
            ("SYNAPSE_PLATFORM__SQS_ENDPOINT", &moto.url()),
            ("SYNAPSE_PLATFORM__STORE", &dynoxide.url().replacen("http://", "dynamodb://", 1)),
            ("SYNAPSE_PLATFORM__HTTP_LISTEN", &format!("127.0.0.1:{public}")),
            ("SYNAPSE_PLATFORM__ADMIN__LISTEN", &format!("127.0.0.1:{admin}")),
            ("SYNAPSE_GATEWAY__TOKEN_SECRET", TOKEN_SECRET),
            ("SYNAPSE_TUNNEL__TOKEN_SECRET", TOKEN_SECRET),
            ("SYNAPSE_WEBHOOK__SECRETS", WEBHOOK_SECRET),
            ("SYNAPSE_SUBSCRIPTION__STRIPE__BASE_URL", &stripe_url),
            ("SYNAPSE_SUBSCRIPTION__STRIPE__SECRET_KEY", STRIPE_KEY),
            ("SYNAPSE_SUBSCRIPTION__PROOFS__SEALING_SECRET", SEALING_SECRET),
        ]);
        let mut process = Process::spawn(&command, &folder.path().join(format!("{name}.log")));
        wait_until_ready(name, admin, &mut process)?;
        services.push(Service { name, process });
    }
    if !json {
        println!("fleet: {} processes on NATS and DynamoDB, events on {carrier:?}", services.len());
    }
    let target = Target { programs: &programs, gateway, tunnel, stripe: &stripe_url, carrier, json };
    let worked = demo(&target).and_then(|()| verify::bus(&target, &nats.url()));
    let stopped = stop(services);
    drop(stripe);
    worked.and(stopped)
}

fn build(root: &Path) -> Result<PathBuf> {
    let mut command = Command::new("cargo");
    command.args(["build", "--quiet", "--package", "stripe-emulator", "--package", "synapse", "--package", "synapsed"]);
    for name in SERVICES {
        command.args(["--package", name]);
    }
    process::output(command.current_dir(root))?;
    // This program was built into the same folder by the same cargo.
    let own = std::env::current_exe()?;
    Ok(own.parent().context("a program lies in a folder")?.to_owned())
}

fn start_stripe(programs: &Path, folder: &Path, webhook: u16) -> Result<(Process, String)> {
    let endpoint = format!("{WEBHOOK_SECRET}@http://127.0.0.1:{webhook}/stripe/webhook");
    let account = ["--api-key", STRIPE_KEY, "--price", PRICE, "--webhook", &endpoint];
    start_emulator(programs, folder, &[&account[..], &["--copies", "2", "--order", "reverse"]].concat())
}

/// Starts the Stripe emulator on a free port; returns it with its address.
///
/// # Errors
/// It ended instead.
pub(crate) fn start_emulator(programs: &Path, folder: &Path, arguments: &[&str]) -> Result<(Process, String)> {
    let mut command = Command::new(programs.join("stripe-emulator"));
    command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    let mut process = Process::spawn(&command, &folder.join("stripe.log"));
    let url = eventually_blocking(READY, "the Stripe emulator to tell its address", || {
        let printed = process.output();
        let at = printed.find("http://127.0.0.1:")?;
        printed[at..].split_whitespace().next().map(str::to_owned).filter(|_| printed[at..].contains('\n'))
    });
    ensure!(process.exited().is_none(), "the Stripe emulator ended:\n{}", process.output());
    Ok((process, url.trim_end_matches('/').to_owned()))
}

fn wait_until_ready(name: &str, admin: u16, process: &mut Process) -> Result<()> {
    let ready = eventually_blocking(READY, &format!("{name} to be ready"), || {
        if process.exited().is_some() {
            return Some(false);
        }
        is_ready(admin).then_some(true)
    });
    ensure!(ready, "{name} ended before it was ready:\n{}", process.output());
    Ok(())
}

/// Whether `/readyz` answers 200.
fn is_ready(admin: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", admin))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// What runs, for whoever looks at it from outside.
struct Target<'a> {
    programs: &'a Path,
    gateway: u16,
    tunnel: u16,
    stripe: &'a str,
    carrier: Carrier,
    json: bool,
}

impl Target<'_> {
    /// `synapse`, with a fresh token.
    fn synapse(&self) -> Result<Command> {
        let mut mint = Command::new(self.programs.join("synapsed"));
        mint.arg("development-token").env("SYNAPSE_GATEWAY__TOKEN_SECRET", TOKEN_SECRET);
        let token = process::output(&mut mint)?;
        let mut command = Command::new(self.programs.join("synapse"));
        command.env("SYNAPSE_TOKEN", token.trim()).stdin(Stdio::null());
        Ok(command)
    }

    fn gateway(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway)
    }
}

fn demo(target: &Target<'_>) -> Result<()> {
    let mut command = target.synapse()?;
    command.args(["demo", "--gateway", &target.gateway(), "--stripe", target.stripe]);
    command.args(["--tunnels", &format!("http://127.0.0.1:{}", target.tunnel)]);
    let bus = if target.carrier == Carrier::Sqs { "sqs+nats" } else { "nats" };
    command.args(["--stripe-key", STRIPE_KEY, "--bus", bus, "--store", "dynamodb"]);
    if target.json {
        command.arg("--json");
    }
    let status = command.status().context("the demo can't be started")?;
    ensure!(status.success(), "the demo failed against the separate processes");
    Ok(())
}

/// Stops who asks before who answers.
fn stop(services: Vec<Service>) -> Result<()> {
    let mut unclean = Vec::new();
    for mut service in services.into_iter().rev() {
        service.process.signal("TERM");
        let status = service.process.wait(DRAINED);
        if !status.success() {
            unclean.push(format!("{} ended with {status}:\n{}", service.name, service.process.output()));
        }
    }
    if unclean.is_empty() { Ok(()) } else { bail!("{}", unclean.join("\n")) }
}
