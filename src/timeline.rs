//! The stream's 33-bit clock → time from the start of the recording.
//!
//! What libavformat and the ffmpeg tool do between the demuxer and the decoder
//! (`libavformat/demux.c`, `fftools/ffmpeg.c` `process_input`, FFmpeg 5.1):
//! unwrap the clock, take off the recording's start, and go on without a jump
//! where the sender's clock jumps.

use std::collections::VecDeque;

use crate::media::{AccessUnit, TICKS_PER_SECOND, Ticks};

/// Bits of the PTS and DTS clock.
const CLOCK_BITS: u32 = 33;

/// A decoding time further than this from the one expected is a jump: the ffmpeg
/// tool's `dts_delta_threshold`.
const JUMP_TICKS: i64 = 10 * TICKS_PER_SECOND;

/// So is one that goes back by more than this.
const BACKWARD_JUMP_TICKS: i64 = TICKS_PER_SECOND / 10;

/// Where time starts is settled after so much video, even if an audio stream of
/// the tables has not been heard of.
const SETTLE_TICKS: i64 = TICKS_PER_SECOND;

/// Nor is more than this held back until it is settled, whatever the times say.
const MAX_HELD_BYTES: usize = 16 << 20;

/// The state that has to outlive a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Unwrapped time that counts as 0.
    pub start: Ticks,
    /// Unwrapped decoding time last seen: the next is the nearest to it.
    pub last: Ticks,
    /// What is added to go on without a jump.
    pub shift: Ticks,
    /// Decoding time of the picture before, from the start, shifted.
    pub previous: Option<Ticks>,
    /// From one decoding time to the next, as last seen.
    pub step: Ticks,
    /// Times that stood alone in their PES packet, and went on.
    pub ordered: u32,
    /// Such times that went back.
    pub misordered: u32,
}

/// An access unit whose times count from the start of the recording; its PTS and
/// DTS as they stood in the stream; and the clock as it was before it.
pub type TimedUnit = (AccessUnit, (Option<Ticks>, Option<Ticks>), Clock);

/// Sets the times of access units to the recording's own.
#[derive(Debug)]
pub struct Timeline {
    clock: Option<Clock>,
    settling: Settling,
    ready: VecDeque<TimedUnit>,
}

/// What is known before the start is settled.
#[derive(Debug, Default)]
struct Settling {
    /// Audio streams that have shown no time yet.
    silent: Vec<u16>,
    heard: Vec<u16>,
    /// Unwrapped first times, of audio and video.
    earliest: Option<Ticks>,
    video: bool,
    reference: Option<Ticks>,
    first_dts: Option<Ticks>,
    held: VecDeque<AccessUnit>,
    held_bytes: usize,
}

impl Timeline {
    /// At the beginning of a recording.
    pub fn new() -> Self {
        Timeline { clock: None, settling: Settling::default(), ready: VecDeque::new() }
    }

    /// Goes on where another has been: `clock` as it was before the next access unit.
    pub fn resume(clock: Clock) -> Self {
        Timeline { clock: Some(clock), ..Timeline::new() }
    }

    /// The audio streams of the tables, whose first times count for the start.
    pub fn expect_audio(&mut self, pids: &[u16]) {
        if self.clock.is_none() {
            let settling = &mut self.settling;
            for pid in pids {
                if !settling.silent.contains(pid) && !settling.heard.contains(pid) {
                    settling.silent.push(*pid);
                }
            }
        }
    }

    /// A time of an audio stream.
    pub fn audio(&mut self, pid: u16, pts: Option<Ticks>) {
        let (None, Some(pts)) = (self.clock, pts) else { return };
        let settling = &mut self.settling;
        if let Some(index) = settling.silent.iter().position(|silent| *silent == pid) {
            settling.silent.swap_remove(index);
            settling.heard.push(pid);
            settling.see(pts);
            self.settle_if_known();
        }
    }

    /// The next access unit of the video stream.
    pub fn push(&mut self, unit: AccessUnit) {
        if self.clock.is_some() {
            self.set_times(unit);
            return;
        }
        let settling = &mut self.settling;
        if let (false, Some(pts)) = (settling.video, unit.pts) {
            settling.video = true;
            settling.see(pts);
        }
        if let Some(dts) = unit.dts.or(unit.pts) {
            let dts = settling.unwrap(dts);
            settling.first_dts.get_or_insert(dts);
            settling.reference = Some(dts);
        }
        settling.held_bytes += unit.data.len();
        settling.held.push_back(unit);
        self.settle_if_known();
    }

    /// The stream is over: time starts where it is known to.
    pub fn finish(&mut self) {
        if self.clock.is_none() {
            self.settle();
        }
    }

