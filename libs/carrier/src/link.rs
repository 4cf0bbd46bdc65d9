//! What one end knows of both directions: pure, no I/O, no time.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::frame::{Frame, MAX_PAYLOAD_BYTES};

/// The other side broke a rule; the carrier can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Bytes are missing in front of a payload.
    #[error("data begins at {offset}, but only {received} bytes have come")]
    Gap {
        /// Where it begins.
        offset: u64,
        /// What is here.
        received: u64,
    },
    /// An acknowledgement of bytes that were never sent, or are forgotten.
    #[error("{ack} bytes are acknowledged, between {acked} and {written} are possible")]
    Ack {
        /// What was acknowledged.
        ack: u64,
        /// What was acknowledged before.
        acked: u64,
        /// What was written.
        written: u64,
    },
    /// More unacknowledged bytes than agreed.
    #[error("the other side sent more than the window allows")]
    Window,
}

#[derive(Debug)]
pub(crate) struct Link {
    window: usize,
    /// Sent on some connection, not acknowledged: from `acked` on.
    sent: VecDeque<Bytes>,
    /// Not sent on this connection yet.
    queue: VecDeque<Bytes>,
    /// The other side has everything below this; it is forgotten here.
    acked: u64,
    /// The other side has read everything below this. Less than `acked` after a resumption.
    peer_read: u64,
    next_send: u64,
    written: u64,
    /// Came in order, not read yet.
    inbox: VecDeque<Bytes>,
    received: u64,
    read: u64,
    /// The last `ack` that was sent.
    told: u64,
}

impl Link {
    pub(crate) fn new(window: usize) -> Self {
        Self {
            window,
            sent: VecDeque::new(),
            queue: VecDeque::new(),
            acked: 0,
            peer_read: 0,
            next_send: 0,
            written: 0,
            inbox: VecDeque::new(),
            received: 0,
            read: 0,
            told: 0,
        }
    }

    /// How many bytes may be written now.
    pub(crate) fn room(&self) -> usize {
        self.window.saturating_sub(usize::try_from(self.written - self.peer_read).unwrap_or(usize::MAX))
    }

