//! What was pushed to a peer: numbered, waiting to be written, and kept for a while after that. One structure for both:
//! replaying after a resume and sending what is new are the same walk along it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::frames::ServerFrame;
use contracts::signals::gateway::KeptFrame;
use tokio::sync::{Notify, oneshot};

/// What a frame costs besides its text, bytes; a guess that need not be exact.
const FRAME_OVERHEAD: usize = 256;

/// How much is kept and how much may wait; see `config.toml`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) history_frames: usize,
    pub(crate) history_bytes: usize,
    pub(crate) history_ttl_ms: u64,
    pub(crate) history_total_bytes: usize,
    pub(crate) waiting_frames: usize,
    pub(crate) waiting_bytes: usize,
}

/// The frames of one peer at this gateway, under one epoch.
#[derive(Debug)]
pub(crate) struct Journal {
    state: Mutex<State>,
    filled: Notify,
    limits: Limits,
    /// Bytes in all journals of the process.
    total: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct State {
    epoch: String,
    /// The connection that reads, by its generation; 0 while there is none.
    holder: u64,
    /// Whether the reader acknowledges messages.
    acks: bool,
    /// The last number that was given.
    last: u64,
    /// The last number that was written to the reader.
    written: u64,
    /// The last number that is gone: everything after it is in `kept`.
    dropped: u64,
    kept: VecDeque<Kept>,
    bytes: usize,
    /// Bytes of those after `written`.
    waiting_bytes: usize,
    /// Who wants to know when a number was taken in.
    settling: BTreeMap<u64, oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Kept {
    source: Arc<str>,
    at_ms: u64,
    bytes: usize,
    frame: Arc<ServerFrame>,
}

/// More waits than may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooSlow;

/// A frame on its way to many: what it costs is counted once.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) source: Arc<str>,
    pub(crate) frame: Arc<ServerFrame>,
    bytes: usize,
}

impl Push {
    pub(crate) fn new(source: &str, frame: ServerFrame) -> Self {
        let text = match &frame {
            ServerFrame::Message { note, .. } => note.message.len(),
            ServerFrame::Signal { signal, .. } => signal_len(signal),
            _ => 0,
        };
        Self { source: source.into(), frame: Arc::new(frame), bytes: text + FRAME_OVERHEAD }
    }
}

fn signal_len(signal: &contracts::signals::signaling::PeerSignal) -> usize {
    use contracts::signals::signaling::PeerSignal;
    match signal {
        PeerSignal::Offer { sdp, .. } | PeerSignal::Answer { sdp, .. } => sdp.len(),
        PeerSignal::Candidate { candidate, .. } => candidate.len(),
        _ => 0,
    }
}

impl Journal {
    pub(crate) fn new(epoch: String, limits: Limits, total: Arc<AtomicUsize>) -> Self {
        let state = State {
            epoch,
            holder: 0,
            acks: false,
            last: 0,
            written: 0,
            dropped: 0,
            kept: VecDeque::new(),
            bytes: 0,
            waiting_bytes: 0,
            settling: BTreeMap::new(),
        };
        Self { state: Mutex::new(state), filled: Notify::new(), limits, total }
    }

    pub(crate) fn epoch(&self) -> String {
        self.lock().epoch.clone()
    }

    /// Numbers a frame. Who reads too slowly is told apart; nothing was numbered then.
    pub(crate) fn push(&self, push: &Push, now_ms: u64) -> Result<u64, TooSlow> {
        let mut state = self.lock();
        let waiting = usize::try_from(state.last - state.written).unwrap_or(usize::MAX);
        let full = waiting >= self.limits.waiting_frames
            || (waiting > 0 && state.waiting_bytes + push.bytes > self.limits.waiting_bytes);
        if state.holder != 0 && full {
            return Err(TooSlow);
        }
        state.last += 1;
        let (source, frame) = (Arc::clone(&push.source), Arc::clone(&push.frame));
        state.kept.push_back(Kept { source, at_ms: now_ms, bytes: push.bytes, frame });
        state.bytes += push.bytes;
        state.waiting_bytes += push.bytes;
        self.total.fetch_add(push.bytes, Ordering::Relaxed);
        let number = state.last;
        self.trim_locked(&mut state, now_ms);
        drop(state);
        self.filled.notify_waiters();
        Ok(number)
    }

    /// Whether what this source pushed is kept here.
    pub(crate) fn holds(&self, source: &str) -> bool {
        self.lock().kept.iter().any(|kept| *kept.source == *source)
    }

    /// The frame after `cursor`, once there is one. Never ends for a connection that no longer holds the journal.
    pub(crate) async fn next(&self, holder: u64, cursor: u64) -> (u64, Arc<ServerFrame>) {
        loop {
            // Made before looking, so that a push in between wakes it. Everybody is woken: a connection that was replaced
            // may still wait here.
            let filled = self.filled.notified();
            if let Some(frame) = self.at(holder, cursor + 1) {
                return (cursor + 1, frame);
            }
            filled.await;
        }
    }

    fn at(&self, holder: u64, number: u64) -> Option<Arc<ServerFrame>> {
        let state = self.lock();
        let index = usize::try_from(number.checked_sub(state.dropped + 1)?).ok()?;
        (state.holder == holder).then(|| state.kept.get(index).map(|kept| Arc::clone(&kept.frame)))?
    }

    /// Everything up to `number` was handed to the reader's transport.
    pub(crate) fn written(&self, holder: u64, number: u64, now_ms: u64) {
        let mut state = self.lock();
        if state.holder != holder || number <= state.written {
            return;
        }
        state.set_written(number);
        if !state.acks {
            state.settle(number);
        }
        self.trim_locked(&mut state, now_ms);
    }

