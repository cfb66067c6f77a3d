//! Computes times that a stream does not state, like `compute_pkt_fields` in `libavformat/demux.c`
//! (FFmpeg 5.1).
//!
//! Many streams state times only for some pictures, or a PTS without a DTS. libavformat's rules for
//! these cases determine the time at which the ffmpeg tool shows a picture, so this module follows
//! each of them.

use serde::{Deserialize, Serialize};

use super::rescale::{add_stable, whole_ticks};
use crate::media::{PictureTiming, VideoCodec};

/// Base of relative times, used until the first known time (`RELATIVE_TS_BASE`).
const RELATIVE_BASE: i64 = i64::MAX - (1 << 48);

/// `MAX_REORDER_DELAY`.
pub const MAX_DELAY: usize = 16;

/// PTS and DTS of a picture while it passes through the timeline: ticks, unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamps {
    /// Presentation time.
    pub pts: Option<i64>,
    /// Decoding time.
    pub dts: Option<i64>,
}

/// State that libavformat keeps for a video stream (`FFStream`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpolation {
    /// Whether guessing has ended because the look-ahead found no time.
    pub blank: bool,
    /// `cur_dts`: expected decoding time of the next picture. `None` until a time is known;
    /// meanwhile, `guessed` counts the ticks.
    pub next: Option<i64>,
    /// Total duration in ticks of the pictures without times so far.
    pub guessed: i64,
    /// `last_IP_pts`: presentation time of the last picture that was not a B picture.
    pub reference_pts: Option<i64>,
    /// `last_IP_duration`: duration of that picture.
    pub reference_duration: i64,
    /// `last_dts_for_order_check`.
    pub checked: Option<i64>,
    /// `dts_ordered`: number of pictures with PTS equal to DTS whose time did not decrease.
    pub ordered: u32,
    /// `dts_misordered`: number of such pictures whose time decreased.
    pub misordered: u32,
    /// `pts_buffer`: the last presentation times, smallest first.
    pub window: [Option<i64>; MAX_DELAY + 1],
    /// `pts_reorder_error` and its count: for each position of the window, the distance to the
    /// decoding time.
    pub errors: [(u64, u8); MAX_DELAY],
}

impl Default for Interpolation {
    fn default() -> Self {
        Interpolation {
            next: None,
            guessed: 0,
            blank: false,
            reference_pts: None,
            reference_duration: 0,
            checked: None,
            ordered: 0,
            misordered: 0,
            window: [None; MAX_DELAY + 1],
            errors: [(0, 0); MAX_DELAY],
        }
    }
}

/// Result of the first known time: the shift for guessed times of earlier pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchored {
    shift: i64,
}

impl Anchored {
    /// Moves guessed times.
    pub fn apply(self, stamps: &mut Stamps) {
        for time in [&mut stamps.pts, &mut stamps.dts] {
            if Interpolation::is_relative(*time) {
                *time = time.map(|time| time.wrapping_add(self.shift));
            }
        }
    }
}

impl Interpolation {
    /// Returns whether a time is relative to the base, and still has to be shifted.
    pub fn is_relative(time: Option<i64>) -> bool {
        time.is_some_and(|time| time > RELATIVE_BASE - (1 << 48))
    }

    /// Returns whether a time is known, or known to be missing.
    pub fn is_anchored(&self) -> bool {
        self.next.is_some() || self.blank
    }

    /// Starts over after the look-ahead, as libavformat does (`estimate_timings_from_pts`). Keeps
    /// the time of the first picture and the learned picture order. `anchored` results from the
    /// first known time.
    pub fn start_over(&mut self, anchored: Option<Anchored>) {
        *self = Interpolation {
            next: anchored.map(|anchored| RELATIVE_BASE.wrapping_add(anchored.shift)),
            blank: anchored.is_none(),
            reference_duration: self.reference_duration,
            ordered: self.ordered,
            misordered: self.misordered,
            errors: self.errors,
            ..Interpolation::default()
        };
    }

