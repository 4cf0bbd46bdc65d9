//! Server-Sent Events in a body as it passes (HTML, "Parsing an event stream").

use super::book::Heard;

/// Finds the events of a stream, however its bytes are cut.
pub(super) struct Events {
    line: Vec<u8>,
    /// The line is longer than what is kept.
    line_total: u64,
    ended_by_cr: bool,
    data: Vec<u8>,
    total: u64,
    name: Option<String>,
    has_data: bool,
    max: usize,
}

impl Events {
    pub(super) fn new(max: usize) -> Self {
        Self {
            line: Vec::new(),
            line_total: 0,
            ended_by_cr: false,
            data: Vec::new(),
            total: 0,
            name: None,
            has_data: false,
            max,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut dyn FnMut(Heard)) {
        for &byte in bytes {
            // A line ends with CR LF, CR, or LF.
            let after_cr = std::mem::take(&mut self.ended_by_cr);
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    self.ended_by_cr = byte == b'\r';
                    self.end_line(out);
                }
                _ => {
                    self.line_total += 1;
                    if self.line.len() < self.max {
                        self.line.push(byte);
                    }
                }
            }
        }
    }

    fn end_line(&mut self, out: &mut dyn FnMut(Heard)) {
        let line = std::mem::take(&mut self.line);
        let missing = std::mem::take(&mut self.line_total) - line.len() as u64;
        if line.is_empty() {
            let (name, payload, total) = (self.name.take(), std::mem::take(&mut self.data), self.total);
            self.total = 0;
            if std::mem::take(&mut self.has_data) {
                out(Heard { kind: "event", name, payload, total });
            }
            return;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.keep(b"\n");
                }
                self.keep(value);
                self.total += missing;
            }
            b"event" => self.name = Some(String::from_utf8_lossy(&value[..value.len().min(200)]).into_owned()),
            _ => {}
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.max.saturating_sub(self.data.len());
        self.data.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.total += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(stream: &str, piece: usize, max: usize) -> Vec<(Option<String>, String, u64)> {
        let (mut events, mut heard) = (Events::new(max), Vec::new());
        for bytes in stream.as_bytes().chunks(piece) {
            events.feed(bytes, &mut |event| {
                heard.push((event.name, String::from_utf8_lossy(&event.payload).into_owned(), event.total));
            });
        }
        heard
    }

    #[test]
    fn events_are_found_however_the_bytes_come() {
        let stream =
            ": hello\n\ndata: a\ndata:b\n\nevent: tick\r\nid: 7\r\ndata: {\"n\":1}\r\n\r\ndata\n\ndata: unfinished";
        let event = |name: Option<&str>, data: &str| (name.map(str::to_owned), data.to_owned(), data.len() as u64);
        let want = [event(None, "a\nb"), event(Some("tick"), "{\"n\":1}"), event(None, "")];
        for piece in [1, 2, 3, 1_000] {
            assert_eq!(heard(stream, piece, 100), want, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_long_event_is_cut_and_says_how_long_it_was() {
        assert_eq!(heard("data: 0123456789012345\n\n", 5, 10), [(None, "0123".to_owned(), 16)]);
    }
}
