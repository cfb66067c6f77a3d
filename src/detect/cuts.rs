//! Decides which pictures are kept.

use serde::{Deserialize, Serialize};

use crate::media::{Reason, Ticks};

/// The rule of ffmpeg's `select` filter:
/// `isnan(prev_selected_t)+gt(scene,T)+gte(t-prev_selected_t,I)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// T: a picture with a higher score is a scene change. 0 to 1.
    pub scene_threshold: f64,
    /// I: a picture is kept if the last kept one is at least this old, in seconds. 0 disables it.
    pub max_frame_interval_s: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Rule { scene_threshold: 0.3, max_frame_interval_s: 30.0 }
    }
}

/// State of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CutsState {
    /// Time of the last kept frame, `prev_selected_t`; `None` after FFmpeg would have
    /// rebuilt its filter.
    pub previous_kept: Option<Ticks>,
    /// Whether any frame of the recording has been kept.
    pub any_kept: bool,
}

/// Applies the rule to one picture after the other.
#[derive(Debug, Clone)]
pub struct Cuts {
    rule: Rule,
    state: CutsState,
}

impl Cuts {
    /// Starts at the beginning of a recording.
    pub fn new(rule: Rule) -> Self {
        Cuts { rule, state: CutsState::default() }
    }

    /// Resumes from `state`.
    pub fn resume(rule: Rule, state: CutsState) -> Self {
        Cuts { rule, state }
    }

    /// Records that FFmpeg would rebuild its filter: the next picture is kept.
    pub fn rebuild(&mut self) {
        self.state.previous_kept = None;
    }

    /// Decides whether to keep the picture at `pts` with this score. Returns the reason, or `None`.
    pub fn decide(&mut self, pts: Ticks, score: f64) -> Option<Reason> {
        let Rule { scene_threshold, max_frame_interval_s } = self.rule;
        let reason = match self.state.previous_kept {
            None if self.state.any_kept => Reason::Format,
            None => Reason::First,
            Some(_) if score > scene_threshold => Reason::Scene,
            Some(previous)
                if max_frame_interval_s > 0.0
                    && pts.seconds() - previous.seconds() >= max_frame_interval_s =>
            {
                Reason::Interval
            }
            Some(_) => return None,
        };
        self.state = CutsState { previous_kept: Some(pts), any_kept: true };
        Some(reason)
    }

    /// Returns the state of the rule.
    pub fn state(&self) -> CutsState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> Ticks {
        Ticks(seconds * 90_000)
    }

    #[test]
    fn the_first_frame_is_always_kept() {
        assert_eq!(Cuts::new(Rule::default()).decide(Ticks(-9), 0.0), Some(Reason::First));
    }

    #[test]
    fn a_score_passes_the_threshold_only_from_above() {
        let mut cuts = Cuts::new(Rule { scene_threshold: 0.3, max_frame_interval_s: 0.0 });
        cuts.decide(Ticks(0), 0.0);
        assert_eq!(cuts.decide(Ticks(1), 0.3), None);
        // FFmpeg compares a value that was rounded to f32.
        assert_eq!(cuts.decide(Ticks(2), f64::from(0.3_f32)), Some(Reason::Scene));
    }

    #[test]
    fn every_kept_frame_restarts_the_interval() {
        let mut cuts = Cuts::new(Rule::default());
        assert_eq!(cuts.decide(seconds(0), 0.0), Some(Reason::First));
        assert_eq!(cuts.decide(seconds(20), 0.9), Some(Reason::Scene));
        assert_eq!(cuts.decide(seconds(49), 0.0), None);
        assert_eq!(cuts.decide(seconds(50), 0.0), Some(Reason::Interval));
        assert_eq!(cuts.decide(seconds(79), 0.0), None);
    }

    #[test]
    fn an_interval_of_zero_is_off() {
        let mut cuts = Cuts::new(Rule { scene_threshold: 1.0, max_frame_interval_s: 0.0 });
        cuts.decide(seconds(0), 0.0);
        assert_eq!(cuts.decide(seconds(9_999), 1.0), None);
    }
}
