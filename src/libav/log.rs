//! Counts the errors that libavcodec logs. The log is often the only sign of an error:
//! for HEVC, libavcodec returns a picture with missing slices without any other
//! indication.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Once;

use ffmpeg_next::ffi;

thread_local! {
    static ERRORS: Cell<u64> = const { Cell::new(0) };
}

/// Returns the number of errors that decoders on this thread have logged so far. FFmpeg's
/// log is not printed to stderr.
pub fn errors() -> u64 {
    ERRORS.get()
}

/// Installs the log callback on the first call.
pub fn listen() {
    static ONCE: Once = Once::new();
    // SAFETY: the callback may run on any thread, and only accesses thread-local data.
    ONCE.call_once(|| unsafe { ffi::av_log_set_callback(Some(on_log)) });
}

/// The log callback. `List` is the type of a `va_list` argument, which depends on the architecture.
unsafe extern "C" fn on_log<List>(_: *mut c_void, level: c_int, _: *const c_char, _: List) {
    // The upper bits contain a color.
    if level & 0xff <= ffi::AV_LOG_ERROR as c_int {
        ERRORS.set(ERRORS.get() + 1);
    }
}
