//! What was seen, bounded: the oldest exchange goes first.

use std::collections::VecDeque;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

/// What an exchange weighs besides its texts and bodies.
const BASE_BYTES: usize = 512;
/// What a message weighs besides its payload.
const MESSAGE_BYTES: usize = 96;
/// Most messages of one exchange; the oldest go first.
pub(super) const MAX_MESSAGES: usize = 1_000;

/// The exchanges, oldest first.
pub(super) struct Book {
    exchanges: VecDeque<Exchange>,
    bytes: usize,
    last: u64,
    max_exchanges: usize,
    max_bytes: usize,
}

/// One request and its answer.
pub(super) struct Exchange {
    pub(super) id: u64,
    pub(super) source: usize,
    pub(super) replay_of: Option<u64>,
    /// Unix milliseconds.
    pub(super) began_ms: u64,
    /// On the monotonic clock; the times below count from it.
    pub(super) began: Duration,
    pub(super) method: Method,
    pub(super) authority: String,
    /// Path and query.
    pub(super) path: String,
    /// What it wanted to switch to.
    pub(super) protocol: Option<String>,
    pub(super) request_headers: HeaderMap,
    pub(super) request: Captured,
    pub(super) status: Option<StatusCode>,
    pub(super) response_headers: HeaderMap,
    pub(super) response: Captured,
    pub(super) trailers: HeaderMap,
    pub(super) messages: VecDeque<Message>,
    message_bytes: usize,
    /// How many there were in all.
    pub(super) message_count: u64,
    pub(super) answered: Option<Duration>,
    pub(super) ended: Option<Duration>,
    /// What went wrong, or what there is to say.
    pub(super) notes: Vec<String>,
    weight: usize,
}

/// A body, or its beginning.
#[derive(Default)]
pub(super) struct Captured {
    pub(super) bytes: Vec<u8>,
    /// How long it was in truth.
    pub(super) total: u64,
    /// It came to its end.
    pub(super) ended: bool,
}

impl Captured {
    pub(super) fn is_cut(&self) -> bool {
        self.total > self.bytes.len() as u64
    }

    pub(super) fn is_whole(&self) -> bool {
        self.ended && !self.is_cut()
    }

    /// Keeps what there is room for; `false` when something was left out.
    pub(super) fn push(&mut self, bytes: &[u8], max: usize) -> bool {
        let room = max.saturating_sub(self.bytes.len());
        // A body that lacks a piece in its middle would be another one.
        let kept = if self.is_cut() { 0 } else { bytes.len().min(room) };
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.total += bytes.len() as u64;
        kept == bytes.len()
    }
}

/// A WebSocket message, an event of a stream, or a piece of something else.
pub(super) struct Message {
    /// Counts the exchange's messages.
    pub(super) number: u64,
    /// Since the exchange began.
    pub(super) after: Duration,
    /// Whether the public sent it.
    pub(super) from_public: bool,
    pub(super) heard: Heard,
}

/// What a parser found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// `text`, `binary`, `ping`, `pong`, `close`, `event`, `bytes`.
    pub(super) kind: &'static str,
    /// An event's type.
    pub(super) name: Option<String>,
    pub(super) payload: Vec<u8>,
    /// Its length in truth.
    pub(super) total: u64,
}

impl Exchange {
    pub(super) fn new(id: u64, source: usize, method: Method, path: String) -> Self {
        Self {
            id,
            source,
            method,
            path,
            replay_of: None,
            began_ms: 0,
            began: Duration::ZERO,
            authority: String::new(),
            protocol: None,
            request_headers: HeaderMap::new(),
            request: Captured::default(),
            status: None,
            response_headers: HeaderMap::new(),
            response: Captured::default(),
            trailers: HeaderMap::new(),
            messages: VecDeque::new(),
            message_bytes: 0,
            message_count: 0,
            answered: None,
            ended: None,
            notes: Vec::new(),
            weight: 0,
        }
    }

    /// What kind of exchange it is: `http`, `sse`, or what it switched to.
    pub(super) fn kind(&self) -> &str {
        match &self.protocol {
            Some(protocol) => protocol,
            None if is_event_stream(&self.response_headers) => "sse",
            None => "http",
        }
    }

    pub(super) fn add_message(&mut self, after: Duration, from_public: bool, heard: Heard, max_bytes: usize) {
        self.message_count += 1;
        let message = Message { number: self.message_count, after, from_public, heard };
        self.message_bytes += message.weight();
        self.messages.push_back(message);
        while self.messages.len() > MAX_MESSAGES || self.message_bytes > max_bytes {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.message_bytes -= oldest.weight();
        }
    }

