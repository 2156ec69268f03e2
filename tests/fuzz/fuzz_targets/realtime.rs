//! `cargo +nightly fuzz run realtime fuzz/seeds/realtime`, from `tests/`.
#![no_main]

#[path = "../bodies.rs"]
#[allow(dead_code, reason = "each target uses one body")]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::realtime(data));
