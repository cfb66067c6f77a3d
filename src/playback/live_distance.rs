//! Distance of a viewer to the newest picture.

use std::time::{Duration, Instant};

use super::osd;
use crate::session::Session;

/// Interval between two checks without an event.
const INTERVAL: Duration = Duration::from_secs(5);

/// Without a seek, a change is shown if it is larger than this, in seconds …
const CHANGE_SECONDS: f64 = 2.0;

/// … and larger than this share of the value shown last.
const CHANGE_SHARE: f64 = 0.1;

/// The distance that a viewer was shown.
#[derive(Debug, Default)]
pub struct LiveDistance {
    said: Option<f64>,
    looked: Option<Instant>,
}

impl LiveDistance {
    /// Starts over with another recording.
    pub fn restart(&mut self) {
        *self = LiveDistance::default();
    }

    /// Returns whether to check, because the player has moved (`has_moved`) or the interval has passed.
    pub fn is_due(&mut self, has_moved: bool) -> bool {
        let is_due = has_moved || self.looked.is_none_or(|at| at.elapsed() >= INTERVAL);
        if is_due {
            self.looked = Some(Instant::now());
        }
        is_due
    }

    /// Returns the text for a viewer who is `seconds` behind, if it has changed.
    pub fn changed(&mut self, seconds: f64, has_moved: bool) -> Option<String> {
        let seconds = seconds.max(0.0);
        let text = osd::behind(seconds);
        let is_change = self.said.is_none_or(|said| {
            let change = (seconds - said).abs();
            let is_large = change > CHANGE_SECONDS && change > CHANGE_SHARE * said;
            text != osd::behind(said) && (has_moved || is_large)
        });
        if !is_change {
            return None;
        }
        self.said = Some(seconds);
        Some(text)
    }
}

/// Returns the seconds of pictures after `time` in `session` and the sessions that continue it; `None` if no
/// session is being recorded.
pub fn seconds_behind(session: &Session, later: &[Session], time: f64) -> Option<f64> {
    if !later.last().unwrap_or(session).is_recorded() {
        return None;
    }
    let newest = |session: &Session| Some(session.state()?.last_picture?.timestamp);
    let mut behind = newest(session)? - time;
    for session in later {
        behind += newest(session).unwrap_or(0.0);
    }
    Some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_is_told_of_a_change_and_only_then() {
        let mut distance = LiveDistance::default();
        assert_eq!(distance.changed(0.8, true).as_deref(), Some("live"));
        assert_eq!(distance.changed(1.2, true), None);
        assert_eq!(distance.changed(30.0, true).as_deref(), Some("30 s behind live"));
        assert_eq!(distance.changed(31.0, false), None, "small");
        assert_eq!(distance.changed(31.0, true).as_deref(), Some("31 s behind live"));
        assert_eq!(distance.changed(34.5, false).as_deref(), Some("35 s behind live"));
        assert_eq!(distance.changed(600.0, false).as_deref(), Some("10:00 behind live"));
        assert_eq!(distance.changed(640.0, false), None, "a small share");
        assert_eq!(distance.changed(1.0, false).as_deref(), Some("live"));
        distance.restart();
        assert_eq!(distance.changed(1.0, false).as_deref(), Some("live"));
    }
}
