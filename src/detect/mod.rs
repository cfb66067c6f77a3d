//! Pictures → verdicts. Scoring is pure and parallel, deciding is sequential and tiny.
//! Neither uses FFmpeg, files or clocks.

pub mod cuts;
pub mod score;

pub use cuts::{Cuts, CutsState, Rule};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::media::{Frame, Picture, PictureFormat, Verdict};
use score::{Mafd, scene_score};

/// Detects scene changes in pictures in presentation order.
pub struct Detector {
    cuts: Cuts,
    previous: Option<Arc<dyn Picture>>,
    format: Option<PictureFormat>,
    mafd: Mafd,
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("cuts", &self.cuts).finish_non_exhaustive()
    }
}

/// State needed to resume after a picture, in addition to that picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectorState {
    /// Mean absolute frame difference of the last picture.
    pub mafd: Mafd,
    /// State of the rule.
    #[serde(flatten)]
    pub cuts: CutsState,
}

impl Detector {
    /// Starts at the beginning of a recording.
    pub fn new(rule: Rule) -> Self {
        Detector { cuts: Cuts::new(rule), previous: None, format: None, mafd: 0.0 }
    }

    /// Resumes after the picture `last`, whose verdict is already known.
    pub fn resume(rule: Rule, state: &DetectorState, last: &Frame) -> Self {
        Detector {
            cuts: Cuts::resume(rule, state.cuts),
            previous: Some(Arc::clone(&last.picture)),
            format: Some(last.picture.format()),
            mafd: state.mafd,
        }
    }

    /// Scores the next picture and decides whether to keep it.
    pub fn push(&mut self, frame: &Frame) -> Verdict {
        let format = frame.picture.format();
        // A change of size or pixel format rebuilds FFmpeg's filter graph.
        let rebuilt = self.format.as_ref().is_some_and(|before| *before != format);
        if rebuilt {
            self.previous = None;
            self.mafd = 0.0;
            self.cuts.rebuild();
        }
        let score = match &self.previous {
            None => 0.0,
            Some(previous) => {
                let mafd = score::mafd(&previous.luma(), &frame.picture.luma());
                let score = scene_score(mafd, self.mafd);
                self.mafd = mafd;
                score
            }
        };
        self.previous = Some(Arc::clone(&frame.picture));
        self.format = Some(format);
        let kept = self.cuts.decide(frame.pts, score);
        Verdict { at: frame.at, pts: frame.pts, score, kept }
    }

    /// Returns the state needed to resume after the last picture.
    pub fn state(&self) -> DetectorState {
        DetectorState { mafd: self.mafd, cuts: self.cuts.state() }
    }
}

#[cfg(test)]
mod tests;
