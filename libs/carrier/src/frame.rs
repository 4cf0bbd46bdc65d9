use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Most bytes of the stream in one frame. Large enough that the cost per frame does not count, small enough that a
/// ping behind it does not wait.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 10;

/// Longest reason of a close, bytes (as in RFC 6455 §5.5).
const MAX_REASON_BYTES: usize = 123;

const DATA: u8 = 1;
const PING: u8 = 2;
const PONG: u8 = 3;
const CLOSE: u8 = 4;

/// One message of the link: a type byte, then big-endian numbers, then what is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `1 offset:u64 ack:u64 payload`. Without a payload it only acknowledges.
    Data {
        /// Where the payload begins in the sender's stream.
        offset: u64,
        /// The sender has taken in everything below this of the other direction.
        ack: u64,
        /// At most [`MAX_PAYLOAD_BYTES`].
        payload: Bytes,
    },
    /// `2 nonce:u64`: answer at once.
    Ping(u64),
    /// `3 nonce:u64`.
    Pong(u64),
    /// `4 code:u16 reason`: this carrier ends and can't be resumed.
    Close {
        /// A code of the layer above.
        code: u16,
        /// For people and logs.
        reason: String,
    },
}

/// Why a message is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its type needs.
    #[error("a frame of type {0} ends after {1} bytes")]
    Short(u8, usize),
    /// A type this version does not know.
    #[error("type {0} is none of data (1), ping (2), pong (3) and close (4)")]
    Unknown(u8),
    /// Longer than its type allows.
    #[error("a frame of type {0} has {1} bytes, more than it may")]
    Long(u8, usize),
    /// No bytes at all.
    #[error("the message is empty")]
    Empty,
    /// More payload than allowed.
    #[error("a payload of {0} bytes is over {MAX_PAYLOAD_BYTES}")]
    TooLarge(usize),
    /// A reason that is not UTF-8.
    #[error("the reason of a close is not UTF-8")]
    Reason,
}

impl Frame {
    /// The message.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Data { offset, ack, payload } => {
                let mut out = BytesMut::with_capacity(17 + payload.len());
                out.put_u8(DATA);
                out.put_u64(*offset);
                out.put_u64(*ack);
                out.extend_from_slice(payload);
                out.freeze()
            }
            Self::Ping(nonce) => number(PING, *nonce),
            Self::Pong(nonce) => number(PONG, *nonce),
            Self::Close { code, reason } => {
                let mut end = reason.len().min(MAX_REASON_BYTES);
                while !reason.is_char_boundary(end) {
                    end -= 1;
                }
                let mut out = BytesMut::with_capacity(3 + end);
                out.put_u8(CLOSE);
                out.put_u16(*code);
                out.extend_from_slice(&reason.as_bytes()[..end]);
                out.freeze()
            }
        }
    }

    /// Reads a message; the payload shares its memory.
    ///
    /// # Errors
    /// [`FrameError`] when it is none of the four.
    pub fn decode(mut message: Bytes) -> Result<Self, FrameError> {
        let Some(&kind) = message.first() else { return Err(FrameError::Empty) };
        let header = match kind {
            DATA => 17,
            PING | PONG => 9,
            CLOSE => 3,
            other => return Err(FrameError::Unknown(other)),
        };
        if message.len() < header {
            return Err(FrameError::Short(kind, message.len()));
        }
        if matches!(kind, PING | PONG) && message.len() > header
            || kind == CLOSE && message.len() > header + MAX_REASON_BYTES
        {
            return Err(FrameError::Long(kind, message.len()));
        }
        message.advance(1);
        Ok(match kind {
            DATA => {
                let (offset, ack) = (message.get_u64(), message.get_u64());
                if message.len() > MAX_PAYLOAD_BYTES {
                    return Err(FrameError::TooLarge(message.len()));
                }
                Self::Data { offset, ack, payload: message }
            }
            PING => Self::Ping(message.get_u64()),
            PONG => Self::Pong(message.get_u64()),
            _ => {
                let code = message.get_u16();
                let reason = std::str::from_utf8(&message).map_err(|_| FrameError::Reason)?;
                Self::Close { code, reason: reason.to_owned() }
            }
        })
    }
}

fn number(kind: u8, nonce: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(kind);
    out.put_u64(nonce);
    out.freeze()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_keep_their_form_on_the_wire() {
        let data = Frame::Data { offset: 258, ack: 3, payload: Bytes::from_static(b"hi") };
        assert_eq!(&data.encode()[..], b"\x01\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x03hi");
        assert_eq!(&Frame::Ping(7).encode()[..], b"\x02\0\0\0\0\0\0\0\x07");
        assert_eq!(&Frame::Pong(7).encode()[..], b"\x03\0\0\0\0\0\0\0\x07");
        let close = Frame::Close { code: 4402, reason: "entitlement_lost".to_owned() };
        assert_eq!(&close.encode()[..], b"\x04\x11\x32entitlement_lost");
        for frame in [data, Frame::Ping(7), Frame::Pong(u64::MAX), close] {
            assert_eq!(Frame::decode(frame.encode()).unwrap(), frame);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let close = Frame::Close { code: 1, reason: "ä".repeat(100) };
        let Frame::Close { reason, .. } = Frame::decode(close.encode()).unwrap() else { panic!("a close") };
        assert_eq!(reason, "ä".repeat(61));
    }

    #[test]
    fn what_is_no_frame_is_refused_by_name() {
        let decode = |bytes: &'static [u8]| Frame::decode(Bytes::from_static(bytes)).unwrap_err();
        assert_eq!(decode(b""), FrameError::Empty);
        assert_eq!(decode(b"\x09"), FrameError::Unknown(9));
        assert_eq!(decode(b"\x01\0\0"), FrameError::Short(1, 3));
        assert_eq!(decode(b"\x02\0\0\0\0\0\0\0\x07\x07"), FrameError::Long(2, 10));
        assert_eq!(decode(b"\x04\0\x01\xff"), FrameError::Reason);
        let long = Frame::decode(Bytes::from(vec![1; 18 + MAX_PAYLOAD_BYTES])).unwrap_err();
        assert_eq!(long, FrameError::TooLarge(MAX_PAYLOAD_BYTES + 1));
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(message in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(frame) = Frame::decode(Bytes::from(message.clone())) {
                prop_assert_eq!(frame.encode(), Bytes::from(message));
            }
        }
    }
}