    /// The reader took in everything up to `number`; false when that was never pushed.
    pub(crate) fn ack(&self, number: u64) -> bool {
        let mut state = self.lock();
        let known = number <= state.last;
        if known {
            state.settle(number);
        }
        known
    }

    /// Resolves when the frame is acknowledged, or written where the reader does not acknowledge. Ends without a value
    /// when that can't happen any more.
    pub(crate) fn settled(&self, number: u64) -> oneshot::Receiver<()> {
        let (sender, settled) = oneshot::channel();
        let mut state = self.lock();
        if !state.acks && state.written >= number {
            let _ = sender.send(());
        } else {
            state.settling.insert(number, sender);
        }
        settled
    }

    /// Makes a connection the reader, after the frame `from`. False, and nothing changes, when frames after it are gone
    /// or it was never pushed.
    pub(crate) fn attach(&self, holder: u64, from: u64, acks: bool) -> bool {
        let mut state = self.lock();
        if from < state.dropped || from > state.last {
            return false;
        }
        state.holder = holder;
        state.acks = acks;
        state.set_written(from);
        state.settle(from);
        true
    }

    /// The reader is gone. What was pushed stays for a while.
    pub(crate) fn detach(&self, holder: u64, now_ms: u64) {
        let mut state = self.lock();
        if state.holder == holder {
            state.holder = 0;
            self.trim_locked(&mut state, now_ms);
        }
    }

    /// What was pushed after `from`, whether that is all of it, and what was pushed at all of late.
    pub(crate) fn after(&self, from: u64) -> (bool, Vec<KeptFrame>, Vec<String>) {
        let state = self.lock();
        let complete = from >= state.dropped && from <= state.last;
        let skipped = usize::try_from(from.saturating_sub(state.dropped)).unwrap_or(usize::MAX);
        let (mut frames, mut seen) = (Vec::new(), Vec::new());
        for (index, kept) in state.kept.iter().enumerate() {
            if index < skipped {
                seen.push(kept.source.to_string());
            } else {
                frames.push(KeptFrame { source: kept.source.to_string(), frame: (*kept.frame).clone() });
            }
        }
        (complete, frames, seen)
    }

    /// Puts what another gateway pushed before everything here, and drops what came by both ways. Only before the
    /// reader has been told any number.
    pub(crate) fn import(&self, frames: Vec<KeptFrame>, seen: Vec<String>, now_ms: u64) {
        let mut state = self.lock();
        let known: HashSet<Arc<str>> = frames
            .iter()
            .map(|kept| kept.source.as_str())
            .chain(seen.iter().map(String::as_str))
            .map(Arc::from)
            .collect();
        let own = std::mem::take(&mut state.kept);
        let first = state.dropped + 1;
        self.total.fetch_sub(state.bytes, Ordering::Relaxed);
        (state.bytes, state.waiting_bytes, state.last, state.written, state.dropped) = (0, 0, 0, 0, 0);
        let mut settling = std::mem::take(&mut state.settling);
        let imported = frames.into_iter().map(|kept| (0, Push::new(&kept.source, kept.frame), now_ms));
        let own = (first..).zip(own).filter(|(_, kept)| !known.contains(&kept.source)).map(|(number, kept)| {
            (number, Push { source: kept.source, frame: kept.frame, bytes: kept.bytes }, kept.at_ms)
        });
        for (number, push, at_ms) in imported.chain(own) {
            state.last += 1;
            state.bytes += push.bytes;
            if let Some(waiter) = settling.remove(&number) {
                let last = state.last;
                state.settling.insert(last, waiter);
            }
            state.kept.push_back(Kept { source: push.source, at_ms, bytes: push.bytes, frame: push.frame });
        }
        state.waiting_bytes = state.bytes;
        self.total.fetch_add(state.bytes, Ordering::Relaxed);
        drop(state);
        self.filled.notify_waiters();
    }

    /// Drops what is kept too long or is too much. What waits to be written stays.
    pub(crate) fn trim(&self, now_ms: u64) {
        let mut state = self.lock();
        self.trim_locked(&mut state, now_ms);
        if state.kept.capacity() > 2 * state.kept.len() {
            state.kept.shrink_to_fit();
        }
    }

    fn trim_locked(&self, state: &mut State, now_ms: u64) {
        let limits = &self.limits;
        while let Some(oldest) = state.kept.front() {
            let detached = state.holder == 0;
            let droppable = detached || state.dropped < state.written;
            let over = state.kept.len() > limits.history_frames
                || state.bytes > limits.history_bytes
                || oldest.at_ms.saturating_add(limits.history_ttl_ms) <= now_ms
                || self.total.load(Ordering::Relaxed) > limits.history_total_bytes;
            if !droppable || !over {
                return;
            }
            let bytes = oldest.bytes;
            state.kept.pop_front();
            state.dropped += 1;
            state.bytes -= bytes;
            if state.dropped > state.written {
                state.written = state.dropped;
                state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
            }
            self.total.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every statement that others see, so a panic elsewhere leaves it usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn set_written(&mut self, number: u64) {
        self.written = number;
        let skipped = usize::try_from(number.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        self.waiting_bytes = self.kept.iter().skip(skipped).map(|kept| kept.bytes).sum();
    }

    fn settle(&mut self, number: u64) {
        let later = self.settling.split_off(&(number + 1));
        for (_, waiter) in std::mem::replace(&mut self.settling, later) {
            let _ = waiter.send(());
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let bytes = self.lock().bytes;
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
