//! Chooses between the PTS and the DTS of a picture.

use serde::{Deserialize, Serialize};

use crate::media::Ticks;

/// FFmpeg's `guess_correct_pts` (`libavcodec/decode.c`), which determines the time of
/// every picture in the ffmpeg tool: the PTS, unless PTS were faulty more often than DTS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BestEffort {
    /// Number of PTS that did not increase.
    pub faulty_pts: u64,
    /// Number of DTS that did not increase.
    pub faulty_dts: u64,
    /// PTS of the previous picture; `None` before the first.
    pub last_pts: Option<Ticks>,
    /// DTS of the previous picture.
    pub last_dts: Option<Ticks>,
}

impl BestEffort {
    /// Returns the time of the next picture. `pts` is the picture's PTS, `dts` the DTS of the
    /// access unit that made the decoder return the picture. Returns `None` if both are missing.
    pub fn choose(&mut self, pts: Option<Ticks>, dts: Option<Ticks>) -> Option<Ticks> {
        if let Some(dts) = dts {
            let is_faulty = self.last_dts.is_some_and(|last| dts <= last);
            self.faulty_dts = self.faulty_dts.saturating_add(is_faulty.into());
        }
        self.last_dts = dts.or(pts).or(self.last_dts);
        if let Some(pts) = pts {
            let is_faulty = self.last_pts.is_some_and(|last| pts <= last);
            self.faulty_pts = self.faulty_pts.saturating_add(is_faulty.into());
        }
        self.last_pts = pts.or(dts).or(self.last_pts);
        if self.faulty_pts <= self.faulty_dts || dts.is_none() { pts.or(dts) } else { dts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_without_pts_takes_the_dts_it_came_out_with() {
        let mut times = BestEffort::default();
        assert_eq!(times.choose(Some(Ticks(3)), Some(Ticks(1))), Some(Ticks(3)));
        assert_eq!(times.choose(None, Some(Ticks(5))), Some(Ticks(5)));
        assert_eq!(times.choose(None, None), None);
    }

    #[test]
    fn pts_that_go_back_more_often_than_dts_are_not_believed() {
        let mut times = BestEffort::default();
        assert_eq!(times.choose(Some(Ticks(9)), Some(Ticks(1))), Some(Ticks(9)));
        assert_eq!(times.choose(Some(Ticks(8)), Some(Ticks(2))), Some(Ticks(2)));
        assert_eq!(times.choose(Some(Ticks(7)), None), Some(Ticks(7)));
    }
}
