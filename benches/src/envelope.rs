//! **envelope**: what the bus does to an event in memory, one thread. Limit 5 µs for one event of 1 KiB.
//!
//! - `envelope`: attributes and payload into checked NATS headers and back into a checked envelope. The payload is
//!   carried as it is, as the bus does it.
//! - `envelope.structured`: the same in structured mode (SQS), where the payload is part of the JSON text.
//! - `envelope.typed`: `envelope` with the payload written from its type and read into it again.

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use bus::{Envelope, wire};
use clock::Clock;
use contracts::Fact;
use contracts::events::webhook::WebhookEvent;

use crate::load;
use crate::report::{Better, Report, Title};
use crate::rounds::{ROUNDS, Rounds, quantile};

const LIMIT_US: f64 = 5.0;
const EVENT_BYTES: usize = 1_024;
/// A round is the median of so many batches: one that was interrupted by another program does not count.
const BATCHES: usize = 200;
const BATCH: u32 = 200;

pub(crate) fn run(clock: &Clock, report: &mut Report) -> Result<()> {
    let envelope = load::envelope(1, EVENT_BYTES, 7, clock.now_ms())?;
    let event = load::event(1, EVENT_BYTES)?;
    ensure!(binary(&envelope)? == envelope && structured(&envelope)? == envelope, "an envelope changed on its way");
    let mut blank = envelope.clone();
    ensure!(typed(&mut blank, &event)? == event, "a payload changed on its way");
    row(clock, report, "envelope", || binary(&envelope).map(drop))?;
    row(clock, report, "envelope.structured", || structured(&envelope).map(drop))?;
    row(clock, report, "envelope.typed", || typed(&mut blank, &event).map(drop))
}

fn row(clock: &Clock, report: &mut Report, name: &'static str, mut turn: impl FnMut() -> Result<()>) -> Result<()> {
    let mut batch = || -> Result<f64> {
        let started = clock.monotonic();
        for _ in 0..BATCH {
            turn()?;
        }
        Ok(clock.monotonic().saturating_sub(started).as_secs_f64() * 1e6 / f64::from(BATCH))
    };
    let mut figures = Vec::new();
    for round in 0..=ROUNDS {
        let batches = (0..BATCHES).map(|_| batch()).collect::<Result<Vec<_>>>()?;
        // The first one warms up.
        if round > 0 {
            figures.push(quantile(&batches, 0.5));
        }
    }
    let title = Title { name, goal: 1.0, better: Better::Lower, unit: "µs" };
    report.add(&title, &Rounds::against(LIMIT_US, figures));
    Ok(())
}

fn binary(envelope: &Envelope) -> Result<Envelope> {
    let headers = wire::to_headers(black_box(envelope))?;
    let received = wire::from_headers(black_box(&headers), envelope.data.clone());
    received.map_err(|malformed| anyhow::anyhow!(malformed.reason))
}

fn structured(envelope: &Envelope) -> Result<Envelope> {
    let text = wire::to_json(black_box(envelope))?;
    wire::from_json(black_box(text)).map_err(|malformed| anyhow::anyhow!(malformed.reason))
}

fn typed(envelope: &mut Envelope, event: &WebhookEvent) -> Result<WebhookEvent> {
    envelope.data = black_box(event).to_json()?.into();
    let received = binary(envelope)?;
    let decoded = WebhookEvent::decode(&received.kind, &received.data);
    Ok(decoded.context("its kind is one of its owner's")??)
}
