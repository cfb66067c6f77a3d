//! Errors that libavcodec reports in its log, and often nowhere else: HEVC returns a picture with
//! missing slices as if it was whole.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Once;

use ffmpeg_next::ffi;

thread_local! {
    static ERRORS: Cell<u64> = const { Cell::new(0) };
}

/// Returns how many errors the libav calls of this thread have logged so far.
pub fn errors() -> u64 {
    ERRORS.get()
}

/// Counts log messages from the first call on instead of writing them to stderr.
pub fn listen() {
    static ONCE: Once = Once::new();
    // SAFETY: the callback may be called from any thread, and touches only its own.
    ONCE.call_once(|| unsafe { ffi::av_log_set_callback(Some(on_log)) });
}

/// `List` is the type of a `va_list` argument, which differs by machine.
unsafe extern "C" fn on_log<List>(_: *mut c_void, level: c_int, _: *const c_char, _: List) {
    // The bits above are a color.
    if level & 0xff <= ffi::AV_LOG_ERROR as c_int {
        ERRORS.set(ERRORS.get() + 1);
    }
}