    /// Fills in the missing times of the next picture. `ended_by` contains the times of the PES
    /// packet in which the end of the picture was found. Pass the result to
    /// [`Interpolation::move_guessed`] for all held pictures.
    pub fn fill(
        &mut self,
        codec: VideoCodec,
        stamps: &mut Stamps,
        timing: &PictureTiming,
        ended_by: Stamps,
    ) -> Option<Anchored> {
        let mut anchored = None;
        let delay = timing.delay;
        self.check_order(stamps);
        let mut delayed = delay > 0 && !timing.bidirectional;
        if delay == 1 && delayed && stamps.dts.is_some() && stamps.dts == stamps.pts {
            // If the stream has B pictures, an I or P picture is never shown at its decoding time.
            stamps.dts = None;
        }
        let duration = timing.duration.map_or(0, whole_ticks);
        delayed |= matches!((stamps.pts, stamps.dts), (Some(pts), Some(dts)) if pts > dts);
        if delay <= 1 && in_coding_order(codec) {
            anchored = if delayed {
                self.fill_delayed(stamps, duration, ended_by)
            } else {
                self.fill_undelayed(stamps, timing)
            };
        }
        if let Some(pts) = stamps.pts
            && delay as usize <= MAX_DELAY
        {
            insert(&mut self.window, pts, delay as usize);
            if timing.delay_known {
                let window = self.window;
                stamps.dts = self.select(codec, delay as usize, &window, stamps.dts);
            }
        }
        if !in_coding_order(codec) {
            anchored = anchored.or(self.anchor(stamps.dts));
        }
        if let Some(dts) = stamps.dts
            && self.next().is_none_or(|next| dts > next)
        {
            self.set_next(dts);
        }
        anchored
    }