    /// Takes as much as there is room for; how much that was.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        if taken > 0 {
            self.queue.push_back(Bytes::copy_from_slice(&bytes[..taken]));
            self.written += taken as u64;
        }
        taken
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn read_bytes(&self) -> u64 {
        self.read
    }

    /// Everything written has been taken in by the other side.
    pub(crate) fn is_settled(&self) -> bool {
        self.acked == self.written
    }

    /// A new connection: the other side has this much, the rest is sent again.
    pub(crate) fn resume(&mut self, peer_received: u64) -> Result<(), LinkError> {
        self.acknowledge(peer_received)?;
        while let Some(chunk) = self.sent.pop_back() {
            self.queue.push_front(chunk);
        }
        self.next_send = self.acked;
        Ok(())
    }

    /// Forgets what the other side has taken in.
    fn acknowledge(&mut self, ack: u64) -> Result<(), LinkError> {
        if ack <= self.acked {
            return Ok(());
        }
        if ack > self.written {
            return Err(LinkError::Ack { ack, acked: self.acked, written: self.written });
        }
        let mut forget = ack - self.acked;
        while forget > 0 {
            // After a break the other side may have more than was sent on this connection.
            let from = if self.sent.is_empty() { &mut self.queue } else { &mut self.sent };
            let Some(mut chunk) = from.pop_front() else { break };
            let length = chunk.len() as u64;
            if length > forget {
                let _ = chunk.split_to(usize::try_from(forget).unwrap_or(usize::MAX));
                from.push_front(chunk);
                break;
            }
            forget -= length;
        }
        self.acked = ack;
        self.next_send = self.next_send.max(ack);
        Ok(())
    }

    /// The next data frame; `None` when everything is sent.
    pub(crate) fn next_data(&mut self) -> Option<Frame> {
        let mut first = self.queue.pop_front()?;
        let offset = self.next_send;
        if first.len() > MAX_PAYLOAD_BYTES {
            let rest = first.split_off(MAX_PAYLOAD_BYTES);
            self.queue.push_front(rest);
        }
        let payload = self.join(first);
        self.next_send += payload.len() as u64;
        self.sent.push_back(payload.clone());
        self.told = self.read;
        Some(Frame::Data { offset, ack: self.read, payload })
    }

    /// Small writes that wait together go together.
    fn join(&mut self, first: Bytes) -> Bytes {
        let fits = |length: usize, next: &Bytes| length + next.len() <= MAX_PAYLOAD_BYTES;
        if self.queue.front().is_none_or(|next| !fits(first.len(), next)) {
            return first;
        }
        let mut joined = Vec::with_capacity(MAX_PAYLOAD_BYTES.min(first.len() * 4));
        joined.extend_from_slice(&first);
        while let Some(next) = self.queue.pop_front_if(|next| fits(joined.len(), next)) {
            joined.extend_from_slice(&next);
        }
        joined.into()
    }

    /// An acknowledgement of its own, once a quarter of the window was read without anything going the other way.
    pub(crate) fn ack_due(&mut self) -> Option<Frame> {
        if self.read - self.told < (self.window / 4) as u64 {
            return None;
        }
        Some(self.ack())
    }

    pub(crate) fn ack(&mut self) -> Frame {
        self.told = self.read;
        Frame::Data { offset: self.next_send, ack: self.read, payload: Bytes::new() }
    }

    /// Takes a data frame in. Whether there is something new to read.
    pub(crate) fn on_data(&mut self, offset: u64, ack: u64, mut payload: Bytes) -> Result<bool, LinkError> {
        self.acknowledge(ack)?;
        self.peer_read = self.peer_read.max(ack);
        if offset > self.received {
            return Err(LinkError::Gap { offset, received: self.received });
        }
        let known = usize::try_from(self.received - offset).unwrap_or(usize::MAX);
        if known >= payload.len() {
            return Ok(false);
        }
        let _ = payload.split_to(known);
        if self.received + payload.len() as u64 - self.read > self.window as u64 {
            return Err(LinkError::Window);
        }
        self.received += payload.len() as u64;
        self.inbox.push_back(payload);
        Ok(true)
    }

    /// What came next, at most `max` bytes of it.
    pub(crate) fn take(&mut self, max: usize) -> Option<Bytes> {
        let mut chunk = self.inbox.pop_front()?;
        if chunk.len() > max {
            self.inbox.push_front(chunk.split_off(max));
        }
        self.read += chunk.len() as u64;
        Some(chunk)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data(frame: Option<Frame>) -> (u64, u64, Bytes) {
        match frame {
            Some(Frame::Data { offset, ack, payload }) => (offset, ack, payload),
            other => panic!("expected data, got {other:?}"),
        }
    }

    #[test]
    fn a_full_window_takes_nothing_until_it_is_acknowledged() {
        let (mut from, mut to) = (Link::new(8), Link::new(8));
        assert_eq!(from.write(b"0123456789"), 8);
        assert_eq!(from.write(b"89"), 0);
        let (offset, ack, payload) = data(from.next_data());
        assert!(to.on_data(offset, ack, payload).unwrap());
        assert_eq!(to.ack_due(), None, "nothing was read");
        assert_eq!(&to.take(3).unwrap()[..], b"012");
        let (offset, ack, payload) = data(to.ack_due());
        assert_eq!((offset, ack, payload.len()), (0, 3, 0));
        from.on_data(offset, ack, payload).unwrap();
        assert_eq!(from.room(), 3);
        assert!(!from.is_settled());
    }

    #[test]
    fn what_the_other_side_has_is_not_sent_again() {
        let mut from = Link::new(100);
        from.write(b"abc");
        from.write(b"def");
        let _ = from.next_data();
        from.resume(4).unwrap();
        let (offset, _, payload) = data(from.next_data());
        assert_eq!((offset, &payload[..]), (4, &b"ef"[..]));
        assert_eq!(from.next_data(), None);
    }

    #[test]
    fn lies_are_refused() {
        let mut link = Link::new(8);
        link.write(b"abc");
        assert!(matches!(link.resume(4), Err(LinkError::Ack { ack: 4, acked: 0, written: 3 })));
        assert!(matches!(link.on_data(1, 0, Bytes::from_static(b"x")), Err(LinkError::Gap { offset: 1, received: 0 })));
        assert!(matches!(link.on_data(0, 0, Bytes::from(vec![0; 9])), Err(LinkError::Window)));
    }

    proptest! {
        /// Whatever is lost at whatever moment, the reader gets what was written.
        #[test]
        fn bytes_come_out_once_and_in_order(
            steps in proptest::collection::vec((0u8..6, 1usize..40), 1..400),
            window in 1usize..64,
        ) {
            let (mut from, mut to) = (Link::new(window), Link::new(window));
            let (mut wire, mut back) = (VecDeque::new(), VecDeque::new());
            let (mut written, mut read) = (Vec::new(), Vec::new());
            let mut next = 0u8;
            for (step, size) in steps {
                match step {
                    0 => {
                        let bytes: Vec<u8> = (0..size).map(|_| { next = next.wrapping_add(1); next }).collect();
                        let taken = from.write(&bytes);
                        next = next.wrapping_sub(u8::try_from(size - taken).unwrap());
                        written.extend_from_slice(&bytes[..taken]);
                    }
                    1 => wire.extend(from.next_data()),
                    2 => if let Some(Frame::Data { offset, ack, payload }) = wire.pop_front() {
                        to.on_data(offset, ack, payload).unwrap();
                    },
                    3 => if let Some(bytes) = to.take(size) { read.extend_from_slice(&bytes); },
                    4 => {
                        back.extend(to.ack_due());
                        if let Some(Frame::Data { offset, ack, payload }) = back.pop_front() {
                            from.on_data(offset, ack, payload).unwrap();
                        }
                    }
                    _ => {
                        wire.clear();
                        back.clear();
                        from.resume(to.received()).unwrap();
                        to.resume(from.received()).unwrap();
                    }
                }
            }
            from.resume(to.received()).unwrap();
            loop {
                while let Some(Frame::Data { offset, ack, payload }) = from.next_data() {
                    to.on_data(offset, ack, payload).unwrap();
                }
                let mut got = false;
                while let Some(bytes) = to.take(16) {
                    got = true;
                    read.extend_from_slice(&bytes);
                }
                if !got { break }
            }
            prop_assert_eq!(read, written);
        }
    }
}
