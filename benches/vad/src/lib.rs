//! The network behind `audio.vad` (earshot) as a C library, for `benches/peers/pipecat_agent.py`.

use std::slice;

use earshot::Detector;

/// Samples of a window: 16 ms at 16 kHz.
const WINDOW: usize = 256;

/// A detector for one stream, to be ended by [`vad_end`].
#[unsafe(no_mangle)]
pub extern "C" fn vad_begin() -> *mut Detector {
    Box::into_raw(Detector::default_boxed())
}

/// Probability, 0 to 1, that the next 256 samples (16 bits, mono, 16 kHz) are speech.
///
/// # Safety
/// `detector` comes from [`vad_begin`], has not been ended and is used by nobody else meanwhile; `window` points to 256 samples.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vad_hear(detector: *mut Detector, window: *const i16) -> f32 {
    // SAFETY: the caller's promises.
    let (detector, window) = unsafe { (&mut *detector, slice::from_raw_parts(window, WINDOW)) };
    detector.predict_i16(window)
}

/// Ends a detector.
///
/// # Safety
/// `detector` comes from [`vad_begin`] and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vad_end(detector: *mut Detector) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(detector) });
}
