//! Forecasts which pictures of a piece will be kept, before the pieces in front of it are decided.
//!
//! A wrong forecast costs time but does not change the result: a kept picture that was not foreseen
//! is decoded again.

use super::lane::PiecePicture;
use crate::detect::score::{Mafd, scene_score};
use crate::detect::{Difference, Rule};
use crate::media::Ticks;

/// The rule of the detector, with the state known at the start of a piece.
#[derive(Debug, Clone, Copy)]
pub struct Forecast {
    rule: Rule,
    /// Time of the last kept picture before.
    kept: Option<Ticks>,
    mafd: Option<Mafd>,
}

impl Forecast {
    /// Returns a forecast after the last kept picture.
    pub fn new(rule: Rule, kept: Option<Ticks>) -> Self {
        Forecast { rule, kept, mafd: None }
    }

    /// Passes the times of pictures in front of the piece, in presentation order. If no scene
    /// changes, the rule's interval keeps some of them.
    pub fn pass(&mut self, times: &[Ticks]) {
        for pts in times {
            if self.is_due(*pts) {
                self.kept = Some(*pts);
            }
        }
    }

    /// Returns whether the next picture will probably be kept.
    pub fn keeps(&mut self, picture: &PiecePicture) -> bool {
        let Some(pts) = picture.origin.pts.or(picture.origin.trigger_dts) else { return false };
        let is_kept = match picture.compared {
            Ok(Difference::Samples(mafd)) => {
                // For the second picture, this is an upper bound of the score.
                let score = self.mafd.map_or(mafd / 100.0, |before| scene_score(mafd, before));
                self.mafd = Some(mafd);
                score > self.rule.scene_threshold || self.is_due(pts)
            }
            Ok(Difference::First) => self.is_due(pts) || self.kept.is_none(),
            Ok(Difference::Rebuilt) => {
                self.mafd = Some(0.0);
                true
            }
            Err(_) => false,
        };
        if is_kept {
            self.kept = Some(pts);
        }
        is_kept
    }

    fn is_due(&self, pts: Ticks) -> bool {
        let interval = self.rule.max_frame_interval_s;
        interval > 0.0 && self.kept.is_some_and(|kept| pts.seconds() - kept.seconds() >= interval)
    }
}