    fn weigh(&self) -> usize {
        let headers = [&self.request_headers, &self.response_headers, &self.trailers];
        let headers = headers.iter().flat_map(|map| map.iter());
        let headers: usize = headers.map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        let notes: usize = self.notes.iter().map(String::len).sum();
        let bodies = self.request.bytes.capacity() + self.response.bytes.capacity();
        BASE_BYTES + self.path.len() + self.authority.len() + headers + self.message_bytes + notes + bodies
    }
}

impl Message {
    fn weight(&self) -> usize {
        MESSAGE_BYTES + self.heard.payload.len() + self.heard.name.as_ref().map_or(0, String::len)
    }
}

pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

impl Book {
    pub(super) fn new(max_exchanges: usize, max_bytes: usize) -> Self {
        Self { exchanges: VecDeque::new(), bytes: 0, last: 0, max_exchanges, max_bytes }
    }

    /// Adds an exchange made for the id it gets.
    pub(super) fn add(&mut self, make: impl FnOnce(u64) -> Exchange) -> u64 {
        self.last += 1;
        self.exchanges.push_back(make(self.last));
        self.edit(self.last, |_| {});
        self.last
    }

    /// Changes one. `None` when it is gone already.
    pub(super) fn edit<T>(&mut self, id: u64, change: impl FnOnce(&mut Exchange) -> T) -> Option<T> {
        let at = self.at(id)?;
        let exchange = &mut self.exchanges[at];
        let changed = change(exchange);
        let weight = exchange.weigh();
        self.bytes = self.bytes - exchange.weight + weight;
        exchange.weight = weight;
        self.evict();
        Some(changed)
    }

    pub(super) fn get(&self, id: u64) -> Option<&Exchange> {
        Some(&self.exchanges[self.at(id)?])
    }

    /// Newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.iter().rev()
    }

    /// The oldest there is.
    pub(super) fn oldest(&self) -> u64 {
        self.exchanges.front().map_or(self.last + 1, |exchange| exchange.id)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.exchanges.clear();
        self.bytes = 0;
    }

    fn at(&self, id: u64) -> Option<usize> {
        self.exchanges.binary_search_by_key(&id, |exchange| exchange.id).ok()
    }

    fn evict(&mut self) {
        while self.bytes > self.max_bytes || self.exchanges.len() > self.max_exchanges {
            let Some(oldest) = self.exchanges.pop_front() else { return };
            self.bytes -= oldest.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(book: &mut Book, body: usize) -> u64 {
        book.add(|id| {
            let mut exchange = Exchange::new(id, 0, Method::GET, "/".into());
            exchange.request.push(&vec![7; body], body);
            exchange
        })
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many_or_they_weigh_too_much() {
        let mut book = Book::new(3, 10_000);
        let ids: Vec<u64> = (0..5).map(|_| add(&mut book, 10)).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5]);
        assert_eq!(book.newest().map(|exchange| exchange.id).collect::<Vec<_>>(), [5, 4, 3]);
        book.edit(4, |exchange| exchange.response.push(&[1; 8_500], 9_000));
        assert_eq!(book.newest().map(|exchange| exchange.id).collect::<Vec<_>>(), [5, 4]);
        assert!(book.bytes() <= 10_000, "{}", book.bytes());
        book.edit(5, |exchange| exchange.response.push(&[1; 8_000], 9_000));
        assert_eq!(book.newest().map(|exchange| exchange.id).collect::<Vec<_>>(), [5]);
        assert_eq!((book.get(4).is_none(), book.edit(4, |_| ())), (true, None), "who records it is told");
        book.clear();
        assert_eq!((book.bytes(), book.oldest()), (0, 6));
    }

    #[test]
    fn a_body_is_kept_from_its_beginning_and_says_when_it_is_cut() {
        let mut body = Captured::default();
        assert!(body.push(b"abcd", 6));
        assert!(!body.push(b"efgh", 6));
        assert!(!body.push(b"", 6) || body.is_cut());
        body.ended = true;
        assert_eq!((&body.bytes[..], body.total, body.is_cut(), body.is_whole()), (&b"abcdef"[..], 8, true, false));
    }

    #[test]
    fn of_many_messages_the_newest_stay() {
        let mut exchange = Exchange::new(1, 0, Method::GET, "/".into());
        let heard = Heard { kind: "text", name: None, payload: vec![1; 10], total: 10 };
        for _ in 0..MAX_MESSAGES + 5 {
            exchange.add_message(Duration::ZERO, true, heard.clone(), usize::MAX);
        }
        assert_eq!((exchange.messages.len(), exchange.messages[0].number), (MAX_MESSAGES, 6));
        exchange.add_message(Duration::ZERO, true, heard, 500);
        assert_eq!(exchange.messages.len(), 4, "a message weighs 106 bytes");
    }
}
