//! Decides when to make a player continue at the end of a growing file.
//!
//! mpv follows a file that grows. But if the sender pauses, mpv reaches the end and stops
//! there; only a seek makes it read on. This module is pure: its input is events, lengths
//! and times.

use std::collections::VecDeque;
use std::time::Duration;

/// Delay from the first growth to the nudge, so that there are bytes to play …
const NUDGE_DELAY: Duration = Duration::from_millis(250);

/// … doubled, up to this, while the player keeps reaching the end.
const NUDGE_DELAY_MAX: Duration = Duration::from_secs(2);

/// If the player does not reach the end for this long after a nudge, the delay is reset.
const DELAY_RESET: Duration = Duration::from_secs(5);

/// Number of seconds that a nudge seeks back. mpv shows the last picture, and needs an earlier one to
/// resume.
const SEEK_BACK_SECONDS: f64 = 0.5;

/// Advance in seconds below which the player has reached the end of its timeline.
const STUCK_SECONDS: f64 = 0.05;

/// Number of remembered lengths: mpv may have reached the end this many checks ago.
const LOOKS_MAX: usize = 16;

/// A seek that makes the player continue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Nudge {
    /// Seek to this time of the recording, in seconds.
    Seconds(f64),
    /// Seek to this position in the file, in percent of its bytes.
    Percent(f64),
}

/// State of the player and the recording.
#[derive(Debug, Default)]
pub struct EdgeFollower {
    /// Whether the end was reached.
    has_ended: bool,
    is_paused: bool,
    /// Length of the recording at the last check, in bytes.
    length: u64,
    /// Lengths at earlier checks, oldest first.
    lengths: VecDeque<u64>,
    /// Lower bound of the length of the recording when the player reached the end.
    ended_length: u64,
    /// Length of the recording at the last nudge.
    nudged_length: u64,
    grown_at: Option<Duration>,
    delay: Duration,
    last_nudge: Option<(Duration, Option<f64>)>,
}

impl EdgeFollower {
    /// Handles a change of mpv's `eof-reached`. `read` is the offset of the last packet that mpv has
    /// decoded.
    pub fn eof_reached(&mut self, is_reached: bool, read: Option<u64>) {
        self.grown_at = None;
        self.has_ended = is_reached;
        if !is_reached {
            return;
        }
        // mpv has seen the length of one of the last checks. The recording may have grown since.
        let seen =
            self.lengths.iter().copied().find(|length| read.is_some_and(|read| *length > read));
        self.ended_length = seen.unwrap_or(self.length).max(self.nudged_length);
    }

