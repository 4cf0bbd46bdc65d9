use std::collections::VecDeque;
use std::net::SocketAddr;

use super::Event;

// What an event costs besides its bytes, so that empty messages count too.
const EVENT_BYTES: usize = 64;

/// SCTP's receive window (1 MiB, fixed by the library) cut into datagrams, with their overhead.
const MAX_PARKED_BYTES: usize = 2 * 1024 * 1024;

/// What came in and waits for the owner, and what came in after that was too much.
///
/// The library hands out every message at once and always advertises a whole receive window, so a slow owner can't
/// be felt through SCTP. Instead, while the inbox is full, encrypted datagrams are parked unread: nothing is
/// acknowledged, the other side stops after one window, and no ICE check goes unanswered. Nothing is lost by it but
/// the datagrams above the bound, which SCTP sends again.
pub(super) struct Inbox {
    events: VecDeque<Event>,
    bytes: usize,
    limit_bytes: usize,
    parked: VecDeque<Parked>,
    parked_bytes: usize,
}

pub(super) struct Parked {
    pub(super) source: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) datagram: Vec<u8>,
}

impl Inbox {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, limit_bytes, parked: VecDeque::new(), parked_bytes: 0 }
    }

    pub(super) fn push(&mut self, event: Event) {
        // A path may come and go for hours while nobody reads: only its last state matters.
        if let (Event::StateChanged(_), Some(last @ Event::StateChanged(_))) = (&event, self.events.back_mut()) {
            *last = event;
            return;
        }
        self.bytes += cost(&event);
        self.events.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= cost(&event);
        Some(event)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether an encrypted datagram must wait: behind the others, or until there is room.
    pub(super) fn must_park(&self) -> bool {
        self.is_full() || !self.parked.is_empty()
    }

    pub(super) fn park(&mut self, source: SocketAddr, local: SocketAddr, datagram: &[u8]) {
        if self.parked_bytes + datagram.len() <= MAX_PARKED_BYTES {
            self.parked_bytes += datagram.len();
            self.parked.push_back(Parked { source, local, datagram: datagram.to_vec() });
        }
    }

    /// The oldest parked datagram, once there is room again.
    pub(super) fn unpark(&mut self) -> Option<Parked> {
        if self.is_full() {
            return None;
        }
        let parked = self.parked.pop_front()?;
        self.parked_bytes -= parked.datagram.len();
        Some(parked)
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.limit_bytes
    }
}

fn cost(event: &Event) -> usize {
    EVENT_BYTES + if let Event::Message(data) = event { data.len() } else { 0 }
}
