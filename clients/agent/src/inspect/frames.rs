//! WebSocket messages in bytes as they pass (RFC 6455 §5.2, with permessage-deflate of RFC 7692).

use flate2::{Decompress, FlushDecompress, Status};

use super::book::Heard;

/// What ends a compressed message and is left out on the wire (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Bytes that one message is inflated to; after a longer one no more are read, or a stranger could keep this busy.
const MAX_INFLATED: u64 = 32 << 20;

/// Finds the messages of one direction, however its bytes are cut. Looks on only: what breaks the rules is for the two
/// ends to refuse, and ends the looking.
pub(super) struct Frames {
    head: Vec<u8>,
    frame: Option<Frame>,
    message: Option<Partial>,
    /// A control frame's payload; they come between a message's fragments.
    control: Vec<u8>,
    inflate: Option<Inflate>,
    is_lost: bool,
    max: usize,
}

struct Frame {
    opcode: u8,
    is_final: bool,
    mask: Option<[u8; 4]>,
    at: usize,
    left: u64,
}

struct Partial {
    kind: &'static str,
    is_compressed: bool,
    payload: Vec<u8>,
    total: u64,
}

impl Frames {
    /// `extensions` are those of the answer; at most `max` bytes of a message are kept.
    pub(super) fn new(extensions: &str, max: usize) -> Self {
        let is_deflate = |one: &str| one.split(';').next().is_some_and(|name| name.trim() == "permessage-deflate");
        let inflate = extensions.split(',').any(is_deflate).then(|| Inflate(Decompress::new(false)));
        Self { head: Vec::new(), frame: None, message: None, control: Vec::new(), inflate, is_lost: false, max }
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8], out: &mut dyn FnMut(Heard)) {
        while !self.is_lost && (!bytes.is_empty() || self.frame.as_ref().is_some_and(|frame| frame.left == 0)) {
            let Some(mut frame) = self.frame.take() else {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                self.frame = self.begin();
                continue;
            };
            let taken = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len());
            let mut piece = bytes[..taken].to_vec();
            bytes = &bytes[taken..];
            if let Some(mask) = frame.mask {
                for (at, byte) in piece.iter_mut().enumerate() {
                    *byte ^= mask[(frame.at + at) % 4];
                }
            }
            frame.at += taken;
            frame.left -= taken as u64;
            self.take(&frame, &piece);
            if frame.left == 0 {
                self.end(&frame, out);
            } else {
                self.frame = Some(frame);
            }
        }
    }

    /// Reads a head once it is there.
    fn begin(&mut self) -> Option<Frame> {
        let head = &self.head;
        let second = *head.get(1)?;
        let (short, has_mask) = (second & 0x7f, second & 0x80 != 0);
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if head.len() < 2 + length_bytes + if has_mask { 4 } else { 0 } {
            return None;
        }
        let long = head[2..2 + length_bytes].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let left = if length_bytes == 0 { u64::from(short) } else { long };
        let mask = has_mask.then(|| [0, 1, 2, 3].map(|at| head[2 + length_bytes + at]));
        let (opcode, is_final, is_compressed) = (head[0] & 0x0f, head[0] & 0x80 != 0, head[0] & 0x40 != 0);
        self.head.clear();
        let kind = match opcode {
            1 => Some("text"),
            2 => Some("binary"),
            _ => None,
        };
        match kind {
            Some(kind) => self.message = Some(Partial { kind, is_compressed, payload: Vec::new(), total: 0 }),
            // A fragment of nothing, a kind nobody knows, a control frame that is too long.
            None if opcode == 0 && self.message.is_none() || (3..8).contains(&opcode) || opcode >= 8 && left > 125 => {
                self.is_lost = true;
            }
            None => {}
        }
        Some(Frame { opcode, is_final, mask, at: 0, left })
    }

    fn take(&mut self, frame: &Frame, piece: &[u8]) {
        if frame.opcode >= 8 {
            self.control.extend_from_slice(piece);
        } else if let Some(message) = &mut self.message {
            message.take(piece, self.inflate.as_mut(), self.max);
        }
    }

    fn end(&mut self, frame: &Frame, out: &mut dyn FnMut(Heard)) {
        if frame.opcode >= 8 {
            let payload = std::mem::take(&mut self.control);
            let kind = match frame.opcode {
                8 => "close",
                9 => "ping",
                _ => "pong",
            };
            out(Heard { kind, name: None, total: payload.len() as u64, payload });
        } else if frame.is_final
            && let Some(mut message) = self.message.take()
        {
            if message.is_compressed {
                message.take(&TAIL, self.inflate.as_mut(), self.max);
            }
            if message.total > MAX_INFLATED {
                self.inflate = None;
            }
            let name = (message.is_compressed && self.inflate.is_none()).then(|| "compressed".to_owned());
            out(Heard { kind: message.kind, name, payload: message.payload, total: message.total });
        }
    }
}

