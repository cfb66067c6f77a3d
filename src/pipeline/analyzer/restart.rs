//! Determines where in a recording another analyzer can resume, and with what state.
//!
//! The checkpoint stores a [`RestartPoint`]: its fields are the keys in the file.
//! [`RestartPoints`] collects candidates while pictures pass.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::look_ahead::FirstDelays;
use crate::decode::{BestEffort, Settings, Shown};
use crate::demux::Program;
use crate::detect::DetectorState;
use crate::framing::FramerStart;
use crate::media::{ByteOffset, RandomAccess, Ticks};
use crate::timeline::{RecordingClock, TimedUnit};
use crate::ts::{PacketSize, TsPacket};

/// Maximum distance in bytes at which earlier audio is read again, to determine the time of the
/// next audio frame.
const MAX_AUDIO_BYTES: u64 = 1 << 20;

/// Maximum number of bytes that are read again after a restart. To stay below it, a damaged
/// picture is used if all random access points are damaged, and any picture if there are none.
const MAX_READ_AGAIN: u64 = 64 << 20;

/// Number of candidates that are kept. Reading starts at the older one: how damage is concealed
/// also depends on the pictures before a random access point.
const MAX_CANDIDATES: usize = 2;

/// Maximum number of remembered packet size changes. There is rarely more than one size.
const MAX_SIZE_CHANGES: usize = 64;

/// Maximum number of random access points whose pictures are still in the decoder. A decoder
/// delays fewer pictures, so older ones are stale: their pictures were never returned.
const MAX_PASSED: usize = 64;

/// The position and the state from which an analyzer can resume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartPoint {
    /// The random access point from which to read.
    pub read_from: ReadFrom,
    /// The selected program.
    pub program: Program,
    /// The clock before the access unit at `read_from`.
    pub clock: RecordingClock,
    /// State of the decoder at `read_from`.
    pub decoder: DecoderState,
    /// The last picture that has a verdict, in presentation order, and the detector's state.
    pub decided: DecidedPicture,
}

/// A random access point from which to read again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadFrom {
    /// Offset of the packet in which its access unit starts. Earlier video is skipped.
    pub offset: ByteOffset,
    /// Offset of the first packet to read, which contains the audio before that access unit.
    pub audio_offset: ByteOffset,
    /// Size of the packets there.
    #[serde(rename = "packet_bytes", default, skip_serializing_if = "PacketSize::is_plain")]
    pub packet_size: PacketSize,
    /// Offset at which decoding has to start to reach its picture.
    pub keyframe_offset: ByteOffset,
    /// Whether it is only a substitute for a random access point, so that the first pictures after
    /// it are damaged.
    pub damaged: bool,
    /// Position of the access unit in its packet, and its times.
    #[serde(flatten)]
    pub framer: FramerStart,
}

/// Settings and state of the decoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecoderState {
    /// Output delay in pictures.
    pub reorder: u32,
    /// Output delay of the stream's first decoder in pictures, which libavformat keeps.
    pub delay: u32,
    /// Delays of the first pictures, if the restart is among them.
    #[serde(default, skip_serializing_if = "FirstDelays::is_empty")]
    pub first_delays: FirstDelays,
    /// Parameter sets with their start codes; hexadecimal in the checkpoint.
    #[serde(with = "hex")]
    pub parameter_sets: Vec<u8>,
    /// See [`Settings::size`].
    pub size: Option<(u32, u32)>,
    /// The choice between PTS and DTS before the picture of the restart point.
    #[serde(flatten)]
    pub times: BestEffort,
}

impl DecoderState {
    /// Returns the settings for a decoder with this state.
    pub fn settings(&self) -> Settings {
        Settings {
            reorder: self.reorder,
            parameter_sets: self.parameter_sets.clone(),
            size: self.size,
        }
    }
}

/// The last picture that has a verdict, and the detector's state after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecidedPicture {
    /// Offset of the packet in which the picture starts.
    pub offset: ByteOffset,
    /// Time of the picture from the start of the recording.
    pub pts: Ticks,
    /// State of the detector after the picture.
    #[serde(flatten)]
    pub detector: DetectorState,
    /// Set once the recording has ended: every picture that starts at or before this offset has its
    /// final verdict.
    pub final_through: Option<ByteOffset>,
}

