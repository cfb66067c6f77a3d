//! Any moment of a recording, live or finished. Reading does not disturb the recorder.
//!
//! ```text
//! open_recording  a recording that is open, with its index of key frames
//! moment          a time as the user enters it
//! access_points   time → where to start reading, in O(log n)
//! units           access units, without decoding
//! place           time ↔ position of a player
//! still           the picture that is shown at a time
//! encode          a picture as JPEG or PNG
//! clip            packets between two times
//! ```

mod access_points;
mod clip;
mod encode;
mod moment;
mod open_recording;
mod place;
mod still;
mod units;

pub use clip::{Clip, ClipRange, Cut, cut, write_clip};
pub use encode::{StillFormat, encode};
pub use moment::Moment;
pub use open_recording::{OpenRecording, Target};
pub use place::{PlayerKeyframe, PlayerPlace, SenderClock, Way, place, time_shown};
pub use still::still;

use crate::error::{Error, Stage};

/// Returns the error for a command that was interrupted before its result was complete.
fn interrupted() -> Error {
    Error::new(Stage::Evidence, "interrupted")
}
