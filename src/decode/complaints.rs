//! What libavcodec has to complain of. It says so in its log, and often only there:
//! HEVC shows a picture of which slices are missing without another word.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Once;

use ffmpeg_next::ffi;

thread_local! {
    static ERRORS: Cell<u64> = const { Cell::new(0) };
}

/// Errors that this thread's decoders have logged so far. Nothing goes to stderr:
/// what there is to say, we say.
pub fn errors() -> u64 {
    ERRORS.get()
}

/// Listens to libavcodec, from the first call on.
pub fn listen() {
    static ONCE: Once = Once::new();
    // SAFETY: the callback may be called from any thread, and touches only its own.
    ONCE.call_once(|| unsafe { ffi::av_log_set_callback(Some(on_log)) });
}

/// `List` is what a `va_list` becomes as an argument; that differs by machine.
unsafe extern "C" fn on_log<List>(_: *mut c_void, level: c_int, _: *const c_char, _: List) {
    // The bits above say a colour.
    if level & 0xff <= ffi::AV_LOG_ERROR as c_int {
        ERRORS.set(ERRORS.get() + 1);
    }
}
