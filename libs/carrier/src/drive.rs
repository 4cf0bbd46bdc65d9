//! One connection of a carrier.

use std::fmt::Display;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc;

use crate::frame::{Frame, FrameError};
use crate::link::LinkError;
use crate::stream::{Carrier, Closed, Shared};

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It broke, or was silent for too long; the carrier waits for the next one.
    Broken(String),
    /// A newer connection of the same carrier took over.
    Replaced,
    /// The carrier is over: closed by either side with this code and reason.
    Closed(u16, String),
    /// The stream was shut down here and the other side has everything.
    Finished,
}

/// Code of a close after the other side broke a rule of the link (RFC 6455's 1002).
const PROTOCOL_ERROR: u16 = 1002;

/// Code of a close after the stream was shut down (RFC 6455's 1000).
const DONE: u16 = 1000;

impl Carrier {
    /// Runs the carrier over one connection of binary messages (a WebSocket, whoever made it) until that breaks, a newer one comes, or the carrier ends. `peer_received` is
    /// what the other side said in the handshake: from there on it is sent.
    pub async fn run<S, R, E, F>(&self, sink: S, stream: R, peer_received: u64) -> Ended
    where
        S: Sink<Bytes, Error = E> + Unpin,
        R: Stream<Item = Result<Bytes, F>> + Unpin,
        E: Display,
        F: Display,
    {
        let shared = &*self.shared;
        let mut newest = shared.connection.subscribe();
        let mut mine = 0;
        shared.connection.send_modify(|count| {
            *count += 1;
            mine = *count;
        });
        if let Err(ended) = shared.begin(peer_received) {
            return ended;
        }
        let _running = Running::begin(shared);
        let (pinged, pings) = mpsc::channel(PINGS);
        tokio::select! {
            biased;
            _ = newest.wait_for(|count| *count > mine) => Ended::Replaced,
            ended = shared.receive(stream, pinged) => ended,
            ended = shared.send(sink, pings) => ended,
        }
    }
}

/// Counts a connection while it runs, also when its future is dropped.
struct Running<'a>(&'a Shared);

impl<'a> Running<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.running.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a message asks of whoever received it.
enum Heard {
    Data,
    Ping(u64),
    Close(u16, String),
}

#[derive(Debug, thiserror::Error)]
enum BrokenRule {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Pings that wait for their answer; a flood beyond it gets none.
const PINGS: usize = 4;

impl Shared {
    fn begin(&self, peer_received: u64) -> Result<(), Ended> {
        let mut state = self.lock();
        let resumed = state.link.resume(peer_received);
        state.wake_writer();
        drop(state);
        resumed.map_err(|error| self.refuse(&error))
    }

    fn refuse(&self, error: &dyn Display) -> Ended {
        let reason = error.to_string();
        self.close(Closed { code: PROTOCOL_ERROR, reason: reason.clone() });
        Ended::Closed(PROTOCOL_ERROR, reason)
    }

    async fn receive<S, E>(&self, mut stream: S, pinged: mpsc::Sender<u64>) -> Ended
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Display,
    {
        loop {
            let message = match self.clock.timeout(self.options.dead_after, stream.next()).await {
                Some(Some(Ok(message))) => message,
                Some(Some(Err(error))) => return Ended::Broken(error.to_string()),
                Some(None) => return Ended::Broken("the connection was closed".to_owned()),
                None => return Ended::Broken(format!("nothing came for {:?}", self.options.dead_after)),
            };
            match self.on_message(message) {
                Ok(Heard::Data) => {}
                // Full: the answer to an earlier one is still waiting, and one is enough to be alive.
                Ok(Heard::Ping(nonce)) => drop(pinged.try_send(nonce)),
                Ok(Heard::Close(code, reason)) => {
                    self.close(Closed { code, reason: reason.clone() });
                    return Ended::Closed(code, reason);
                }
                Err(error) => return self.refuse(&error),
            }
        }
    }

    fn on_message(&self, message: Bytes) -> Result<Heard, BrokenRule> {
        match Frame::decode(message)? {
            Frame::Data { offset, ack, payload } => {
                let mut state = self.lock();
                let room = state.link.room();
                if state.link.on_data(offset, ack, payload)? {
                    state.wake_reader();
                }
                if state.link.room() > room {
                    state.wake_writer();
                }
                if state.finished && state.link.is_settled() {
                    self.outgoing.notify_one();
                }
                Ok(Heard::Data)
            }
            Frame::Ping(nonce) => Ok(Heard::Ping(nonce)),
            Frame::Pong(nonce) => {
                let mut state = self.lock();
                if let Some((_, sent)) = state.pinged.take_if(|(pinged, _)| *pinged == nonce) {
                    state.round_trip = Some(self.clock.monotonic().saturating_sub(sent));
                }
                Ok(Heard::Data)
            }
            Frame::Close { code, reason } => Ok(Heard::Close(code, reason)),
        }
    }

    async fn send<S, E>(&self, mut sink: S, mut pinged: mpsc::Receiver<u64>) -> Ended
    where
        S: Sink<Bytes, Error = E> + Unpin,
        E: Display,
    {
        let mut pings = Pings { nonce: 0, due: self.clock.monotonic(), hurried: false };
        loop {
            let written = match self.next(&mut pings) {
                Next::Send(frame) => sink.feed(frame.encode()).await,
                Next::End(frame, ended) => {
                    // Best effort: whoever does not hear it finds the carrier gone when it comes back.
                    if sink.feed(frame.encode()).await.is_ok() {
                        let _ = sink.flush().await;
                    }
                    return ended;
                }
                Next::Wait => match sink.flush().await {
                    Ok(()) => {
                        let pause = pings.due.saturating_sub(self.clock.monotonic());
                        tokio::select! {
                            biased;
                            Some(nonce) = pinged.recv() => self.answer(&mut sink, nonce).await,
                            () = self.outgoing.notified() => Ok(()),
                            () = self.clock.sleep(pause) => Ok(()),
                        }
                    }
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = written {
                return Ended::Broken(error.to_string());
            }
        }
    }

    async fn answer<S: Sink<Bytes> + Unpin>(&self, sink: &mut S, nonce: u64) -> Result<(), S::Error> {
        // Together with an acknowledgement: who pings may be waiting for one.
        let ack = self.lock().link.ack();
        sink.feed(ack.encode()).await?;
        sink.feed(Frame::Pong(nonce).encode()).await
    }

    fn next(&self, pings: &mut Pings) -> Next {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        if let Some(closed) = &state.closed {
            let (code, reason) = (closed.code, closed.reason.clone());
            return Next::End(Frame::Close { code, reason: reason.clone() }, Ended::Closed(code, reason));
        }
        if let Some(frame) = state.link.next_data().or_else(|| state.link.ack_due()) {
            return Next::Send(frame);
        }
        if state.finished {
            if state.link.is_settled() {
                let reason = "done".to_owned();
                drop(state);
                self.close(Closed { code: DONE, reason: reason.clone() });
                return Next::End(Frame::Close { code: DONE, reason }, Ended::Finished);
            }
            if !pings.hurried {
                // The answer acknowledges what is still unsettled.
                pings.hurried = true;
                pings.due = now;
            }
        }
        if now < pings.due {
            return Next::Wait;
        }
        pings.due = now + self.options.ping_every;
        pings.nonce += 1;
        state.pinged = Some((pings.nonce, now));
        Next::Send(Frame::Ping(pings.nonce))
    }
}

/// What the sender does next.
enum Next {
    Send(Frame),
    End(Frame, Ended),
    Wait,
}

struct Pings {
    nonce: u64,
    due: Duration,
    hurried: bool,
}
