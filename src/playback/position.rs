//! Position of a player, in the time of the recording.

use std::fs;
use std::thread;
use std::time::Duration;

use super::ipc::Ipc;
use crate::error::{Error, Result, Stage};
use crate::media::ByteOffset;
use crate::pipeline::evidence::{OpenRecording, SenderClock, Target, time_shown};

/// Delay before a questionable position is requested again.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// Size above which a file is not read completely to find a place in it.
const LARGE_FILE_BYTES: u64 = 64 << 20;

/// Returns the time of the picture that a player shows, in seconds from the start of `target`.
///
/// # Errors
///
/// Returns an error if the player does not respond or shows nothing, or the recording cannot be read.
pub fn time_of_player(ipc: &mut Ipc, target: &Target, stop: &dyn Fn() -> bool) -> Result<f64> {
    let (seconds, clock) = position(ipc)?;
    let read = ipc.get("stream-pos").ok().and_then(|read| read.as_u64());
    let found = || -> Result<Option<f64>> {
        let Some(read) = read.filter(|_| !is_large_file(target)) else { return Ok(None) };
        let recording = OpenRecording::open(target, None)?;
        let time = time_shown(&recording, clock, ByteOffset(read), stop)?;
        Ok(time.map(|time| time.seconds()))
    };
    // mpv may play files that scenetap cannot read.
    let found = found().inspect_err(|error| tracing::debug!("{error}"));
    Ok(found.ok().flatten().unwrap_or(seconds))
}

/// Returns the time of the shown picture, on the player's timeline and on the sender's clock.
///
/// # Errors
///
/// Returns an error if the player does not respond or shows nothing.
pub fn position(ipc: &mut Ipc) -> Result<(f64, SenderClock)> {
    let mut seconds = number(ipc, "time-pos")?;
    if seconds == 0.0 {
        // Where two streams were joined, mpv may report this value once.
        thread::sleep(SECOND_LOOK);
        seconds = number(ipc, "time-pos")?;
    }
    let start = number(ipc, "demuxer-start-time")?;
    Ok((seconds, SenderClock::from_seconds(seconds + start)))
}

/// Returns the value of a property that is a time, in seconds.
///
/// # Errors
///
/// As [`position`].
pub fn number(ipc: &mut Ipc, property: &str) -> Result<f64> {
    let value = match ipc.get(property) {
        Err(error) if ipc.is_silent() => return Err(error),
        value => value.unwrap_or_default().as_f64().filter(|value| value.is_finite()),
    };
    value.ok_or_else(|| Error::new(Stage::Playback, "the player shows nothing yet"))
}

/// Returns whether to avoid operations that read the whole file: it belongs to no session, so it has no
/// index of key frames, and it is large.
pub fn is_large_file(target: &Target) -> bool {
    let Target::File(path) = target else { return false };
    fs::metadata(path).is_ok_and(|found| found.len() > LARGE_FILE_BYTES)
}
