//! Where in a recording another analyzer could resume, and with what state.
//!
//! A [`RestartPoint`] is what the checkpoint stores, in the shape that it has on disk: there is no
//! second form of it. [`RestartPoints`] collects candidates while pictures pass.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::decode::{BestEffort, Decoded, Settings};
use crate::demux::Program;
use crate::detect::DetectorState;
use crate::framing::FramerStart;
use crate::media::{ByteOffset, RandomAccess, Ticks};
use crate::timeline::{RecordingClock, TimedUnit};

/// Audio by which the next frame's time goes is read again, if it is no further back.
const MAX_AUDIO_BYTES: u64 = 1 << 20;

/// What is read again after a restart, at most. Where all pictures at which one could
/// start are damaged, one of them has to do; where there are none, any picture.
const MAX_READ_AGAIN: u64 = 64 << 20;

/// Candidates that are kept. Reading starts at the older one: how damage is concealed also
/// depends on the pictures before a random access point.
const PLACES: usize = 2;

/// More random access points than a decoder can delay are stale: their pictures never came out.
const MAX_PASSED: usize = 64;

/// From where, and with what state, an analyzer can resume: everything before is decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartPoint {
    /// The random access point to read from.
    pub read_from: ReadFrom,
    /// The program that is followed.
    pub program: Program,
    /// The clock before its access unit.
    pub clock: RecordingClock,
    /// The decoder there.
    pub decoder: DecoderState,
    /// The last picture that is decided, in presentation order, and what the rule remembers.
    pub decided: Decided,
}

/// A random access point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadFrom {
    /// The packet in which its access unit starts; video before it was decoded already.
    pub offset: ByteOffset,
    /// The packet from which to read, for the audio that belongs to that access unit.
    pub audio_offset: ByteOffset,
    /// From where its picture is decoded in one go.
    pub keyframe_offset: ByteOffset,
    /// It is no random access point: the first pictures from there are damaged.
    pub damaged: bool,
    /// How the access unit lies in its packet.
    #[serde(flatten)]
    pub framer: FramerStart,
}

/// How the decoder was opened, and what it knew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecoderState {
    /// Pictures by which it delays its output.
    pub reorder: u32,
    /// Pictures by which the stream's first decoder did, as libavformat goes on believing.
    pub delay: u32,
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
    /// How to open a decoder with this state.
    pub fn settings(&self) -> Settings {
        Settings {
            reorder: self.reorder,
            parameter_sets: self.parameter_sets.clone(),
            size: self.size,
        }
    }
}

/// What is decided, up to which picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// The packet in which the last picture starts.
    pub offset: ByteOffset,
    /// Its time from the start of the recording.
    pub pts: Ticks,
    /// What the detector knew behind it.
    #[serde(flatten)]
    pub detector: DetectorState,
    /// The recording was over, and every picture that starts up to here is decided.
    pub final_through: Option<ByteOffset>,
}

/// Collects places to restart from while pictures pass.
#[derive(Debug)]
pub struct RestartPoints {
    /// Random access points whose pictures have not come out of the decoder yet.
    passed: VecDeque<PassedUnit>,
    /// Those from which fewer pictures have come than they need to be whole.
    settling: VecDeque<(Place, u32)>,
    /// The last [`PLACES`] whose pictures have come out and are whole, the oldest first.
    places: VecDeque<Place>,
    /// The access unit that was remembered last.
    noted: ByteOffset,
    /// In bytes, [`MAX_READ_AGAIN`] but for tests.
    max_read_again: u64,
}

/// What is known of a random access point when its access unit passes.
#[derive(Debug, Clone)]
struct PassedUnit {
    at: ByteOffset,
    audio_from: ByteOffset,
    framer: FramerStart,
    program: Program,
    clock: RecordingClock,
    random_access: RandomAccess,
}

/// A place to restart from: everything of a [`RestartPoint`] but what is decided later.
#[derive(Debug, Clone)]
pub struct Place {
    read_from: ReadFrom,
    program: Program,
    clock: RecordingClock,
    settings: Settings,
    times: BestEffort,
}

impl RestartPoints {
    /// Before the first picture of a recording.
    pub fn new() -> Self {
        RestartPoints {
            passed: VecDeque::new(),
            settling: VecDeque::new(),
            places: VecDeque::new(),
            noted: ByteOffset(0),
            max_read_again: MAX_READ_AGAIN,
        }
    }

