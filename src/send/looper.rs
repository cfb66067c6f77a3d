//! Repeats the same packets as one endless stream.
//!
//! The first pass is sent unchanged and analyzed. In every later pass, the clocks are shifted by
//! the duration of a pass, and the continuity counters continue from the last values before the
//! seam. Gaps and jumps within the file stay as they are.

use std::collections::BTreeMap;

use super::fields::{self, PesStamps, TIMESTAMP_WRAP};
use crate::media::{TICKS_PER_SECOND, Ticks};
use crate::ts::{Header, NULL_PID, PCR_PER_TICK, TS_PACKET_BYTES, pcr};

/// Maximum regular step between two decoding times, or two PCRs. A larger one is a jump.
const MAX_STEP: u64 = TICKS_PER_SECOND as u64;

/// A stream that would step back by less than this at the seam does not lengthen the
/// pass: half of what the ffmpeg tool treats as a jump of the clock.
const MAX_OVERLAP: u64 = TICKS_PER_SECOND as u64 / 20;

/// A stream that would step back by more than this is assumed to have its own clock.
const MAX_EXTENSION: u64 = 10 * TICKS_PER_SECOND as u64;

/// Rewrites packets from the second pass on.
///
/// The duration of a pass is the last decoding time of the first video stream minus its first one,
/// plus its last regular step: across the seam, video continues after exactly one frame interval.
/// If another stream would then step back by 50 ms or more (up to 10 s), the pass is as long as
/// that stream; the duration of its last PES packet is estimated from its size. Without video, the
/// first stream with timestamps determines the duration; without timestamps, the PCR; without a
/// PCR, the duration is 0.
#[derive(Debug, Default)]
pub struct Looper {
    pass: u64,
    duration: u64,
    offset: u64,
    clocks: BTreeMap<u16, ClockRange>,
    /// Video flag and times per PID, in the order of their first PES header.
    streams: Vec<(u16, bool, ClockRange)>,
    counters: BTreeMap<u16, LoopedCounter>,
}

/// The first and last value of a clock, and its last regular step, in 90 kHz ticks.
#[derive(Debug, Clone, Copy)]
struct ClockRange {
    first: u64,
    last: u64,
    step: u64,
    /// Size in bytes of the PES packet to which the step belongs; 0 if unknown.
    step_bytes: u16,
    /// Size in bytes of the last PES packet; 0 if unknown.
    last_bytes: u16,
}

#[derive(Debug, Clone, Copy)]
struct LoopedCounter {
    /// The last counter value sent.
    last: u8,
    /// Added to the counter in the file; `None` until the first packet of the pass.
    shift: Option<u8>,
}

impl Looper {
    /// Returns a looper at the start of the first pass.
    pub fn new() -> Self {
        Looper::default()
    }

    /// Processes the next packet: analyzes it in the first pass, rewrites it in later
    /// ones.
    pub fn packet(&mut self, packet: &mut [u8; TS_PACKET_BYTES]) {
        if self.pass == 0 {
            self.analyze(packet);
        } else {
            fields::shift_pcr(packet, self.offset);
            if let Some(stamps) = PesStamps::find(packet) {
                stamps.shift(packet, self.offset);
            }
        }
        self.continue_counter(packet);
    }

    /// Ends the pass. Returns the shift of the next pass's clocks relative to this one.
    pub fn seam(&mut self) -> Ticks {
        if self.pass == 0 {
            self.duration = self.determine_duration();
        }
        self.pass += 1;
        self.offset = (self.offset + self.duration) % TIMESTAMP_WRAP;
        for counter in self.counters.values_mut() {
            counter.shift = None;
        }
        Ticks(self.duration as i64)
    }

    /// Returns the number of finished passes.
    pub fn passes(&self) -> u64 {
        self.pass
    }

