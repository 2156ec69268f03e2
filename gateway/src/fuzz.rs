//! What strangers send to parsers of this crate, for the fuzz targets of `tests/fuzz`; no part of the program.

/// Events of a client of OpenAI Realtime.
///
/// # Panics
/// If the codec answers with something that is no event.
pub fn realtime(data: &[u8]) {
    crate::links::realtime::survives(data);
}