    /// Shifts guessed times to the first known time, like `update_initial_timestamps` and
    /// `update_dts_from_pts`. `held` contains the earlier pictures, in coding order.
    pub fn move_guessed<'a>(
        &mut self,
        anchored: Anchored,
        codec: VideoCodec,
        delay: u32,
        held: impl Iterator<Item = &'a mut Stamps>,
    ) {
        let delay = delay as usize;
        let mut window = [None; MAX_DELAY + 1];
        for stamps in held {
            anchored.apply(stamps);
            if let Some(pts) = stamps.pts
                && delay <= MAX_DELAY
            {
                insert(&mut window, pts, delay);
                stamps.dts = self.select(codec, delay, &window, stamps.dts);
            }
        }
    }

    /// Returns the result for a stream that ends without any known time: guessed times count from
    /// 0.
    pub fn give_up() -> Anchored {
        Anchored { shift: RELATIVE_BASE.wrapping_neg() }
    }

    /// Returns `cur_dts`, or the base plus the time guessed so far.
    fn next(&self) -> Option<i64> {
        self.next.or_else(|| (!self.blank).then_some(RELATIVE_BASE.saturating_add(self.guessed)))
    }

    fn set_next(&mut self, time: i64) {
        if self.is_anchored() {
            self.next = Some(time);
        } else if Self::is_relative(Some(time)) {
            self.guessed = time.saturating_sub(RELATIVE_BASE);
        }
    }

    /// Removes a DTS that equals the PTS if such times turn out to be out of order. Until then, a
    /// PTS without a DTS is used as both.
    fn check_order(&mut self, stamps: &mut Stamps) {
        const MEMORY: u32 = 250;
        let Some(dts) = stamps.dts else { return };
        let alone = stamps.pts == stamps.dts;
        if let (true, Some(last)) = (alone, self.checked) {
            if last <= dts {
                self.ordered = self.ordered.saturating_add(1);
            } else {
                self.misordered = self.misordered.saturating_add(1);
            }
            if self.ordered.saturating_add(self.misordered) > MEMORY {
                self.ordered >>= 1;
                self.misordered >>= 1;
            }
        }
        self.checked = Some(dts);
        if alone && self.ordered < self.misordered.saturating_mul(8) {
            stamps.dts = None;
        }
    }

    /// Fills in the times of an I or P picture that is shown after B pictures that follow it in the
    /// stream.
    fn fill_delayed(
        &mut self,
        stamps: &mut Stamps,
        duration: i64,
        ended_by: Stamps,
    ) -> Option<Anchored> {
        stamps.dts = stamps.dts.or(self.reference_pts);
        let anchored = self.anchor(stamps.dts);
        stamps.dts = stamps.dts.or(self.next());
        // While this picture is decoded, the previous reference picture is shown.
        if self.reference_duration == 0 {
            self.reference_duration = duration;
        }
        if let Some(dts) = stamps.dts {
            self.set_next(dts.saturating_add(self.reference_duration));
        }
        if let (None, Some(next_pts), Some(next_dts)) = (stamps.pts, ended_by.pts, ended_by.dts)
            && self.reference_duration > 0
            && self.next().is_some_and(|next| next.abs_diff(next_dts) <= 1)
            && next_dts != next_pts
        {
            stamps.pts = Some(next_dts);
        }
        self.reference_duration = duration;
        self.reference_pts = stamps.pts;
        anchored
    }

    /// Fills in the times of a picture that is shown in coding order.
    fn fill_undelayed(&mut self, stamps: &mut Stamps, timing: &PictureTiming) -> Option<Anchored> {
        if stamps.pts.is_none() && stamps.dts.is_none() && timing.duration.is_none() {
            return None;
        }
        let known = stamps.pts.or(stamps.dts);
        let anchored = self.anchor(known);
        let time = known.or(self.next());
        (stamps.pts, stamps.dts) = (time, time);
        if let Some(time) = time {
            self.set_next(timing.duration.map_or(time, |duration| add_stable(time, duration)));
        }
        anchored
    }

    /// Handles the first known time, like `update_initial_timestamps`.
    fn anchor(&mut self, dts: Option<i64>) -> Option<Anchored> {
        let dts = dts?;
        if self.is_anchored() || Self::is_relative(Some(dts)) {
            return None;
        }
        self.next = Some(dts);
        Some(Anchored { shift: dts.saturating_sub(self.guessed).wrapping_sub(RELATIVE_BASE) })
    }

    /// Selects a decoding time from the last presentation times, like `select_from_pts_buffer`.
    fn select(
        &mut self,
        codec: VideoCodec,
        delay: usize,
        window: &[Option<i64>],
        dts: Option<i64>,
    ) -> Option<i64> {
        const MEMORY: u8 = 250;
        let mut chosen = dts;
        if !in_coding_order(codec) {
            let places = self.errors.iter_mut().zip(window).take(delay);
            if let Some(dts) = dts {
                for ((error, count), pts) in places {
                    let Some(pts) = pts else { continue };
                    *error = error.saturating_add(pts.abs_diff(dts)).min(i64::MAX as u64);
                    *count = count.saturating_add(1);
                    if *count > MEMORY {
                        *error >>= 1;
                        *count >>= 1;
                    }
                }
            } else {
                chosen = places
                    .filter(|((_, count), _)| *count > 0)
                    .map(|((error, count), pts)| (*error / u64::from(*count), *pts))
                    .reduce(|best, next| if next.0 < best.0 { next } else { best })
                    .and_then(|(_, pts)| pts);
            }
        }
        chosen.or(window.first().copied().flatten())
    }
}

/// Returns whether the decoder returns each picture as soon as it receives the next one (FFmpeg's
/// `onein_oneout`).
fn in_coding_order(codec: VideoCodec) -> bool {
    !matches!(codec, VideoCodec::H264 | VideoCodec::Hevc)
}

/// Inserts `pts` into the sorted window of the last `delay + 1` times, and drops the smallest.
fn insert(window: &mut [Option<i64>], pts: i64, delay: usize) {
    if let Some(first) = window.first_mut() {
        *first = Some(pts);
    }
    for at in 0..delay.min(window.len().saturating_sub(1)) {
        if window[at] <= window[at + 1] {
            break;
        }
        window.swap(at, at + 1);
    }
}