    /// Handles a change of mpv's `pause`. Only the user pauses: mpv is started so that it does not pause
    /// at the end.
    pub fn paused(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// Returns whether the user has paused the player.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Starts over with another recording. Keeps the pause.
    pub fn restart(&mut self) {
        *self = EdgeFollower { is_paused: self.is_paused, ..EdgeFollower::default() };
    }

    /// Returns whether mpv waits at the end of a recording that is `length` bytes long.
    pub fn has_played_all(&self, length: u64) -> bool {
        self.is_waiting() && length <= self.ended_length
    }

    /// Returns whether mpv has reached the end and the user has not paused it.
    pub fn is_waiting(&self) -> bool {
        self.has_ended && !self.is_paused
    }

    /// Returns whether to make the player continue, now that the recording is `length`
    /// bytes long.
    pub fn is_due(&mut self, length: u64, now: Duration) -> bool {
        self.length = length;
        if self.lengths.len() >= LOOKS_MAX {
            self.lengths.pop_front();
        }
        self.lengths.push_back(length);
        if length < self.ended_length {
            // The recording was truncated, and starts over.
            (self.ended_length, self.nudged_length) = (length, 0);
            self.lengths.clear();
        }
        if !self.is_waiting() || length <= self.ended_length {
            return false;
        }
        let grown_at = *self.grown_at.get_or_insert(now);
        let is_calm = self.last_nudge.is_none_or(|(at, _)| now.saturating_sub(at) > DELAY_RESET);
        let delay = if is_calm {
            NUDGE_DELAY
        } else {
            (self.delay * 2).clamp(NUDGE_DELAY, NUDGE_DELAY_MAX)
        };
        if now.saturating_sub(grown_at) < delay {
            return false;
        }
        self.delay = delay;
        true
    }

    /// Returns the seek for a player that shows the picture at `position` seconds. If the player has not
    /// advanced since the last nudge, or has no position, the seek is by bytes, to where the player
    /// reached the end. A position of 0 is ignored: mpv may report it where two streams were joined.
    pub fn nudge(&mut self, position: Option<f64>, now: Duration) -> Nudge {
        self.nudged_length = self.length;
        let last = self.last_nudge.and_then(|(_, position)| position);
        let is_stuck = |position: f64| last.is_some_and(|last| position - last < STUCK_SECONDS);
        match position.filter(|position| *position >= STUCK_SECONDS) {
            Some(position) if position.is_finite() && !is_stuck(position) => {
                self.last_nudge = Some((now, Some(position)));
                Nudge::Seconds((position - SEEK_BACK_SECONDS).max(0.0))
            }
            _ => {
                self.last_nudge = Some((now, None));
                Nudge::Percent(percent(self.ended_length, self.length))
            }
        }
    }
}

/// Returns `offset` in percent of `total`.
pub fn percent(offset: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { (offset as f64 / total as f64 * 100.0).min(100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A player that reached the end at 1 s, with 1000 bytes recorded.
    fn at_the_end() -> EdgeFollower {
        let mut follower = EdgeFollower::default();
        assert!(!follower.is_due(1000, ms(900)));
        follower.eof_reached(true, None);
        follower
    }

    #[test]
    fn a_player_at_the_end_is_nudged_when_bytes_have_come_and_not_before() {
        let mut follower = at_the_end();
        assert!(!follower.is_due(1000, ms(60_000)));
        assert!(!follower.is_due(1001, ms(60_250)));
        assert!(follower.is_due(1500, ms(60_500)));
        assert_eq!(follower.nudge(Some(7.0), ms(60_500)), Nudge::Seconds(6.5));
    }

    #[test]
    fn what_came_while_mpv_met_the_end_is_played_too() {
        let mut follower = EdgeFollower::default();
        for (length, now) in [(800, 500), (1000, 750), (1000, 1000), (3000, 1250)] {
            assert!(!follower.is_due(length, ms(now)));
        }
        // mpv has read 1000 bytes.
        follower.eof_reached(true, Some(990));
        assert!(!follower.is_due(3000, ms(1500)));
        assert!(follower.is_due(3000, ms(1750)));
        assert_eq!(follower.nudge(Some(7.0), ms(1750)), Nudge::Seconds(6.5));
        // The player has now read everything, whatever the last packet.
        follower.eof_reached(false, None);
        follower.eof_reached(true, Some(900));
        assert!((8..30).all(|look| !follower.is_due(3000, ms(look * 250))));
    }

    #[test]
    fn a_recording_that_was_truncated_begins_anew() {
        let mut follower = at_the_end();
        assert!(!follower.is_due(300, ms(1250)) && !follower.is_due(500, ms(1500)));
        assert!(follower.is_due(500, ms(1750)), "it has grown since");
    }

    #[test]
    fn all_is_played_at_the_end_of_what_was_recorded_unless_the_user_has_paused() {
        let mut follower = at_the_end();
        assert!(follower.has_played_all(1000) && !follower.has_played_all(1001));
        follower.paused(true);
        assert!(!follower.has_played_all(1000));
        follower.restart();
        follower.eof_reached(true, None);
        assert!(!follower.has_played_all(0), "the pause stays");
        follower.paused(false);
        assert!(follower.has_played_all(0));
    }

    #[test]
    fn what_its_user_paused_stays_paused() {
        let mut before = EdgeFollower::default();
        before.paused(true);
        before.eof_reached(true, None);
        let mut after = at_the_end();
        after.paused(true);
        for mut follower in [before, after] {
            assert!(!follower.is_due(5000, ms(4000)) && !follower.is_due(6000, ms(9000)));
            follower.paused(false);
            assert!(!follower.is_due(7000, ms(10_000)) && follower.is_due(8000, ms(10_250)));
        }
    }

    #[test]
    fn a_player_that_keeps_running_into_the_end_gets_more_time_each_time() {
        let mut follower = at_the_end();
        let (mut now, mut length, mut waits) = (1000, 1000, vec![]);
        for position in 1..=6 {
            let ended = now;
            loop {
                now += 250;
                length += 100;
                if follower.is_due(length, ms(now)) {
                    break;
                }
            }
            waits.push(now - ended);
            follower.nudge(Some(f64::from(position)), ms(now));
            follower.eof_reached(false, None);
            now += 600;
            follower.eof_reached(true, None);
        }
        assert_eq!(waits, [500, 750, 1250, 2250, 2250, 2250]);
    }

    #[test]
    fn a_player_whose_timeline_has_ended_or_that_has_none_is_sent_by_bytes() {
        let mut follower = at_the_end();
        follower.is_due(1250, ms(2000));
        follower.is_due(1250, ms(2250));
        assert_eq!(follower.nudge(Some(9.0), ms(2250)), Nudge::Seconds(8.5));
        follower.eof_reached(false, None);
        follower.eof_reached(true, None);
        follower.is_due(2500, ms(5000));
        assert_eq!(follower.nudge(Some(9.02), ms(5500)), Nudge::Percent(50.0));
        assert_eq!(at_the_end().nudge(None, ms(2000)), Nudge::Percent(100.0));
        assert_eq!(at_the_end().nudge(Some(0.0), ms(2000)), Nudge::Percent(100.0), "at a joint");
    }
}