/// Collects candidates for a restart while pictures pass.
#[derive(Debug)]
pub struct RestartPoints {
    /// Random access points whose pictures the decoder has not returned yet.
    passed: VecDeque<PassedUnit>,
    /// Gradual random access points, each with the number of pictures until pictures are complete.
    settling: VecDeque<(Candidate, u32)>,
    /// The last [`MAX_CANDIDATES`] random access points with complete pictures, oldest first.
    candidates: VecDeque<Candidate>,
    /// Offset of the access unit that was remembered last.
    last_remembered: ByteOffset,
    /// Packet sizes, each with the offset from which on packets have it. Oldest first.
    packet_sizes: VecDeque<(ByteOffset, PacketSize)>,
    /// [`MAX_READ_AGAIN`], except in tests.
    max_read_again: u64,
}

/// State at a random access point before its access unit is decoded.
#[derive(Debug, Clone)]
pub struct PassedUnit {
    /// Offset of the packet in which it starts.
    pub at: ByteOffset,
    audio_from: ByteOffset,
    packet_size: PacketSize,
    framer: FramerStart,
    program: Program,
    clock: RecordingClock,
    random_access: RandomAccess,
}

/// A random access point at which a restart is possible: a [`RestartPoint`] without the verdicts,
/// which follow later.
#[derive(Debug, Clone)]
pub struct Candidate {
    read_from: ReadFrom,
    program: Program,
    clock: RecordingClock,
    settings: Settings,
    times: BestEffort,
}

impl RestartPoints {
    /// Returns a collection for the beginning of a recording.
    pub fn new() -> Self {
        RestartPoints {
            passed: VecDeque::new(),
            settling: VecDeque::new(),
            candidates: VecDeque::new(),
            last_remembered: ByteOffset(0),
            packet_sizes: VecDeque::new(),
            max_read_again: MAX_READ_AGAIN,
        }
    }

    /// Returns a collection after a restart at `point`, which remains a candidate.
    pub fn resume(point: &RestartPoint) -> Self {
        let candidate = Candidate {
            read_from: point.read_from.clone(),
            program: point.program.clone(),
            clock: point.clock.clone(),
            settings: point.decoder.settings(),
            times: point.decoder.times,
        };
        RestartPoints {
            candidates: VecDeque::from([candidate]),
            last_remembered: point.read_from.offset,
            ..RestartPoints::new()
        }
    }

    /// Limits the number of bytes that are read again after a restart, if the stream allows that.
    pub fn read_again_at_most(&mut self, bytes: u64) {
        self.max_read_again = bytes;
    }

    /// Returns the candidate from which a restart would read.
    pub fn oldest(&self) -> Option<&Candidate> {
        self.candidates.front()
    }

    /// Remembers the size of the next packet.
    pub fn packet_passed(&mut self, packet: TsPacket<'_>) {
        if self.packet_sizes.back().is_none_or(|(_, size)| *size != packet.size) {
            if self.packet_sizes.len() == MAX_SIZE_CHANGES {
                self.packet_sizes.pop_front();
            }
            self.packet_sizes.push_back((packet.at, packet.size));
        }
    }

    fn packet_size_at(&self, at: ByteOffset) -> PacketSize {
        let reached = self.packet_sizes.iter().rev().find(|(from, _)| *from <= at);
        reached.or(self.packet_sizes.front()).map_or_else(PacketSize::default, |(_, size)| *size)
    }

