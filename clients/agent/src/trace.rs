//! What passes on the wire, in lines for people (`--debug`).

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use carrier::Frame;
use clock::Clock;
use http::HeaderMap;

use crate::redact::Redaction;
use crate::watched::Onlooker;

/// Gets a line for each frame of the carrier, each frame of HTTP/2 in it, and each request. Secrets in headers are
/// redacted; bodies are told by their length alone.
#[derive(Clone)]
pub struct Trace {
    out: Arc<dyn Fn(&str) + Send + Sync>,
    clock: Clock,
    redaction: Redaction,
}

impl Trace {
    /// Lines go to `out`, which must not wait.
    pub fn new(clock: Clock, redaction: Redaction, out: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { out: Arc::new(out), clock, redaction }
    }

    pub(crate) fn line(&self, text: &str) {
        let ms = self.clock.now_ms();
        let seconds = ms / 1_000 % 86_400;
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        (self.out)(&format!("{hours:02}:{minutes:02}:{seconds:02}.{:03} {text}", ms % 1_000));
    }

    /// A message of the carrier, in either direction (`→` leaves this machine).
    pub(crate) fn carrier(&self, direction: &str, message: &Bytes) {
        self.line(&format!("carrier {direction} {}", carrier_line(message)));
    }

    /// Tells the frames of a stream of HTTP/2.
    pub(crate) fn http2(&self, direction: &'static str) -> Onlooker {
        let (trace, mut frames) = (self.clone(), Http2Frames::default());
        Box::new(move |bytes| frames.feed(bytes, &mut |line| trace.line(&format!("h2 {direction} {line}"))))
    }

    pub(crate) fn headers(&self, headers: &HeaderMap) -> String {
        let mut text = String::new();
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let value = self.redaction.header(name.as_str(), &value);
            let _ = write!(text, "\n    {name}: {value}");
        }
        text
    }
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trace(…)")
    }
}

fn carrier_line(message: &Bytes) -> String {
    match Frame::decode(message.clone()) {
        Ok(Frame::Data { ack, payload, .. }) if payload.is_empty() => format!("ACK up to {ack}"),
        Ok(Frame::Data { offset, ack, payload }) => format!("DATA {} bytes at {offset}, ack {ack}", payload.len()),
        Ok(Frame::Ping(nonce)) => format!("PING {nonce}"),
        Ok(Frame::Pong(nonce)) => format!("PONG {nonce}"),
        Ok(Frame::Close { code, reason }) => format!("CLOSE {code} {reason}"),
        Err(error) => format!("no frame: {error}"),
    }
}

/// What a client of HTTP/2 says first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a payload that are looked at: a GOAWAY's code, some SETTINGS.
const LOOK: usize = 48;

/// Finds the frames in a stream of HTTP/2 (RFC 9113 §4.1).
#[derive(Default)]
struct Http2Frames {
    head: Vec<u8>,
    payload: Vec<u8>,
    left: usize,
    begun: bool,
}

impl Http2Frames {
    fn feed(&mut self, mut bytes: &[u8], out: &mut dyn FnMut(&str)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                let looked = taken.min(LOOK.saturating_sub(self.payload.len()));
                self.payload.extend_from_slice(&bytes[..looked]);
                self.left -= taken;
                bytes = &bytes[taken..];
            } else {
                let wanted = self.wanted();
                let taken = wanted.saturating_sub(self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..taken]);
                bytes = &bytes[taken..];
                if self.head.len() < self.wanted() {
                    continue;
                }
                if self.head == PREFACE {
                    out("PREFACE");
                    self.head.clear();
                    self.begun = true;
                    continue;
                }
                self.begun = true;
                self.left =
                    usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2]);
            }
            if self.left == 0 && self.head.len() == 9 {
                out(&frame_line(&self.head, &self.payload));
                self.head.clear();
                self.payload.clear();
            }
        }
    }

    /// The preface of one side stands where a frame's head would.
    fn wanted(&self) -> usize {
        if !self.begun && !self.head.is_empty() && PREFACE.starts_with(&self.head) { PREFACE.len() } else { 9 }
    }
}

