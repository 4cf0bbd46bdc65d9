//! The two streams: made when missing, left as they are when an operator changed them.

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};

use super::{Link, failed};
use crate::{BusError, BusErrorKind};

pub(super) const EVENTS: &str = "synapse.event";
pub(super) const CLAIMS: &str = "synapse.claim";

/// Makes both streams, or checks those that are there.
pub(super) async fn ensure(link: &Link) -> Result<(), BusError> {
    events(link).await?;
    claims(link).await?;
    Ok(())
}

pub(super) async fn events(link: &Link) -> Result<Stream, BusError> {
    let options = &link.options;
    let wanted = Config {
        name: options.stream.clone(),
        description: Some("Synapse events".to_owned()),
        subjects: vec![format!("{EVENTS}.>")],
        duplicate_window: options.duplicate_window,
        allow_atomic_publish: link.features.atomic,
        ..base(link)
    };
    let stream = get_or_make(link, wanted).await?;
    let config = &stream.cached_info().config;
    if config.retention != RetentionPolicy::Limits {
        let detail = format!("stream {}: its retention is not `limits`, so services can't each read it", config.name);
        return Err(BusError::new(BusErrorKind::Unfit, detail));
    }
    if options.create_streams && link.features.atomic && !config.allow_atomic_publish {
        // Made by an older server or client.
        let changed = Config { allow_atomic_publish: true, ..config.clone() };
        link.jetstream.update_stream(changed).await.map_err(|e| failed("can't allow atomic batches", e))?;
    }
    Ok(stream)
}

pub(super) async fn claims(link: &Link) -> Result<Stream, BusError> {
    let wanted = Config {
        name: link.options.claims_stream.clone(),
        description: Some("Synapse payloads too large for one message".to_owned()),
        subjects: vec![format!("{CLAIMS}.>")],
        // Named by its hash: the same payload again only begins its time anew.
        max_messages_per_subject: 1,
        allow_direct: true,
        ..base(link)
    };
    get_or_make(link, wanted).await
}

fn base(link: &Link) -> Config {
    let options = &link.options;
    Config {
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // A full stream must never drop an event that somebody has not read: publishing fails, the outbox holds it.
        discard: DiscardPolicy::New,
        max_age: options.max_age,
        max_bytes: i64::try_from(options.max_stream_bytes).unwrap_or(i64::MAX),
        num_replicas: options.replicas,
        ..Config::default()
    }
}

async fn get_or_make(link: &Link, wanted: Config) -> Result<Stream, BusError> {
    match link.jetstream.get_stream(&wanted.name).await {
        Ok(stream) => {
            let subject = wanted.subjects.first().cloned().unwrap_or_default();
            if !stream.cached_info().config.subjects.contains(&subject) {
                let detail = format!("stream {}: it does not take {subject}", wanted.name);
                return Err(BusError::new(BusErrorKind::Unfit, detail));
            }
            Ok(stream)
        }
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(_) if !link.options.create_streams => {
                let detail = format!("stream {}: it is not there; is this an installation's NATS server?", wanted.name);
                Err(BusError::new(BusErrorKind::Unfit, detail))
            }
            GetStreamErrorKind::JetStream(_) => {
                let name = wanted.name.clone();
                link.jetstream.create_stream(wanted).await.map_err(|e| failed(&format!("can't make stream {name}"), e))
            }
            _ => Err(failed(&format!("can't look up stream {}", wanted.name), error)),
        },
    }
}