    /// Returns the state in front of the access unit if it is to be remembered: a random access
    /// point, or the very first access unit. If the last remembered one is far behind, any access
    /// unit is remembered.
    pub fn state_before(
        &mut self,
        timed: &TimedUnit,
        program: Option<&Program>,
        first: bool,
    ) -> Option<PassedUnit> {
        let TimedUnit { unit, raw, before } = timed;
        // A restart reads from the oldest candidate, so the limit is divided among all of them.
        let share = self.max_read_again / MAX_CANDIDATES as u64;
        let is_far_after = unit.at.0.saturating_sub(self.last_remembered.0) >= share;
        if unit.random_access == RandomAccess::None && !first && !is_far_after {
            return None;
        }
        self.last_remembered = unit.at;
        let program = program.cloned()?;
        let audio = before.audio.iter().map(|audio| audio.through);
        let near = audio.filter(|from| unit.at.0.saturating_sub(from.0) <= MAX_AUDIO_BYTES);
        let audio_from = near.min().map_or(unit.at, |from| from.min(unit.at));
        Some(PassedUnit {
            at: unit.at,
            audio_from,
            packet_size: self.packet_size_at(audio_from),
            framer: FramerStart { skip_bytes: unit.skip_bytes, pts: raw.pts, dts: raw.dts },
            program,
            clock: before.clone(),
            random_access: unit.random_access,
        })
    }

    /// Returns whether no access unit has been remembered yet.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.passed.is_empty() && self.settling.is_empty()
    }

    /// Remembers an access unit that is decoded next.
    pub fn unit_passed(&mut self, passed: PassedUnit) {
        if self.passed.len() == MAX_PASSED {
            self.passed.pop_front();
        }
        self.passed.push_back(passed);
    }

    /// Takes a picture that the decoder has returned: its access unit may become a candidate.
    /// `settings` returns the settings with which to open that decoder again.
    pub fn picture_decoded(&mut self, shown: &Shown, settings: impl FnOnce() -> Settings) {
        self.settle();
        let at = shown.at;
        let Some(index) = self.passed.iter().position(|passed| passed.at == at) else { return };
        let Some(passed) = self.passed.drain(..=index).next_back() else { return };
        let is_far = self.candidates.front().is_none_or(|oldest| {
            at.0.saturating_sub(oldest.read_from.offset.0) > self.max_read_again
        });
        let is_known = self.candidates.back().is_some_and(|last| last.read_from.offset == at);
        if is_known || (shown.damaged && !is_far) {
            return;
        }
        let random_access = passed.random_access;
        let candidate = Candidate {
            read_from: ReadFrom {
                offset: at,
                audio_offset: passed.audio_from,
                packet_size: passed.packet_size,
                keyframe_offset: shown.keyframe_at,
                // At the very first access unit, decoding starts as it did the first time.
                damaged: !self.candidates.is_empty() && random_access < RandomAccess::Open,
                framer: passed.framer,
            },
            program: passed.program,
            clock: passed.clock,
            settings: settings(),
            times: shown.times,
        };
        match random_access {
            RandomAccess::Gradual(pictures) => self.settling.push_back((candidate, pictures)),
            _ => self.add(candidate),
        }
    }

    /// Counts one more picture after each gradual random access point.
    fn settle(&mut self) {
        self.settling
            .iter_mut()
            .for_each(|(_, remaining)| *remaining = remaining.saturating_sub(1));
        while self.settling.front().is_some_and(|(_, remaining)| *remaining == 0) {
            if let Some((candidate, _)) = self.settling.pop_front() {
                self.add(candidate);
            }
        }
    }

    fn add(&mut self, candidate: Candidate) {
        let at = candidate.read_from.offset;
        if self.candidates.back().is_some_and(|last| last.read_from.offset >= at) {
            return;
        }
        if self.candidates.len() == MAX_CANDIDATES {
            self.candidates.pop_front();
        }
        self.candidates.push_back(candidate);
    }
}

impl Candidate {
    /// Returns the offset at which decoding starts.
    pub fn offset(&self) -> ByteOffset {
        self.read_from.offset
    }

    /// Returns the restart point at this candidate. `delay` is the output delay of the stream's
    /// first decoder in pictures.
    pub fn point(
        &self,
        delay: u32,
        first_delays: FirstDelays,
        decided: DecidedPicture,
    ) -> RestartPoint {
        let Settings { reorder, parameter_sets, size } = self.settings.clone();
        RestartPoint {
            read_from: self.read_from.clone(),
            program: self.program.clone(),
            clock: self.clock.clone(),
            decoder: DecoderState {
                reorder,
                delay,
                first_delays,
                parameter_sets,
                size,
                times: self.times,
            },
            decided,
        }
    }
}