fn frame_line(head: &[u8], payload: &[u8]) -> String {
    const NAMES: [&str; 10] = [
        "DATA",
        "HEADERS",
        "PRIORITY",
        "RST_STREAM",
        "SETTINGS",
        "PUSH_PROMISE",
        "PING",
        "GOAWAY",
        "WINDOW_UPDATE",
        "CONTINUATION",
    ];
    let number = |bytes: &[u8]| bytes.iter().take(4).fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    let length = number(&head[..3]);
    let (kind, flags, stream) = (head[3], head[4], number(&head[5..9]) & 0x7fff_ffff);
    let mut line = match NAMES.get(usize::from(kind)) {
        Some(name) => format!("{name} stream {stream}, {length} bytes"),
        None => format!("type {kind} stream {stream}, {length} bytes"),
    };
    let ends = matches!(kind, 0 | 1) && flags & 1 != 0;
    for (set, name) in [(ends, " END_STREAM"), (matches!(kind, 4 | 6) && flags & 1 != 0, " ACK")] {
        line += if set { name } else { "" };
    }
    match kind {
        3 if payload.len() >= 4 => line += &format!(", error {}", number(payload)),
        7 if payload.len() >= 8 => {
            line += &format!(", last stream {}, error {}", number(payload), number(&payload[4..]))
        }
        8 if payload.len() >= 4 => line += &format!(", +{}", number(payload) & 0x7fff_ffff),
        4 => {
            for setting in payload.chunks_exact(6) {
                line += &format!(", {}={}", u16::from_be_bytes([setting[0], setting[1]]), number(&setting[2..]));
            }
        }
        _ => {}
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(stream: &[u8], piece: usize) -> Vec<String> {
        let (mut frames, mut lines) = (Http2Frames::default(), Vec::new());
        for bytes in stream.chunks(piece) {
            frames.feed(bytes, &mut |line| lines.push(line.to_owned()));
        }
        lines
    }

    #[test]
    fn frames_are_found_however_the_bytes_come() {
        let mut stream = PREFACE.to_vec();
        stream.extend(b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\x10\0\0");
        stream.extend(b"\0\0\0\x04\x01\0\0\0\0");
        stream.extend(b"\0\0\x05\0\x01\0\0\0\x03hello");
        stream.extend(b"\0\0\x04\x03\0\0\0\0\x05\0\0\0\x08");
        stream.extend(b"\0\0\x04\x08\0\0\0\0\0\0\0\x80\0");
        let want = [
            "PREFACE",
            "SETTINGS stream 0, 6 bytes, 4=1048576",
            "SETTINGS stream 0, 0 bytes ACK",
            "DATA stream 3, 5 bytes END_STREAM",
            "RST_STREAM stream 5, 4 bytes, error 8",
            "WINDOW_UPDATE stream 0, 4 bytes, +32768",
        ];
        for piece in [1, 2, 7, 10, 1_000] {
            assert_eq!(lines(&stream, piece), want, "in pieces of {piece}");
        }
        assert_eq!(lines(&stream[PREFACE.len()..], 3), want[1..], "the side without a preface");
    }

    #[test]
    fn carriers_messages_read_as_what_they_are() {
        let data = Frame::Data { offset: 7, ack: 9, payload: Bytes::from_static(b"abc") };
        assert_eq!(carrier_line(&data.encode()), "DATA 3 bytes at 7, ack 9");
        assert_eq!(carrier_line(&Frame::Data { offset: 7, ack: 9, payload: Bytes::new() }.encode()), "ACK up to 9");
        assert_eq!(carrier_line(&Frame::Close { code: 1012, reason: "restart".into() }.encode()), "CLOSE 1012 restart");
        assert!(carrier_line(&Bytes::from_static(b"\x09")).starts_with("no frame"));
    }
}
