//! The protocol without WebSockets: `GET /v1/stream` tells (server-sent events), `POST /v1/frames` asks. Behind both is
//! the same connection as behind a WebSocket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

/// Frames of a client that wait to be read by its connection.
pub(crate) const POSTED_BUFFER: usize = 64;

/// The event streams of this process, by their key.
#[derive(Default)]
pub(crate) struct Streams {
    open: Mutex<HashMap<String, mpsc::Sender<String>>>,
}

/// What became of posted frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    Taken,
    /// The connection has too many to work off; none was taken.
    Busy,
    Unknown,
}

/// A stream that is listed until this is dropped.
pub(crate) struct Listed {
    streams: Arc<Streams>,
    key: String,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.key);
    }
}

impl Streams {
    /// Lists a stream; its frames come out of the receiver.
    pub(crate) fn open(self: &Arc<Self>, key: String) -> (Listed, mpsc::Receiver<String>) {
        let (sender, posted) = mpsc::channel(POSTED_BUFFER);
        self.lock().insert(key.clone(), sender);
        (Listed { streams: Arc::clone(self), key }, posted)
    }

    /// Hands frames to a stream's connection: all of them or none.
    pub(crate) fn post(&self, key: &str, frames: Vec<String>) -> Posted {
        let Some(sender) = self.lock().get(key).cloned() else { return Posted::Unknown };
        match sender.try_reserve_many(frames.len()) {
            Ok(permits) => {
                permits.zip(frames).for_each(|(permit, frame)| permit.send(frame));
                Posted::Taken
            }
            Err(mpsc::error::TrySendError::Full(())) => Posted::Busy,
            Err(mpsc::error::TrySendError::Closed(())) => Posted::Unknown,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<String>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
