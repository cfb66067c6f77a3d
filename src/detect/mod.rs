//! Pictures → verdicts. Comparing two pictures is pure and parallel; deciding is sequential and
//! cheap. Neither uses FFmpeg, files or clocks.

pub mod cuts;
pub mod score;

pub use cuts::{Cuts, CutsState, Rule};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::media::{ByteOffset, Picture, PictureFormat, Ticks, Verdict};
use score::{Mafd, scene_score};

/// Difference of a picture from the previous one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Difference {
    /// There is no previous picture.
    First,
    /// The size or the pixel format has changed: FFmpeg would rebuild its filter.
    Rebuilt,
    /// Mean absolute difference of the samples.
    Samples(Mafd),
}

/// Compares each picture with the previous one.
#[derive(Clone, Default)]
pub struct Comparer {
    previous: Option<(Arc<dyn Picture>, PictureFormat)>,
}

impl std::fmt::Debug for Comparer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let format = self.previous.as_ref().map(|(_, format)| format);
        f.debug_struct("Comparer").field("previous", &format).finish()
    }
}

impl Comparer {
    /// Returns a comparer after the picture `last`.
    pub fn after(last: Arc<dyn Picture>) -> Self {
        let format = last.format();
        Comparer { previous: Some((last, format)) }
    }

    /// Returns whether there is no previous picture.
    pub fn is_new(&self) -> bool {
        self.previous.is_none()
    }

    /// Compares the next picture with the previous one.
    pub fn push(&mut self, picture: &Arc<dyn Picture>) -> Difference {
        let format = picture.format();
        let difference = match &self.previous {
            None => Difference::First,
            Some((_, before)) if *before != format => Difference::Rebuilt,
            Some((previous, _)) => {
                Difference::Samples(score::mafd(&previous.luma(), &picture.luma()))
            }
        };
        self.previous = Some((Arc::clone(picture), format));
        difference
    }
}

/// Detects scene changes, in pictures in presentation order.
#[derive(Debug)]
pub struct Detector {
    cuts: Cuts,
    mafd: Mafd,
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
        Detector { cuts: Cuts::new(rule), mafd: 0.0 }
    }

    /// Resumes after a picture whose verdict is already known.
    pub fn resume(rule: Rule, state: &DetectorState) -> Self {
        Detector { cuts: Cuts::resume(rule, state.cuts), mafd: state.mafd }
    }

    /// Scores the next picture and decides whether to keep it.
    pub fn decide(&mut self, at: ByteOffset, pts: Ticks, difference: Difference) -> Verdict {
        let score = match difference {
            Difference::First => 0.0,
            Difference::Rebuilt => {
                self.mafd = 0.0;
                self.cuts.rebuild();
                0.0
            }
            Difference::Samples(mafd) => {
                let score = scene_score(mafd, self.mafd);
                self.mafd = mafd;
                score
            }
        };
        let kept = self.cuts.decide(pts, score);
        Verdict { at, pts, score, kept }
    }

    /// Returns the state needed to resume after the last picture.
    pub fn state(&self) -> DetectorState {
        DetectorState { mafd: self.mafd, cuts: self.cuts.state() }
    }
}

#[cfg(test)]
mod tests;
