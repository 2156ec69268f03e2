//! A server's message as two pieces of bytes, of which the second is a frame's payload itself: nothing large is copied.
//!
//! Protobuf writes a message's fields in the order of their numbers, and in `tidegate.v1` the payload's bytes have the highest
//! number on every level (`ServerMessage.frame`, `Frame.tensor`, `Tensor.data`). So the encoded message ends with the payload, and
//! everything before it is known without looking at it (Protocol Buffers, "Encoding": length-delimited fields).

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::v1;
use crate::v1::frame::Payload;
use crate::v1::server_message::Message;

/// Payloads below this are copied behind their head: one piece is then cheaper than two.
const SPLIT: usize = 16 << 10;

/// Appends the message's encoding to `head`, but for a large payload at its end, which is given back.
///
/// The encoding is `head`'s new bytes followed by what is returned (empty if all of it is in `head`).
pub fn encode_server_split(mut message: v1::ServerMessage, head: &mut BytesMut) -> Bytes {
    let tail = match &mut message.message {
        Some(Message::Frame(frame)) => take_payload(frame),
        _ => None,
    };
    let Some((field, shell, tail)) = tail else {
        head.reserve(message.encoded_len());
        message.encode_raw(head);
        return Bytes::new();
    };
    let Some(Message::Frame(frame)) = message.message else {
        return Bytes::new();
    };
    // From the inside out: the payload's message, the frame, the server's message.
    let payload = shell.len() + key_len(field.data) + encoded_len_varint(len(&tail)) + tail.len();
    let inner = key_len(field.payload) + encoded_len_varint(payload as u64) + payload;
    let whole = frame.encoded_len() + inner;
    head.reserve(64 + frame.encoded_len() + shell.len());
    open(head, FRAME, whole);
    frame.encode_raw(head);
    open(head, field.payload, payload);
    head.put_slice(&shell);
    open(head, field.data, tail.len());
    tail
}

/// `ServerMessage.frame`.
const FRAME: u32 = 2;

/// The numbers of a payload in `Frame` and of the bytes in it.
#[derive(Clone, Copy)]
struct Fields {
    payload: u32,
    data: u32,
}

/// Takes a large payload out of a frame: its fields, its message without the bytes, and the bytes.
fn take_payload(frame: &mut v1::Frame) -> Option<(Fields, Vec<u8>, Bytes)> {
    let (fields, data) = match frame.payload.as_mut()? {
        Payload::Audio(audio) => ((16, 2), &mut audio.data),
        Payload::Video(video) => ((17, 3), &mut video.data),
        Payload::Binary(binary) => ((19, 1), &mut binary.data),
        Payload::Tensor(tensor) => ((20, 3), &mut tensor.data),
        Payload::Text(_) | Payload::Json(_) => return None,
    };
    if data.len() < SPLIT {
        return None;
    }
    let (payload, data) = (fields, std::mem::take(data));
    let shell = match frame.payload.take()? {
        Payload::Audio(audio) => audio.encode_to_vec(),
        Payload::Video(video) => video.encode_to_vec(),
        Payload::Binary(binary) => binary.encode_to_vec(),
        Payload::Tensor(tensor) => tensor.encode_to_vec(),
        Payload::Text(_) | Payload::Json(_) => Vec::new(),
    };
    let (payload, number) = payload;
    let fields = Fields {
        payload,
        data: number,
    };
    Some((fields, shell, data))
}

fn open(head: &mut BytesMut, field: u32, length: usize) {
    encode_key(field, WireType::LengthDelimited, head);
    encode_varint(length as u64, head);
}

fn len(bytes: &Bytes) -> u64 {
    bytes.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: Payload) -> v1::ServerMessage {
        v1::ServerMessage {
            message: Some(Message::Frame(v1::Frame {
                port: "out".to_owned(),
                seq: 300,
                media_time: -7,
                caused_by: 12,
                replayed: true,
                payload: Some(payload),
                ..v1::Frame::default()
            })),
        }
    }

    fn bytes(length: usize) -> Bytes {
        (0..length).map(|i| i.to_le_bytes()[0]).collect()
    }

    #[track_caller]
    fn check(message: v1::ServerMessage, split: bool) {
        let whole = message.encode_to_vec();
        let mut head = BytesMut::from(&b"before"[..]);
        let tail = encode_server_split(message, &mut head);
        assert_eq!(!tail.is_empty(), split);
        assert_eq!(&head[..6], b"before");
        assert_eq!([&head[6..], &tail[..]].concat(), whole);
    }

    #[test]
    fn head_and_payload_together_are_what_the_library_writes() {
        for length in [0, 1, SPLIT - 1, SPLIT, 1 << 20] {
            let large = length >= SPLIT;
            let audio = v1::Audio {
                format: Some(v1::AudioFormat {
                    codec: 1,
                    sample_rate: 48_000,
                    channels: 2,
                }),
                data: bytes(length),
            };
            check(frame(Payload::Audio(audio)), large);
            let video = v1::Video {
                format: Some(v1::VideoFormat { codec: 2 }),
                key: true,
                data: bytes(length),
            };
            check(frame(Payload::Video(video)), large);
            let data = bytes(length);
            check(frame(Payload::Binary(v1::Binary { data })), large);
            let tensor = v1::Tensor {
                dtype: 13,
                shape: vec![1, 2, 3_000_000],
                data: bytes(length),
            };
            check(frame(Payload::Tensor(tensor)), large);
            let text = "x".repeat(length);
            check(frame(Payload::Text(v1::Text { text })), false);
        }
        let ended = Message::Ended(v1::Ended {
            reason: "finished".to_owned(),
        });
        check(
            v1::ServerMessage {
                message: Some(ended),
            },
            false,
        );
    }

    #[test]
    fn the_payload_is_shared_and_not_copied() {
        let data = bytes(SPLIT);
        let binary = v1::Binary { data: data.clone() };
        let tail = encode_server_split(frame(Payload::Binary(binary)), &mut BytesMut::new());
        assert_eq!(tail.as_ptr(), data.as_ptr());
    }
}
