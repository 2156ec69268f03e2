//! Clients in Rust that can be made to misbehave in detail: they break rules, vanish, never read.
//!
//! The well-behaved peers that somebody else wrote live in `tests/peers`; these are for what those refuse to do.

pub(crate) mod hostile;
pub(crate) mod neighbour;
pub(crate) mod process;
pub(crate) mod rpc;
pub(crate) mod webrtc;
pub(crate) mod ws;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// No single answer of a gateway takes longer, even on a loaded machine.
pub(crate) const ANSWER_SECONDS: u64 = 60;

/// A frame of 20 ms of 16 kHz audio for `echo`, number `seq`.
pub(crate) fn frame(port: &str, seq: u64, data: &[u8]) -> Value {
    let format = json!({"codec": "pcm_s16", "sample_rate": 16_000, "channels": 1});
    let audio = json!({"format": format, "data": STANDARD.encode(data)});
    json!({"frame": {"port": port, "seq": seq, "media_time": (seq - 1) * 20_000, "audio": audio}})
}

/// The audio of a frame message.
pub(crate) fn audio_of(message: &Value) -> Vec<u8> {
    let data = message["frame"]["audio"]["data"].as_str();
    STANDARD
        .decode(data.unwrap_or_else(|| panic!("no audio in {message}")))
        .expect("base64")
}
