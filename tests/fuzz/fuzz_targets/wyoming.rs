//! `cargo +nightly fuzz run wyoming fuzz/seeds/wyoming`, from `tests/`.
#![no_main]

#[path = "../bodies.rs"]
#[allow(dead_code, reason = "each target uses one body")]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::wyoming(data));