    /// The next access unit, its times set from the start of the recording.
    pub fn pull(&mut self) -> Option<TimedUnit> {
        self.ready.pop_front()
    }

    /// Where time starts, on the stream's own clock, once it is settled.
    pub fn start(&self) -> Option<Ticks> {
        self.clock.map(|clock| clock.start)
    }

    fn settle_if_known(&mut self) {
        let settling = &self.settling;
        let all_heard = settling.video && settling.silent.is_empty();
        let long_enough = match (settling.first_dts, settling.reference) {
            (Some(first), Some(last)) => (last.0 - first.0).abs() >= SETTLE_TICKS,
            _ => false,
        };
        if all_heard || (settling.video && long_enough) || settling.held_bytes > MAX_HELD_BYTES {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let settling = std::mem::take(&mut self.settling);
        let start = settling.earliest.unwrap_or_default();
        self.clock = Some(Clock {
            start,
            last: settling.first_dts.unwrap_or(start),
            shift: Ticks(0),
            previous: None,
            step: Ticks(0),
            ordered: 0,
            misordered: 0,
        });
        for unit in settling.held {
            self.set_times(unit);
        }
    }

    fn set_times(&mut self, mut unit: AccessUnit) {
        let Some(clock) = &mut self.clock else { return };
        let (before, raw) = (*clock, (unit.pts, unit.dts));
        let dts = match unit.dts {
            Some(dts) => {
                let dts = nearest(dts, clock.last);
                let only_pts = unit.pts == unit.dts;
                clock.notice_order(dts, only_pts);
                // Pictures in decoding order whose PTS go back have no DTS at all.
                (!(only_pts && clock.reordered())).then_some(dts)
            }
            None => clock.expected(),
        };
        if let Some(dts) = dts {
            clock.last = dts;
            clock.notice_jump(dts);
        }
        let reference = clock.last;
        let from_start = |time: Ticks| Ticks(time.0 - clock.start.0 + clock.shift.0);
        unit.pts = unit.pts.map(|pts| from_start(nearest(pts, reference)));
        unit.dts = dts.map(from_start);
        self.ready.push_back((unit, raw, before));
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline::new()
    }
}

impl Settling {
    fn see(&mut self, pts: Ticks) {
        let pts = self.unwrap(pts);
        self.earliest = Some(self.earliest.map_or(pts, |earliest| earliest.min(pts)));
    }

    /// Unwraps near what was seen first, so that a recording may start just
    /// before its clock wraps.
    fn unwrap(&mut self, time: Ticks) -> Ticks {
        nearest(time, *self.reference.get_or_insert(time))
    }
}

impl Clock {
    /// `compute_pkt_fields` in `libavformat/demux.c`: a time that stands alone is
    /// taken as PTS and DTS, unless such times turn out not to be in order. A long
    /// way back is no reordering but a jump.
    fn notice_order(&mut self, dts: Ticks, only_pts: bool) {
        const MEMORY: u32 = 250;
        if only_pts {
            if dts < self.last && self.last.0 - dts.0 <= TICKS_PER_SECOND {
                self.misordered += 1;
            } else {
                self.ordered += 1;
            }
            if self.ordered + self.misordered > MEMORY {
                self.ordered /= 2;
                self.misordered /= 2;
            }
        }
        if only_pts && self.reordered() {
            self.last = dts;
        }
    }

    fn reordered(&self) -> bool {
        self.ordered < 8 * self.misordered
    }

    /// The decoding time expected next, on the stream's own clock.
    fn expected(&self) -> Option<Ticks> {
        (self.step.0 > 0).then_some(Ticks(self.last.0 + self.step.0))
    }

