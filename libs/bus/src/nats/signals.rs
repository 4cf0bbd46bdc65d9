use std::sync::Arc;

use futures::StreamExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Link, failed, requests};
use crate::backend::{Signals, check_address};
use crate::meter::dropped_signals;
use crate::ring::Ring;
use crate::{BusError, Envelope, wire};

const SUBJECT: &str = "synapse.signal";
/// An address is one token of a subject: everything but letters, digits, `-` and `_` is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

pub(super) async fn signal(link: &Link, address: &str, envelope: &Envelope) -> Result<(), BusError> {
    link.check_open()?;
    check_address(address)?;
    let headers = wire::to_headers(envelope)?;
    requests::check_size(link, &envelope.kind, envelope.data.len())?;
    let subject = format!("{SUBJECT}.{}.{}", envelope.kind, utf8_percent_encode(address, ENCODED));
    let sending = async {
        let sent = link.client.publish_with_headers(subject, headers, envelope.data.clone()).await;
        sent.map_err(|error| failed("can't send the signal", error))
    };
    link.hand_over(sending).await
}

pub(super) async fn listen(
    link: &Arc<Link>,
    kind: &str,
    address: Option<&str>,
    group: Option<&str>,
    buffer: usize,
) -> Result<Signals, BusError> {
    link.check_open()?;
    let token = match address {
        Some(address) => {
            check_address(address)?;
            utf8_percent_encode(address, ENCODED).to_string()
        }
        None => "*".to_owned(),
    };
    let subject = format!("{SUBJECT}.{kind}.{token}");
    let subscribed = match group {
        Some(group) => link.client.queue_subscribe(subject, utf8_percent_encode(group, ENCODED).to_string()).await,
        None => link.client.subscribe(subject).await,
    };
    let mut subscriber = subscribed.map_err(|error| failed(&format!("can't listen for {kind}"), error))?;
    // Whoever gets the handle hears what is sent from now on.
    link.round_trip().await?;
    let ring = Ring::new(buffer, dropped_signals("nats", kind));
    let (filled, link, kind) = (Arc::clone(&ring), Arc::clone(link), kind.to_owned());
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                () = link.draining.cancelled() => break,
                () = filled.closed() => break,
                message = subscriber.next() => message,
            };
            let Some(message) = message else { break };
            let headers = message.headers.unwrap_or_default();
            match wire::from_headers(&headers, message.payload) {
                Ok(envelope) if envelope.kind == kind => {
                    filled.push(envelope);
                }
                Ok(other) => tracing::warn!(kind, found = other.kind, "a signal of another kind was ignored"),
                Err(malformed) => tracing::warn!(kind, reason = malformed.reason, "a malformed signal was ignored"),
            }
        }
        filled.close();
        let _ = subscriber.unsubscribe().await;
    });
    Ok(Signals { ring })
}