    fn analyze(&mut self, packet: &[u8; TS_PACKET_BYTES]) {
        let pid = Header::of(packet).pid();
        if let Some(clock) = pcr(packet) {
            let ticks = clock / PCR_PER_TICK;
            self.clocks.entry(pid).or_insert_with(|| ClockRange::from(ticks)).advance(ticks, 0);
        }
        let Some(stamps) = PesStamps::find(packet) else { return };
        // Audio, video, private stream 1 (AC-3) and extended (VC-1): streams that a player plays.
        if !matches!(stamps.stream_id, 0xbd | 0xc0..=0xef | 0xfd) {
            return;
        }
        let dts = stamps.dts(packet);
        if !self.streams.iter().any(|(known, ..)| *known == pid) {
            let is_video = stamps.stream_id & 0xf0 == 0xe0;
            self.streams.push((pid, is_video, ClockRange::from(dts)));
        }
        for (_, _, range) in self.streams.iter_mut().filter(|(known, ..)| *known == pid) {
            range.advance(dts, stamps.pes_bytes);
        }
    }

    fn determine_duration(&self) -> u64 {
        let video = self.streams.iter().find(|(_, is_video, _)| *is_video);
        let Some((_, _, reference)) = video.or(self.streams.first()) else {
            return self.clocks.values().next().map_or(0, ClockRange::length);
        };
        let length = reference.length();
        let overlap = |range: &ClockRange| {
            (range.estimated_length() + TIMESTAMP_WRAP - length) % TIMESTAMP_WRAP
        };
        let longest = self.streams.iter().map(|(_, _, range)| overlap(range));
        let extension = longest.filter(|o| (MAX_OVERLAP..=MAX_EXTENSION).contains(o)).max();
        (length + extension.unwrap_or(0)) % TIMESTAMP_WRAP
    }

    /// Sets the counter to the value that follows the last one sent on the PID.
    fn continue_counter(&mut self, packet: &mut [u8; TS_PACKET_BYTES]) {
        let pid = Header::of(packet).pid();
        if pid == NULL_PID {
            return;
        }
        let (original, has_payload) =
            (Header::of(packet).continuity_counter(), Header::of(packet).has_payload());
        let counter =
            self.counters.entry(pid).or_insert(LoopedCounter { last: original, shift: Some(0) });
        let shift = *counter.shift.get_or_insert_with(|| {
            let expected = counter.last.wrapping_add(u8::from(has_payload));
            expected.wrapping_sub(original) & 0x0f
        });
        counter.last = original.wrapping_add(shift) & 0x0f;
        if shift != 0 {
            fields::set_continuity(packet, counter.last);
        }
    }
}

impl ClockRange {
    fn from(ticks: u64) -> Self {
        ClockRange { first: ticks, last: ticks, step: 0, step_bytes: 0, last_bytes: 0 }
    }

    fn advance(&mut self, ticks: u64, pes_bytes: u16) {
        let step = (ticks + TIMESTAMP_WRAP - self.last) % TIMESTAMP_WRAP;
        if (1..=MAX_STEP).contains(&step) {
            self.step = step;
            self.step_bytes = self.last_bytes;
        }
        self.last = ticks;
        self.last_bytes = pes_bytes;
    }

    /// Returns the time from the first value to the end of the last step.
    fn length(&self) -> u64 {
        (self.last + TIMESTAMP_WRAP - self.first + self.step) % TIMESTAMP_WRAP
    }