    /// Behind a restart at `point`, which stays a place to restart from.
    pub fn resume(point: &RestartPoint) -> Self {
        let place = Place {
            read_from: point.read_from.clone(),
            program: point.program.clone(),
            clock: point.clock.clone(),
            settings: point.decoder.settings(),
            times: point.decoder.times,
        };
        RestartPoints {
            places: VecDeque::from([place]),
            noted: point.read_from.offset,
            ..RestartPoints::new()
        }
    }

    /// Reads no more than `bytes` again after a restart, where the stream allows that.
    pub fn read_again_at_most(&mut self, bytes: u64) {
        self.max_read_again = bytes;
    }

    /// The place that a restart would read from.
    pub fn oldest(&self) -> Option<&Place> {
        self.places.front()
    }

    /// Remembers the access unit if it is a random access point, or the very first: nothing
    /// precedes that one. Far behind the last that was remembered, any access unit will do.
    pub fn unit_passed(&mut self, timed: &TimedUnit, program: Option<&Program>) {
        let TimedUnit { unit, raw, before } = timed;
        let first = self.places.is_empty() && self.passed.is_empty();
        // A restart reads from the oldest place: each takes its part of what is read again.
        let stretch = self.max_read_again / PLACES as u64;
        let is_late = unit.at.0.saturating_sub(self.noted.0) >= stretch;
        if unit.random_access == RandomAccess::None && !first && !is_late {
            return;
        }
        self.noted = unit.at;
        let Some(program) = program.cloned() else { return };
        if self.passed.len() == MAX_PASSED {
            self.passed.pop_front();
        }
        let audio = before.audio.iter().map(|audio| audio.through);
        let near = audio.filter(|from| unit.at.0.saturating_sub(from.0) <= MAX_AUDIO_BYTES);
        self.passed.push_back(PassedUnit {
            at: unit.at,
            audio_from: near.min().map_or(unit.at, |from| from.min(unit.at)),
            framer: FramerStart { skip_bytes: unit.skip_bytes, pts: raw.pts, dts: raw.dts },
            program,
            clock: before.clone(),
            random_access: unit.random_access,
        });
    }

    /// A picture has come out of the decoder: it may complete a place to restart from. `settings`
    /// opens that decoder again.
    pub fn picture_decoded(&mut self, decoded: &Decoded, settings: impl FnOnce() -> Settings) {
        self.settle();
        let at = decoded.frame.at;
        let Some(index) = self.passed.iter().position(|passed| passed.at == at) else { return };
        let Some(passed) = self.passed.drain(..=index).next_back() else { return };
        let is_far = self.places.front().is_none_or(|oldest| {
            at.0.saturating_sub(oldest.read_from.offset.0) > self.max_read_again
        });
        let is_known = self.places.back().is_some_and(|last| last.read_from.offset == at);
        if is_known || (decoded.frame.damaged && !is_far) {
            return;
        }
        let random_access = passed.random_access;
        let place = Place {
            read_from: ReadFrom {
                offset: at,
                audio_offset: passed.audio_from,
                keyframe_offset: decoded.frame.keyframe_at,
                // The very first access unit is decoded as it was the first time.
                damaged: !self.places.is_empty() && random_access < RandomAccess::Open,
                framer: passed.framer,
            },
            program: passed.program,
            clock: passed.clock,
            settings: settings(),
            times: decoded.times,
        };
        match random_access {
            RandomAccess::Gradual(pictures) => self.settling.push_back((place, pictures)),
            _ => self.add(place),
        }
    }

    /// One more picture has come from where pictures become whole little by little.
    fn settle(&mut self) {
        self.settling.iter_mut().for_each(|(_, left)| *left = left.saturating_sub(1));
        while self.settling.front().is_some_and(|(_, left)| *left == 0) {
            if let Some((place, _)) = self.settling.pop_front() {
                self.add(place);
            }
        }
    }

    fn add(&mut self, place: Place) {
        let at = place.read_from.offset;
        if self.places.back().is_some_and(|last| last.read_from.offset >= at) {
            return;
        }
        if self.places.len() == PLACES {
            self.places.pop_front();
        }
        self.places.push_back(place);
    }
}

impl Place {
    /// The restart point at this place, with what is decided by now. `delay` is that of the
    /// stream's first decoder.
    pub fn point(&self, delay: u32, decided: Decided) -> RestartPoint {
        let Settings { reorder, parameter_sets, size } = self.settings.clone();
        RestartPoint {
            read_from: self.read_from.clone(),
            program: self.program.clone(),
            clock: self.clock.clone(),
            decoder: DecoderState { reorder, delay, parameter_sets, size, times: self.times },
            decided,
        }
    }
}