    /// `process_input`: a decoding time far from the one expected shifts all
    /// times to come, so that this one is the one expected.
    fn notice_jump(&mut self, dts: Ticks) {
        let now = dts.0 - self.start.0 + self.shift.0;
        let Some(previous) = self.previous else {
            self.previous = Some(Ticks(now));
            return;
        };
        let expected = previous.0 + self.step.0;
        let delta = now - expected;
        let jumped = delta.abs() > JUMP_TICKS || now + BACKWARD_JUMP_TICKS < previous.0;
        if jumped {
            self.shift.0 -= delta;
            self.previous = Some(Ticks(expected));
        } else {
            if now > previous.0 {
                self.step = Ticks(now - previous.0);
            }
            self.previous = Some(Ticks(now));
        }
    }
}

/// The time with these 33 bits that is nearest to `reference`.
fn nearest(time: Ticks, reference: Ticks) -> Ticks {
    const MODULUS: i64 = 1 << CLOCK_BITS;
    let ahead = (time.0 - reference.0).rem_euclid(MODULUS);
    Ticks(reference.0 + if ahead < MODULUS / 2 { ahead } else { ahead - MODULUS })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{ByteOffset, RandomAccess, VideoCodec};

    const WRAP: i64 = 1 << CLOCK_BITS;

    fn unit(pts: i64, dts: i64) -> AccessUnit {
        AccessUnit {
            at: ByteOffset(0),
            skip_bytes: 0,
            codec: VideoCodec::H264,
            pts: Some(Ticks(pts.rem_euclid(WRAP))),
            dts: Some(Ticks(dts.rem_euclid(WRAP))),
            random_access: RandomAccess::None,
            data: Vec::new(),
        }
    }

    fn pts(timeline: &mut Timeline) -> Vec<i64> {
        std::iter::from_fn(|| timeline.pull()).filter_map(|(unit, ..)| Some(unit.pts?.0)).collect()
    }

    #[test]
    fn time_starts_with_the_audio_where_that_begins_first() {
        let mut timeline = Timeline::new();
        timeline.expect_audio(&[257]);
        timeline.push(unit(9_000, 9_000));
        assert!(timeline.pull().is_none(), "the audio has not been heard yet");
        timeline.audio(257, Some(Ticks(6_000)));
        assert_eq!(pts(&mut timeline), [3_000]);
    }

    #[test]
    fn a_silent_audio_stream_is_waited_for_no_longer_than_a_second() {
        let mut timeline = Timeline::new();
        timeline.expect_audio(&[257]);
        for n in 0..31 {
            timeline.push(unit(n * 3_000, n * 3_000));
        }
        assert_eq!(pts(&mut timeline).len(), 31);
        timeline.audio(257, Some(Ticks(-500)));
        assert_eq!(timeline.start(), Some(Ticks(0)), "it never changes");
    }

    #[test]
    fn pictures_before_the_first_one_in_time_are_negative() {
        let mut timeline = Timeline::new();
        timeline.push(unit(9_000, 3_000));
        timeline.push(unit(6_000, 6_000));
        assert_eq!(pts(&mut timeline), [0, -3_000]);
    }

    #[test]
    fn the_clock_wraps_also_when_pts_has_wrapped_and_dts_not_yet() {
        let mut timeline = Timeline::new();
        for n in 0..6 {
            timeline.push(unit(WRAP - 6_000 + n * 3_000 + 3_000, WRAP - 6_000 + n * 3_000));
        }
        assert_eq!(pts(&mut timeline), [0, 3_000, 6_000, 9_000, 12_000, 15_000]);
    }

    #[test]
    fn an_encoder_that_starts_again_goes_on_at_the_time_expected_next() {
        let mut timeline = Timeline::new();
        for n in [300_000, 303_000, 306_000, 0, 3_000] {
            timeline.push(unit(n, n));
        }
        assert_eq!(pts(&mut timeline), [0, 3_000, 6_000, 9_000, 12_000]);
        for n in [9_006_000, 9_009_000] {
            timeline.push(unit(n, n));
        }
        assert_eq!(pts(&mut timeline), [15_000, 18_000], "and so with a jump forward");
    }

    #[test]
    fn smaller_steps_stand_as_they_are() {
        let mut timeline = Timeline::new();
        for n in [300_000, 303_000, 1_100_000, 1_092_000] {
            timeline.push(unit(n, n));
        }
        assert_eq!(pts(&mut timeline), [0, 3_000, 800_000, 792_000]);
    }

    #[test]
    fn a_hundred_hours_are_told_to_the_tick() {
        let mut timeline = Timeline::new();
        let step = 5 * TICKS_PER_SECOND;
        for n in 0..72_000 {
            timeline.push(unit(n * step, n * step));
        }
        assert_eq!(pts(&mut timeline).last(), Some(&(71_999 * step)));
    }

    #[test]
    fn a_timeline_resumed_at_any_picture_goes_on_as_if_it_had_never_stopped() {
        let times = [300_000, 303_000, 306_000, 0, 3_000, 6_000, 9_000_000, 9_003_000];
        let mut whole = Timeline::new();
        times.iter().for_each(|n| whole.push(unit(*n, *n)));
        let all: Vec<_> = std::iter::from_fn(|| whole.pull()).collect();
        for from in 0..times.len() {
            let mut resumed = Timeline::resume(all[from].2);
            times[from..].iter().for_each(|n| resumed.push(unit(*n, *n)));
            let rest: Vec<_> = std::iter::from_fn(|| resumed.pull()).collect();
            assert_eq!(rest, all[from..]);
        }
    }
}