    /// As [`ClockRange::length`], for a stream with several frames per PES packet. The last PES packet
    /// is often shorter: its duration is estimated from its size, at the bit rate of the previous
    /// one.
    fn estimated_length(&self) -> u64 {
        if self.step_bytes == 0 || self.last_bytes >= self.step_bytes {
            return self.length();
        }
        let estimate = self.step * u64::from(self.last_bytes) / u64::from(self.step_bytes);
        (self.length() + TIMESTAMP_WRAP - self.step + estimate) % TIMESTAMP_WRAP
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::ts::PCR_WRAP;
    use scenetap_testkit as testkit;

    type Packet = [u8; TS_PACKET_BYTES];

    fn packets(bytes: &[u8]) -> Vec<Packet> {
        bytes.chunks_exact(TS_PACKET_BYTES).map(|p| p.try_into().expect("a packet")).collect()
    }

    /// Returns `passes` passes of `file`, and the result of the first seam.
    fn looped(file: &[u8], passes: usize) -> (Vec<Packet>, Ticks) {
        let mut looper = Looper::new();
        let (mut all, mut duration) = (Vec::new(), Ticks(0));
        for _ in 0..passes {
            for mut packet in packets(file) {
                looper.packet(&mut packet);
                all.push(packet);
            }
            duration = looper.seam();
        }
        (all, duration)
    }

    #[test]
    fn clocks_go_on_over_the_seam_by_one_frame_and_over_the_wrap() {
        // The clock wraps in the second pass.
        let file = testkit::paced_stream(10, 3, PCR_WRAP - 15 * 1_080_000);
        let (all, duration) = looped(&file, 4);
        assert_eq!(duration, Ticks(10 * 3600));
        let pcrs: Vec<_> = all.iter().filter_map(pcr).collect();
        assert_eq!(pcrs.len(), 40);
        for pair in pcrs.windows(2) {
            assert_eq!((pair[1] + PCR_WRAP - pair[0]) % PCR_WRAP, 1_080_000);
        }
        let dts: Vec<_> =
            all.iter().filter_map(|p| PesStamps::find(p).map(|s| (s.pts(p), s.dts(p)))).collect();
        for pair in dts.windows(2) {
            assert_eq!((pair[1].1 + TIMESTAMP_WRAP - pair[0].1) % TIMESTAMP_WRAP, 3600);
            assert_eq!((pair[1].0 + TIMESTAMP_WRAP - pair[1].1) % TIMESTAMP_WRAP, 3600);
        }
    }

    #[test]
    fn counters_go_on_over_the_seam_and_the_first_pass_stands() {
        let file = testkit::paced_stream(7, 3, 0);
        let (all, _) = looped(&file, 3);
        assert_eq!(all[..21], packets(&file));
        for pair in all.windows(2) {
            let next = (Header::of(&pair[0]).continuity_counter() + 1) % 16;
            assert_eq!(Header::of(&pair[1]).continuity_counter(), next);
        }
    }

    #[test]
    fn a_gap_within_the_file_stays_a_gap() {
        let mut file = testkit::paced_stream(7, 3, 0);
        file.drain(5 * TS_PACKET_BYTES..6 * TS_PACKET_BYTES);
        let (all, _) = looped(&file, 2);
        let gaps = all.windows(2).filter(|pair| {
            Header::of(&pair[1]).continuity_counter()
                != (Header::of(&pair[0]).continuity_counter() + 1) % 16
        });
        assert_eq!(gaps.count(), 2);
    }

    #[test]
    fn a_packet_without_payload_at_the_seam_repeats_the_counter() {
        let mut file = testkit::paced_stream(2, 2, 0);
        let mut clock_only = testkit::timed(256, 9, Some(0), 0, 0);
        clock_only[3] = clock_only[3] & 0x0f | 0x20;
        clock_only[4] = 183;
        file.splice(0..0, clock_only);
        let (all, _) = looped(&file, 2);
        assert_eq!(
            Header::of(&all[5]).continuity_counter(),
            Header::of(&all[4]).continuity_counter()
        );
    }

    #[test]
    fn an_audio_stream_that_is_much_longer_makes_the_pass_as_long() {
        let mut file = testkit::paced_stream(5, 1, 0);
        for step in 0..8 {
            let mut audio = testkit::timed(257, step, None, 0, u64::from(step) * 4500);
            audio[4 + 3] = 0xc0;
            file.extend(audio);
        }
        assert_eq!(looped(&file, 1).1, Ticks(8 * 4500));
        // One audio packet less than the tolerance: video determines the duration.
        file.truncate((5 + 4) * TS_PACKET_BYTES);
        assert_eq!(looped(&file, 1).1, Ticks(5 * 3600));
    }

    #[test]
    fn a_short_last_pes_of_audio_does_not_lengthen_the_pass() {
        let mut file = testkit::paced_stream(25, 1, 0);
        for (step, pes_bytes) in [2300_u16, 2300, 2300, 400].into_iter().enumerate() {
            let mut audio = testkit::timed(257, step as u8, None, 0, step as u64 * 28_000);
            audio[4 + 3] = 0xc0;
            audio[4 + 4..4 + 6].copy_from_slice(&pes_bytes.to_be_bytes());
            file.extend(audio);
        }
        assert_eq!(looped(&file, 1).1, Ticks(25 * 3600));
    }

    #[test]
    fn null_packets_and_streams_without_clocks_stay_as_they_are() {
        let file = testkit::filler(NULL_PID, 5);
        let (all, duration) = looped(&file, 3);
        assert_eq!(duration, Ticks(0));
        assert!(all.iter().all(|packet| *packet == file));
    }
}
