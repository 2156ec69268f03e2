//! Bounds on what a message may hold, beside its size, which the transport bounds.
//!
//! They keep what a stranger can make the gateway allocate, log or walk through in proportion to what a pipeline can need.

/// Longest port name in bytes: names are ids of manifests, which people write.
pub const PORT_NAME_BYTES: usize = 64;
/// Most ports that a list in `open` or `opened` may name: more than any manifest's graph has use for.
pub const PORTS: usize = 256;
/// Longest id, key, feature, code, hop or endpoint in bytes: a URL fits, a payload does not.
pub const STRING_BYTES: usize = 2048;
/// Longest text of an error or a reason in bytes; longer ones are cut, since they are for people.
pub const MESSAGE_BYTES: usize = 8192;
/// Most features that `open` may name.
pub const FEATURES: usize = 64;
/// Deepest nesting of `parameters`; protobuf's own decoders stop at 100 messages, which is 33 of these levels.
pub const PARAMETERS_DEPTH: usize = 32;
/// Most values in `parameters`, nested ones included.
pub const PARAMETERS_VALUES: usize = 4096;
/// Samples a second that audio may have, in Hz.
pub const SAMPLE_RATES: std::ops::RangeInclusive<u32> = tidegate_media::SAMPLE_RATES;
/// Channels that audio may have.
pub const CHANNELS: std::ops::RangeInclusive<u32> = 1..=64;
/// Most hops in `stats`.
pub const HOPS: usize = 4096;
