//! Bodies that come slowly or only in half.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;

use crate::app::App;
use crate::faults::{Fault, FaultKind};
use crate::socket::Line;

/// In how many pieces a dripping body comes.
const PIECES: usize = 10;

/// The body as the fault lets it through.
pub(crate) fn body(app: &Arc<App>, line: &Line, body: String, fault: &Fault) -> Body {
    let bytes = Bytes::from(body);
    if fault.kind == FaultKind::Cut {
        let (half, line) = (bytes.slice(..bytes.len() / 2), line.clone());
        return Body::from_stream(stream::unfold(0, move |step| {
            let (half, line) = (half.clone(), line.clone());
            async move {
                match step {
                    0 => Some((Ok(half), 1)),
                    // What was written until now has to leave before the reset throws it away.
                    1 => {
                        tokio::task::yield_now().await;
                        line.reset();
                        Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), 2))
                    }
                    _ => None,
                }
            }
        }));
    }
    let pause = Duration::from_millis(fault.delay_ms() / PIECES as u64);
    let size = bytes.len().div_ceil(PIECES).max(1);
    let app = Arc::clone(app);
    Body::from_stream(stream::unfold(bytes, move |mut rest| {
        let app = Arc::clone(&app);
        async move {
            if rest.is_empty() {
                return None;
            }
            tokio::select! {
                () = app.stop.cancelled() => return None,
                () = app.clock.sleep(pause) => {}
            }
            let piece = rest.split_to(size.min(rest.len()));
            Some((Ok::<_, io::Error>(piece), rest))
        }
    }))
}
