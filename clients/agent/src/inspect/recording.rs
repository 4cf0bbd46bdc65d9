//! One exchange as it is seen while it passes.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HOST, SEC_WEBSOCKET_EXTENSIONS};
use http::{HeaderMap, StatusCode};

use super::book::{Captured, Exchange, Heard, is_event_stream};
use super::events::Events;
use super::frames::Frames;
use super::{Asked, Inner};
use crate::proxy::UPGRADE_METHOD;
use crate::watched::Onlooker;

/// Writes down one exchange. When that is gone from the book, nothing happens any more.
#[derive(Clone)]
pub(crate) struct Recording {
    inner: Arc<Inner>,
    id: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

impl Recording {
    pub(super) fn begin(inner: Arc<Inner>, source: usize, asked: &Asked<'_>) -> Self {
        let clock = &inner.options.clock;
        let (began_ms, began) = (clock.now_ms(), clock.monotonic());
        let path = asked.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let authority = asked.uri.authority().map(|authority| authority.to_string());
        let host = || asked.headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        let id = inner.book().add(|id| {
            let mut exchange = Exchange::new(id, source, asked.method.clone(), path);
            (exchange.began_ms, exchange.began) = (began_ms, began);
            exchange.replay_of = asked.replay_of;
            exchange.authority = authority.or_else(host).unwrap_or_default();
            exchange.protocol = asked.protocol.map(str::to_ascii_lowercase);
            exchange.request_headers = asked.headers.clone();
            exchange.request_headers.remove(UPGRADE_METHOD);
            exchange
        });
        inner.changed(id);
        Self { inner, id }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Sees the request's body.
    pub(crate) fn request(&self) -> Tap {
        Tap { recording: self.clone(), side: Side::Request, unseen: 0, is_full: false, events: None, is_over: false }
    }

    /// Sees the answer's body.
    pub(crate) fn response(&self) -> Tap {
        let is_plain = |exchange: &Exchange| !exchange.response_headers.contains_key(CONTENT_ENCODING);
        let book = self.inner.book();
        let events =
            book.get(self.id).filter(|exchange| is_event_stream(&exchange.response_headers) && is_plain(exchange));
        let events = events.map(|_| Events::new(self.max_body()));
        drop(book);
        Tap { recording: self.clone(), side: Side::Response, unseen: 0, is_full: false, events, is_over: false }
    }

    /// The request has none.
    pub(crate) fn without_body(&self) {
        self.edit(|exchange| exchange.request.ended = true);
    }

    /// The answer began.
    pub(crate) fn answered(&self, status: StatusCode, headers: &HeaderMap) {
        let now = self.inner.options.clock.monotonic();
        self.edit(|exchange| {
            exchange.status = Some(status);
            exchange.response_headers = headers.clone();
            exchange.answered = Some(now.saturating_sub(exchange.began));
        });
        self.inner.changed(self.id);
    }

    /// Says something about it.
    pub(crate) fn note(&self, text: &str) {
        self.edit(|exchange| exchange.notes.push(text.to_owned()));
        self.inner.changed(self.id);
    }

    /// It is over, both ways.
    pub(crate) fn ended(&self, error: Option<String>) {
        let now = self.inner.options.clock.monotonic();
        self.edit(|exchange| {
            exchange.ended.get_or_insert(now.saturating_sub(exchange.began));
            exchange.notes.extend(error);
        });
        self.inner.changed(self.id);
    }

    /// See what passes after a switch: from the program, and from the public.
    pub(crate) fn onlookers(&self, protocol: &str, answer: &HeaderMap) -> (Onlooker, Onlooker) {
        let extensions = answer.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
        let extensions = extensions.collect::<Vec<_>>().join(",");
        let is_websocket = protocol.eq_ignore_ascii_case("websocket");
        let onlooker = |from_public: bool| -> Onlooker {
            let (recording, max) = (self.clone(), self.max_body());
            if !is_websocket {
                return Box::new(move |bytes| recording.heard(from_public, piece(bytes, max)));
            }
            let mut frames = Frames::new(&extensions, max);
            Box::new(move |bytes| frames.feed(bytes, &mut |heard| recording.heard(from_public, heard)))
        };
        (onlooker(false), onlooker(true))
    }

    /// Whether more of the answer would not be kept.
    pub(crate) fn has_enough(&self) -> bool {
        self.inner.book().get(self.id).is_none_or(|exchange| exchange.response.is_cut())
    }

    fn heard(&self, from_public: bool, heard: Heard) {
        let (now, max) = (self.inner.options.clock.monotonic(), self.max_body());
        self.edit(|exchange| {
            let after = now.saturating_sub(exchange.began);
            let is_close = heard.kind == "close";
            exchange.add_message(after, from_public, heard, max);
            // Both have said it: the connection is over, however long the sockets linger (RFC 6455 §7.1.4).
            let mut closes = exchange.messages.iter().rev().filter(|message| message.heard.kind == "close");
            if is_close && closes.any(|close| close.from_public != from_public) {
                exchange.ended.get_or_insert(after);
            }
        });
        self.inner.changed(self.id);
    }

    fn max_body(&self) -> usize {
        self.inner.options.max_body_bytes
    }

    fn edit<T>(&self, change: impl FnOnce(&mut Exchange) -> T) -> Option<T> {
        self.inner.book().edit(self.id, change)
    }
}

fn piece(bytes: &[u8], max: usize) -> Heard {
    let payload = bytes[..bytes.len().min(max)].to_vec();
    Heard { kind: "bytes", name: None, payload, total: bytes.len() as u64 }
}

/// Sees a body.
pub(crate) struct Tap {
    recording: Recording,
    side: Side,
    /// Bytes that passed since nothing more is kept.
    unseen: u64,
    is_full: bool,
    events: Option<Events>,
    is_over: bool,
}

impl Tap {
    pub(crate) fn data(&mut self, bytes: &Bytes) {
        if let Some(events) = &mut self.events {
            let recording = &self.recording;
            events.feed(bytes, &mut |heard| recording.heard(false, heard));
        }
        if self.is_full {
            self.unseen += bytes.len() as u64;
            return;
        }
        let (side, max) = (self.side, self.recording.max_body());
        let all = self.recording.edit(|exchange| side.of(exchange).push(bytes, max));
        if all != Some(true) {
            self.is_full = true;
            self.recording.inner.changed(self.recording.id);
        }
    }

    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        if self.side == Side::Response {
            self.recording.edit(|exchange| exchange.trailers = trailers.clone());
        }
    }

    /// The body is complete.
    pub(crate) fn end(&mut self) {
        self.over(true, None);
    }

    /// It won't be completed.
    pub(crate) fn broke(&mut self, error: &str) {
        self.over(false, Some(error));
    }

    fn over(&mut self, complete: bool, error: Option<&str>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let (side, unseen) = (self.side, self.unseen);
        self.recording.edit(|exchange| {
            let body = side.of(exchange);
            body.total += unseen;
            body.ended = complete;
            if let Some(error) = error {
                let whose = if side == Side::Request { "request" } else { "answer" };
                exchange.notes.push(format!("the {whose} was cut off: {error}"));
            }
        });
        match side {
            Side::Response => self.recording.ended(None),
            Side::Request => self.recording.inner.changed(self.recording.id),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if !self.is_over {
            let reader = if self.side == Side::Request { "the program did not read it" } else { "nobody read it" };
            self.broke(&format!("{reader} to its end"));
        }
    }
}

impl Side {
    fn of(self, exchange: &mut Exchange) -> &mut Captured {
        match self {
            Self::Request => &mut exchange.request,
            Self::Response => &mut exchange.response,
        }
    }
}
