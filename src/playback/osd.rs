//! Messages on the player's screen (OSD), and the words for times in them.

use std::time::Duration;

use serde_json::json;

use super::ipc::Ipc;
use crate::catalog::Entry;

/// Less than this behind the newest picture is live: a player shows pictures about a second late.
const LIVE_SECONDS: f64 = 3.0;

/// How long a message is shown.
pub const BRIEFLY: Duration = Duration::from_secs(3);

/// Shows a message. One that cannot be shown is not needed.
pub fn show(ipc: &mut Ipc, text: &str, time: Duration) {
    // mpv would take a dollar for the beginning of a property's name.
    let text = text.replace('$', "$$");
    if let Err(error) = ipc.command(json!(["show-text", text, time.as_millis() as u64])) {
        tracing::debug!("{error}");
    }
}

/// Returns a time as mpv shows it, with tenths: `1:02.3` or `1:01:02.3`.
pub fn clock(seconds: f64) -> String {
    // Saturates.
    let tenths = (seconds.max(0.0) * 10.0).floor() as u64;
    let (hours, minutes, tenths) = (tenths / 36_000, tenths / 600 % 60, tenths % 600);
    let (seconds, tenths) = (tenths / 10, tenths % 10);
    match hours {
        0 => format!("{minutes}:{seconds:02}.{tenths}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}.{tenths}"),
    }
}

/// Returns the name of a frame for people: `F0042  1:23.4  scene`.
pub fn frame_label(entry: &Entry) -> String {
    let reason = entry.reason.as_deref().unwrap_or_default();
    let label = format!("{}  {}  {reason}", entry.id, clock(entry.timestamp));
    label.trim_end().to_owned()
}

/// Says how far behind the newest picture a viewer is.
pub fn behind(seconds: f64) -> String {
    if seconds < LIVE_SECONDS {
        return "live".to_owned();
    }
    // Saturates.
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
