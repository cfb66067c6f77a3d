//! Messages on the player's screen (OSD), and the format of times in them.

use std::time::Duration;

use serde_json::json;

use super::ipc::Ipc;
use crate::catalog::Entry;

/// Seconds behind the newest picture up to which a viewer is live: a player shows pictures about a
/// second late.
const LIVE_SECONDS: f64 = 3.0;

/// Display time of a message.
pub const BRIEFLY: Duration = Duration::from_secs(3);

/// Shows a message. Failures are ignored.
pub fn show(ipc: &mut Ipc, text: &str, time: Duration) {
    // mpv expands properties after a dollar sign.
    let text = text.replace('$', "$$");
    if let Err(error) = ipc.command(json!(["show-text", text, time.as_millis() as u64])) {
        tracing::debug!("{error}");
    }
}

/// Returns a time as mpv shows it, with tenths: `1:02.3` or `1:01:02.3`.
pub fn clock(seconds: f64) -> String {
    // `as` saturates.
    let tenths = (seconds.max(0.0) * 10.0).floor() as u64;
    let (hours, minutes, tenths) = (tenths / 36_000, tenths / 600 % 60, tenths % 600);
    let (seconds, tenths) = (tenths / 10, tenths % 10);
    match hours {
        0 => format!("{minutes}:{seconds:02}.{tenths}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}.{tenths}"),
    }
}

/// Returns the label of a frame, such as `F0042  1:23.4  scene`.
pub fn frame_label(entry: &Entry) -> String {
    let reason = entry.reason.as_deref().unwrap_or_default();
    let label = format!("{}  {}  {reason}", entry.id, clock(entry.timestamp));
    label.trim_end().to_owned()
}

/// Describes how far a viewer is behind the newest picture.
pub fn behind(seconds: f64) -> String {
    if seconds < LIVE_SECONDS {
        return "live".to_owned();
    }
    // `as` saturates.
    let whole = seconds.round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s behind live"),
        (0, minutes) => format!("{minutes}:{rest:02} behind live"),
        (hours, minutes) => format!("{hours}:{minutes:02}:{rest:02} behind live"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_and_how_far_behind_it_is_are_said_in_a_few_letters() {
        for (seconds, said) in
            [(0.0, "0:00.0"), (62.36, "1:02.3"), (3661.99, "1:01:01.9"), (-1.0, "0:00.0")]
        {
            assert_eq!(clock(seconds), said);
        }
        for (seconds, said) in [
            (-0.3, "live"),
            (2.9, "live"),
            (3.4, "3 s behind live"),
            (59.6, "1:00 behind live"),
            (3_725.0, "1:02:05 behind live"),
        ] {
            assert_eq!(behind(seconds), said);
        }
    }
}
