//! Bodies on their way through: they hold a request's room until they end and tell how they get on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use clock::Clock;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::agents::Line;
use crate::metering::Meter;

/// A request's place: its room with the agent and its share of a connection. Given back when it is dropped.
pub(crate) struct Place {
    line: Arc<Line>,
    meter: Meter,
    _room: OwnedSemaphorePermit,
}

impl Place {
    pub(crate) fn new(line: &Arc<Line>, meter: Meter, room: OwnedSemaphorePermit) -> Self {
        line.under_way.fetch_add(1, Ordering::Relaxed);
        Self { line: Arc::clone(line), meter, _room: room }
    }

    /// What the request is counted with.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let before: &AtomicUsize = &self.line.under_way;
        before.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When something of a request's body went out last.
#[derive(Clone)]
pub(crate) struct Progress {
    clock: Clock,
    at_ms: Arc<AtomicU64>,
}

impl Progress {
    pub(crate) fn new(clock: &Clock) -> Self {
        let progress = Self { clock: clock.clone(), at_ms: Arc::default() };
        progress.note();
        progress
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&self) {
        self.at_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// `answer`, unless it and the request's body stand still for `limit`.
    pub(crate) async fn within<F: Future>(&self, limit: Duration, answer: F) -> Option<F::Output> {
        let still = async {
            loop {
                let quiet = Duration::from_millis(self.now_ms() - self.at_ms.load(Ordering::Relaxed));
                match limit.checked_sub(quiet).filter(|left| !left.is_zero()) {
                    Some(left) => self.clock.sleep(left).await,
                    None => return,
                }
            }
        };
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = still => None,
        }
    }
}

/// A body with something attached to it.
struct Attached<T> {
    body: Body,
    attached: T,
    /// Called with the length of what passes.
    on_frame: fn(&T, usize),
}

/// The request's body, counted and noting its progress.
pub(crate) fn watched(body: Body, progress: Progress, meter: Meter) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let on_frame = |(progress, meter): &(Progress, Meter), bytes| {
        progress.note();
        meter.bytes(bytes);
    };
    Body::new(Attached { body, attached: (progress, meter), on_frame })
}

/// The answer's body, counted and holding the request's place.
pub(crate) fn holding<B>(body: B, place: Place) -> Body
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let body = Body::new(body.map_err(axum::Error::new));
    Body::new(Attached { body, attached: place, on_frame: |place, bytes| place.meter.bytes(bytes) })
}

impl<T: Unpin> hyper::body::Body for Attached<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(passed) = &frame {
            let data = passed.as_ref().and_then(|passed| passed.as_ref().ok()?.data_ref());
            (self.on_frame)(&self.attached, data.map_or(0, Bytes::len));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