impl Partial {
    fn take(&mut self, piece: &[u8], inflate: Option<&mut Inflate>, max: usize) {
        match inflate.filter(|_| self.is_compressed) {
            Some(inflate) => inflate.feed(piece, &mut |bytes| self.keep(bytes, max)),
            None => {
                self.keep(piece, max);
            }
        }
    }

    /// `false` when enough was seen.
    fn keep(&mut self, bytes: &[u8], max: usize) -> bool {
        let room = max.saturating_sub(self.payload.len());
        self.payload.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.total += bytes.len() as u64;
        self.total <= MAX_INFLATED
    }
}

struct Inflate(Decompress);

impl Inflate {
    fn feed(&mut self, mut piece: &[u8], out: &mut dyn FnMut(&[u8]) -> bool) {
        let mut buffer = [0; 4_096];
        loop {
            let (read, written) = (self.0.total_in(), self.0.total_out());
            let status = self.0.decompress(piece, &mut buffer, FlushDecompress::Sync);
            let read = usize::try_from(self.0.total_in() - read).unwrap_or(0);
            let written = usize::try_from(self.0.total_out() - written).unwrap_or(0);
            piece = &piece[read.min(piece.len())..];
            if !out(&buffer[..written]) {
                return;
            }
            match status {
                // A message may end in a final block; the next begins a new stream.
                Ok(Status::StreamEnd) => self.0.reset(false),
                Ok(_) => {}
                Err(_) => return,
            }
            if written < buffer.len() && (piece.is_empty() || read == 0) {
                return;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut out = vec![first];
        let masked = if mask.is_some() { 0x80 } else { 0 };
        match payload.len() {
            length @ 0..=125 => out.push(length as u8 | masked),
            length @ 126..=65_535 => {
                out.push(126 | masked);
                out.extend((length as u16).to_be_bytes());
            }
            length => {
                out.push(127 | masked);
                out.extend((length as u64).to_be_bytes());
            }
        }
        out.extend(mask.iter().flatten());
        out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask.map_or(0, |mask| mask[at % 4])));
        out
    }

    fn heard(stream: &[u8], piece: usize, extensions: &str, max: usize) -> Vec<(&'static str, Vec<u8>, u64)> {
        let (mut frames, mut heard) = (Frames::new(extensions, max), Vec::new());
        for bytes in stream.chunks(piece) {
            frames.feed(bytes, &mut |message| heard.push((message.kind, message.payload, message.total)));
        }
        heard
    }

    #[test]
    fn messages_are_found_however_the_bytes_come() {
        let long = vec![9; 70_000];
        let mask = Some([1, 2, 3, 4]);
        let mut stream = frame(0x81, b"hello", mask);
        stream.extend(frame(0x01, b"frag", mask));
        stream.extend(frame(0x89, b"p", mask));
        stream.extend(frame(0x80, b"ment", mask));
        stream.extend(frame(0x82, &long, mask));
        stream.extend(frame(0x82, &[5; 200], None));
        stream.extend(frame(0x81, b"", None));
        stream.extend(frame(0x88, b"\x03\xe8bye", mask));
        for piece in [1, 3, 1_000, 100_000] {
            let heard = heard(&stream, piece, "", 100);
            let kinds: Vec<_> = heard.iter().map(|(kind, _, total)| (*kind, *total)).collect();
            let want =
                [("text", 5), ("ping", 1), ("text", 8), ("binary", 70_000), ("binary", 200), ("text", 0), ("close", 5)];
            assert_eq!(kinds, want, "in pieces of {piece}");
            assert_eq!((&heard[0].1[..], &heard[2].1[..], heard[3].1.len()), (&b"hello"[..], &b"fragment"[..], 100));
        }
    }

    #[test]
    fn compressed_messages_are_read_with_their_context() {
        let mut compress = Compress::new(Compression::default(), false);
        let mut stream = Vec::new();
        let said = ["{\"hello\":\"world\"}".repeat(50), "{\"hello\":\"world\"}".repeat(60), "x".into()];
        for text in &said {
            let mut out = Vec::with_capacity(10_000);
            compress.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).unwrap();
            assert!(out.ends_with(&TAIL));
            stream.extend(frame(0xc1, &out[..out.len() - 4], Some([9, 8, 7, 6])));
        }
        for piece in [1, 10, 10_000] {
            let heard = heard(&stream, piece, "foo, permessage-deflate; server_no_context_takeover", 1 << 20);
            let texts: Vec<_> = heard.into_iter().map(|(_, payload, _)| String::from_utf8(payload).unwrap()).collect();
            assert_eq!(texts, said, "in pieces of {piece}");
        }
    }

    #[test]
    fn nonsense_ends_the_looking() {
        assert!(heard(&[0x83, 0, 0x81, 1, b'a'], 1, "", 10).is_empty());
        assert!(heard(&frame(0x80, b"of nothing", None), 5, "", 10).is_empty());
    }
}
