//! Frames as bytes: JSON in text messages or CBOR (RFC 8949) in binary ones. The types are the same.

use axum::extract::ws::Message;
use contracts::frames::{SUBPROTOCOL, SUBPROTOCOL_CBOR, ServerFrame};
use serde_json::Value;

use super::frames::BadFrame;

/// The form of frames on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    Cbor,
}

impl Codec {
    /// Every form, as it is offered in `Sec-WebSocket-Protocol`.
    pub(crate) const ALL: [Self; 2] = [Self::Json, Self::Cbor];

    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL,
            Self::Cbor => SUBPROTOCOL_CBOR,
        }
    }

    pub(super) fn encode(self, frame: &ServerFrame) -> Message {
        match self {
            Self::Json => Message::Text(json(frame).into()),
            Self::Cbor => {
                let mut bytes = Vec::with_capacity(256);
                ciborium::into_writer(frame, &mut bytes).expect("frames are plain data and memory takes any");
                Message::Binary(bytes.into())
            }
        }
    }

    pub(super) fn decode_text(self, text: &str) -> Result<Value, BadFrame> {
        match self {
            Self::Json => read_json(text),
            Self::Cbor => Err(BadFrame::whole("is a text message; this connection speaks CBOR in binary ones")),
        }
    }

    pub(super) fn decode_binary(self, mut bytes: &[u8]) -> Result<Value, BadFrame> {
        match self {
            Self::Json => Err(BadFrame::whole("is a binary message; this connection speaks JSON in text ones")),
            Self::Cbor => {
                // Nested deeper than the reader's own limit is an error, not an overflow.
                let value = ciborium::from_reader(&mut bytes)
                    .map_err(|error| BadFrame::whole(format!("is not CBOR of one frame ({error}); send one map")))?;
                if bytes.is_empty() {
                    Ok(value)
                } else {
                    Err(BadFrame::whole("has bytes after the frame; send one map"))
                }
            }
        }
    }
}

pub(crate) fn json(frame: &ServerFrame) -> String {
    serde_json::to_string(frame).expect("frames are plain data")
}

pub(super) fn read_json(text: &str) -> Result<Value, BadFrame> {
    serde_json::from_str(text).map_err(|error| BadFrame::whole(format!("is not JSON ({error}); send one JSON object")))
}

#[cfg(test)]
mod tests {
    use contracts::frames::{ClientFrame, Note};

    use super::*;

    fn message() -> ServerFrame {
        let note = Note { action: "chat".into(), message: "\"quoted\"\n".repeat(20), session_id: None };
        ServerFrame::Message { offset: 300, from: "bob".parse().unwrap(), broadcast: None, note }
    }

    #[test]
    fn both_forms_carry_the_same_frames_and_the_compact_one_is_smaller() {
        let Message::Text(text) = Codec::Json.encode(&message()) else { panic!("JSON is text") };
        let Message::Binary(bytes) = Codec::Cbor.encode(&message()) else { panic!("CBOR is binary") };
        assert_eq!(serde_json::from_str::<ServerFrame>(&text).unwrap(), message());
        assert_eq!(ciborium::from_reader::<ServerFrame, _>(&bytes[..]).unwrap(), message());
        assert!(bytes.len() * 10 < text.len() * 9, "{} of {}", bytes.len(), text.len());
    }

    #[test]
    fn a_clients_frame_is_read_from_both() {
        let frame = ClientFrame::Ack { id: "1".into(), offset: u64::MAX };
        let mut bytes = Vec::new();
        ciborium::into_writer(&frame, &mut bytes).unwrap();
        let value = Codec::Cbor.decode_binary(&bytes).unwrap();
        assert_eq!(value, Codec::Json.decode_text(&serde_json::to_string(&frame).unwrap()).unwrap());
        bytes.push(0);
        assert!(Codec::Cbor.decode_binary(&bytes).is_err());
    }

    #[test]
    fn nesting_without_end_is_an_error() {
        assert!(Codec::Cbor.decode_binary(&[0x81; 200_000]).is_err());
        assert!(Codec::Json.decode_text(&"[".repeat(200_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Codec::Cbor.decode_binary(&bytes);
        }
    }
}
