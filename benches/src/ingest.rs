//! **ingest**: the whole webhook service over HTTP on its embedded store: request → signature → durable → 200, with a
//! reader that takes the facts off the embedded bus meanwhile. Events of 4.7 KB about 1,000 subscriptions, 64
//! connections, all of it and the load on the same processors.
//!
//! - `ingest`: events a second; limit 5,000.
//! - `ingest.p99`: the 99th percentile of the answer's time at half of the rate just measured, each request counted
//!   from when it was due; limit 50 ms.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bus::{Bus, EmbeddedOptions, Subscribe};
use clock::{Clock, Entropy};
use contracts::Contract;
use contracts::events::webhook::StripeSubscriptionChangedV1;
use service::config::{Secret, Sources, load};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS, PlatformConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::load::STUCK;
use crate::report::{Better, Report, Title};
use crate::rounds::{ROUNDS, Rounds, quantile};
use crate::stripe::{SECRET, event, header};

const LIMIT_PER_S: f64 = 5_000.0;
const LIMIT_MS: f64 = 50.0;
const EVENTS: usize = 10_000;
const SUBSCRIPTIONS: usize = 1_000;
const CONNECTIONS: usize = 64;

pub(crate) async fn run(clock: &Clock, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (host, address) = start(folder.path(), clock).await?;
    let (reading, read) = reader(&host).await?;
    let (mut rates, mut p99s, mut sent) = (Vec::new(), Vec::new(), 0);
    for round in 0..=ROUNDS {
        let began = clock.monotonic();
        post(clock, address, sent, None).await?;
        let rate = EVENTS as f64 / clock.monotonic().saturating_sub(began).as_secs_f64();
        let millis = post(clock, address, sent + EVENTS, Some(Duration::from_secs_f64(2.0 / rate))).await?;
        sent += 2 * EVENTS;
        // The first one warms up.
        if round > 0 {
            rates.push(rate);
            p99s.push(quantile(&millis, 0.99));
        }
    }
    all_read(clock, &read, sent).await?;
    reading.abort();
    host.drain().await;
    let title = Title { name: "ingest", goal: 1.0, better: Better::Higher, unit: "events/s" };
    report.add(&title, &Rounds::against(LIMIT_PER_S, rates));
    let title = Title { name: "ingest.p99", goal: 1.0, better: Better::Lower, unit: "ms" };
    report.add(&title, &Rounds::against(LIMIT_MS, p99s));
    Ok(())
}

/// The service on a free port, as its own program would start it.
async fn start(folder: &Path, clock: &Clock) -> Result<(Host, SocketAddr)> {
    let settings = [
        ("STORE", format!("sqlite:{}", folder.display())),
        ("HTTP_LISTEN", "127.0.0.1:0".to_owned()),
        ("MODE", "development".to_owned()),
    ];
    let env = settings.map(|(key, value)| (format!("SYNAPSE_PLATFORM__{key}"), value)).into_iter();
    let platform: PlatformConfig = load(Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env })?;
    let env = std::iter::empty();
    let defaults = Sources { service: webhook::NAME, defaults: &[webhook::DEFAULTS], file: None, env };
    let config = webhook::Config { secrets: Secret::new(SECRET), store_timeout_ms: 30_000, ..load(defaults)? };
    let routes = [(StripeSubscriptionChangedV1::KIND.to_owned(), vec!["subscription".to_owned()])];
    let options = EmbeddedOptions { routes: Some(routes.into()), ..EmbeddedOptions::default() };
    let host = Host::on(platform, Bus::embedded(options, clock.clone()), clock.clone(), Entropy::system());
    let router = webhook::start(config, host.platform(webhook::NAME).await?).await?;
    let address = host.serve_public(webhook::NAME, router).await?;
    Ok((host, address))
}

/// Takes the facts and counts them.
async fn reader(host: &Host) -> Result<(JoinHandle<()>, Arc<AtomicUsize>)> {
    let subscribe = Subscribe {
        service: "subscription".to_owned(),
        kinds: vec![StripeSubscriptionChangedV1::KIND.to_owned()],
        max_in_flight: 256,
        lease: Duration::from_secs(30),
    };
    let mut deliveries = host.bus.subscribe(subscribe).await?;
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let reading = tokio::spawn(async move {
        while let Some(delivery) = deliveries.next().await {
            if delivery.ack().await.is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    Ok((reading, read))
}

async fn all_read(clock: &Clock, read: &AtomicUsize, sent: usize) -> Result<()> {
    let wait = async {
        while read.load(Ordering::SeqCst) < sent {
            clock.sleep(Duration::from_millis(10)).await;
        }
    };
    clock
        .timeout(STUCK, wait)
        .await
        .with_context(|| format!("{} of {sent} facts came", read.load(Ordering::SeqCst)))?;
    ensure!(read.load(Ordering::SeqCst) == sent, "{} facts of {sent} events", read.load(Ordering::SeqCst));
    Ok(())
}

/// Posts the events from number `first` on, as fast as they are answered or one each `pace`; the answers' milliseconds.
async fn post(clock: &Clock, address: SocketAddr, first: usize, pace: Option<Duration>) -> Result<Vec<f64>> {
    // Signed beforehand: that is the sender's work.
    let now_s = clock.now_ms() / 1_000;
    let requests: Arc<Vec<Vec<u8>>> = Arc::new((first..first + EVENTS).map(|number| request(number, now_s)).collect());
    let (next, began) = (Arc::new(AtomicUsize::new(0)), clock.monotonic());
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (clock, requests, next) = (clock.clone(), Arc::clone(&requests), Arc::clone(&next));
        connections.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut millis = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let Some(request) = requests.get(number) else { return anyhow::Ok(millis) };
                let turn = u32::try_from(number)?;
                let due = pace.map_or_else(|| clock.monotonic(), |pace| began + pace * turn);
                let early = due.saturating_sub(clock.monotonic());
                if !early.is_zero() {
                    clock.sleep(early).await;
                }
                exchange(&mut stream, request).await?;
                millis.push(clock.monotonic().saturating_sub(due).as_secs_f64() * 1e3);
            }
        });
    }
    let mut millis = Vec::new();
    while let Some(connection) = connections.join_next().await {
        millis.extend(connection??);
    }
    Ok(millis)
}

fn request(number: usize, now_s: u64) -> Vec<u8> {
    let body = event(number, number % SUBSCRIPTIONS);
    let header = header(&body, now_s);
    let length = body.len();
    format!("POST /stripe/webhook HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nStripe-Signature: {header}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Sends a request and reads its answer, which must be 200. Answers have a length and fit one buffer.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<()> {
    stream.write_all(request).await?;
    let (mut buffer, mut filled) = ([0; 4_096], 0);
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        ensure!(read > 0, "the connection was closed: {}", String::from_utf8_lossy(&buffer[..filled]));
        filled += read;
        let text = std::str::from_utf8(&buffer[..filled])?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        ensure!(head.starts_with("HTTP/1.1 200"), "{text}");
        let length = head
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
        if body.len() >= length.context("an answer without a length")? {
            return Ok(());
        }
    }
}
