//! The core without threads, files and clocks: packets in, scored pictures out.
//!
//! Live detection and scanning both run this; the same packets give the same
//! verdicts. [`Detection::start`] says at any time from where, and with what
//! state, another one can go on.

use std::collections::VecDeque;

use crate::decode::{BestEffort, Decoded, Decoder, Probe, Settings};
use crate::demux::{Damage, DemuxStart, Demuxer, Event, FramerStart, Program, ProgramChoice};
use crate::detect::{Detector, DetectorState, Rule};
use crate::error::Result;
use crate::media::{
    AccessUnit, ByteOffset, Frame, RandomAccess, Ticks, TsPacket, Verdict, VideoCodec,
};
use crate::timeline::{Clock, Timeline};

/// A picture about which everything is decided.
pub struct Scored {
    /// The picture.
    pub frame: Frame,
    /// Its score, and whether it is kept.
    pub verdict: Verdict,
}

/// Damage met so far. It is counted and passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DamageCounts {
    /// Gaps in the video stream's continuity counter.
    pub discontinuities: u64,
    /// Scrambled packets of the video stream.
    pub scrambled: u64,
    /// Access units and pictures that did not decode.
    pub undecodable: u64,
}

/// From where, and with what state, detection can go on: everything before is decided.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectionStart {
    /// The random access point to read from.
    pub demux: DemuxStart,
    /// The clock before its access unit.
    pub clock: Clock,
    /// The decoder's output delay there, and the parameter sets that it knew.
    pub decoder: Settings,
    /// The choice between PTS and DTS before its picture.
    pub times: BestEffort,
    /// The last picture that is decided, in presentation order.
    pub last: LastDecided,
    /// What the detector knew behind that picture.
    pub detector: DetectorState,
    /// A recorder that ended has decided about every picture that starts up to here.
    pub final_through: Option<ByteOffset>,
}

/// The picture that is decided last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastDecided {
    /// Where it starts.
    pub at: ByteOffset,
    /// Its time from the start of the recording.
    pub pts: Ticks,
}

/// demux → timeline → decode → detect, in one thread.
pub struct Detection {
    rule: Rule,
    demuxer: Demuxer,
    timeline: Timeline,
    probe: Option<Probe>,
    decoder: Option<Decoder>,
    /// What the decoder was opened with.
    parameter_sets: Vec<u8>,
    /// How to open the next decoder, where a checkpoint tells it.
    reopen: Option<(Settings, BestEffort, ByteOffset)>,
    resuming: Option<Resuming>,
    detector: Detector,
    /// Random access points whose pictures have not come out yet.
    entries: VecDeque<Entry>,
    /// The last one whose picture has, with all that is needed to start there.
    entry: Option<(Entry, Settings, BestEffort)>,
    last: Option<LastDecided>,
    /// The access unit that came last.
    newest: Option<ByteOffset>,
    final_through: Option<ByteOffset>,
    ready: VecDeque<Scored>,
    damage: DamageCounts,
    undecodable_before: u64,
    pictures: u64,
}

/// A place to start, as far as it is known when the access unit passes.
#[derive(Debug, Clone)]
struct Entry {
    at: ByteOffset,
    framer: FramerStart,
    clock: Clock,
    program: Program,
}

/// Pictures that come out again after a restart.
#[derive(Debug)]
struct Resuming {
    last: LastDecided,
    detector: DetectorState,
}

/// More places to start than a decoder can delay are stale: their pictures never came out.
const MAX_ENTRIES: usize = 64;

impl Detection {
    /// At the beginning of a recording.
    pub fn new(rule: Rule, choice: ProgramChoice) -> Self {
        Detection::with(rule, Demuxer::new(choice), Timeline::new(), Detector::new(rule))
    }

    /// Goes on from `start`; the first packet must be the one at `start.demux.at`.
    pub fn resume(rule: Rule, choice: ProgramChoice, start: DetectionStart) -> Self {
        let mut detection = Detection::with(
            rule,
            Demuxer::resume(choice, &start.demux),
            Timeline::resume(start.clock),
            Detector::new(rule),
        );
        detection.reopen = Some((start.decoder.clone(), start.times, start.demux.at));
        detection.parameter_sets = start.decoder.parameter_sets.clone();
        detection.final_through = start.final_through;
        detection.last = Some(start.last);
        detection.entry = Some((
            Entry {
                at: start.demux.at,
                framer: start.demux.framer,
                clock: start.clock,
                program: start.demux.program,
            },
            start.decoder,
            start.times,
        ));
        detection.resuming = Some(Resuming { last: start.last, detector: start.detector });
        detection
    }

    fn with(rule: Rule, demuxer: Demuxer, timeline: Timeline, detector: Detector) -> Self {
        Detection {
            rule,
            demuxer,
            timeline,
            probe: None,
            decoder: None,
            parameter_sets: Vec::new(),
            reopen: None,
            resuming: None,
            detector,
            entries: VecDeque::new(),
            entry: None,
            last: None,
            newest: None,
            final_through: None,
            ready: VecDeque::new(),
            damage: DamageCounts::default(),
            undecodable_before: 0,
            pictures: 0,
        }
    }

    /// Takes the next packet.
    ///
    /// # Errors
    ///
    /// If the FFmpeg that is linked has no decoder for the stream.
    pub fn push(&mut self, packet: TsPacket<'_>) -> Result<()> {
        self.demuxer.push(packet);
        self.drain_demuxer()
    }

    /// The recording is over: what is open is decided, for good.
    ///
    /// # Errors
    ///
    /// As [`Detection::push`].
    pub fn finish(&mut self) -> Result<()> {
        self.demuxer.finish();
        self.drain_demuxer()?;
        self.timeline.finish();
        self.drain_timeline()?;
        if let Some(probe) = self.probe.take() {
            self.leave_probe(probe)?;
        }
        self.finish_decoder();
        self.final_through = self.final_through.max(self.newest);
        Ok(())
    }

    /// The next picture that is decided, if there is one.
    pub fn pull(&mut self) -> Option<Scored> {
        self.ready.pop_front()
    }

    /// From where another can go on behind the last picture decided. `None` while
    /// it must begin at the beginning.
    pub fn start(&self) -> Option<DetectionStart> {
        // While pictures come out again, what is known is older than the last decided.
        let (entry, decoder, times) = self.entry.as_ref()?;
        let detector = match &self.resuming {
            Some(resuming) => resuming.detector.clone(),
            None => self.detector.state(),
        };
        Some(DetectionStart {
            demux: DemuxStart {
                at: entry.at,
                program: entry.program.clone(),
                framer: entry.framer,
            },
            clock: entry.clock,
            decoder: decoder.clone(),
            times: *times,
            last: self.last?,
            detector,
            final_through: self.final_through,
        })
    }

    /// The stream that is followed, once it is known.
    pub fn program(&self) -> Option<&Program> {
        self.demuxer.program()
    }

    /// Damage met so far.
    pub fn damage(&self) -> DamageCounts {
        let now = self.decoder.as_ref().map_or(0, Decoder::undecodable);
        DamageCounts { undecodable: self.undecodable_before + now, ..self.damage }
    }

    /// Pictures decided so far, by this detection.
    pub fn pictures(&self) -> u64 {
        self.pictures
    }

    fn drain_demuxer(&mut self) -> Result<()> {
        while let Some(event) = self.demuxer.pull() {
            match event {
                Event::Program(program) => self.timeline.expect_audio(&program.audio_pids),
                Event::Audio { pid, pts } => self.timeline.audio(pid, pts),
                Event::AccessUnit(unit) => {
                    self.newest = Some(unit.at);
                    self.timeline.push(unit);
                }
                Event::Damage(Damage::Discontinuity(_)) => self.damage.discontinuities += 1,
                Event::Damage(Damage::Scrambled(_)) => self.damage.scrambled += 1,
            }
        }
        self.drain_timeline()
    }

    fn drain_timeline(&mut self) -> Result<()> {
        while let Some((unit, raw, clock)) = self.timeline.pull() {
            self.note_entry(&unit, raw, clock);
            self.decode(unit)?;
        }
        Ok(())
    }

    /// Remembers a random access point, and the very first access unit: there is
    /// nothing before it.
    fn note_entry(&mut self, unit: &AccessUnit, (pts, dts): RawTimes, clock: Clock) {
        let first = self.entry.is_none() && self.entries.is_empty();
        if unit.random_access == RandomAccess::None && !first {
            return;
        }
        let Some(program) = self.demuxer.program().cloned() else { return };
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
        }
        let framer = FramerStart { skip_bytes: unit.skip_bytes, pts, dts };
        self.entries.push_back(Entry { at: unit.at, framer, clock, program });
    }

    fn decode(&mut self, unit: AccessUnit) -> Result<()> {
        if let Some(mut probe) = self.probe.take() {
            if probe.push(unit) {
                return self.leave_probe(probe);
            }
            self.probe = Some(probe);
            return Ok(());
        }
        if self.decoder.as_ref().is_none_or(|decoder| decoder.codec() != unit.codec) {
            return self.change_decoder(unit);
        }
        self.push_to_decoder(&unit);
        Ok(())
    }

    fn change_decoder(&mut self, unit: AccessUnit) -> Result<()> {
        self.finish_decoder();
        let codec: VideoCodec = unit.codec;
        if let Some((settings, times, at)) = self.reopen.take() {
            let mut decoder = Decoder::open(codec, &settings, times)?;
            decoder.skip_until(at);
            self.decoder = Some(decoder);
        } else if let Some(probe) = Probe::new(codec)? {
            self.probe = Some(probe);
        } else {
            self.parameter_sets.clear();
            self.decoder = Some(Decoder::open(codec, &Settings::default(), BestEffort::default())?);
        }
        self.decode(unit)
    }

    fn leave_probe(&mut self, probe: Probe) -> Result<()> {
        let (settings, units) = probe.finish();
        let Some(first) = units.first() else { return Ok(()) };
        self.decoder = Some(Decoder::open(first.codec, &settings, BestEffort::default())?);
        self.parameter_sets = settings.parameter_sets;
        units.iter().for_each(|unit| self.push_to_decoder(unit));
        Ok(())
    }

    fn push_to_decoder(&mut self, unit: &AccessUnit) {
        if let Some(decoder) = &mut self.decoder {
            decoder.push(unit);
        }
        self.drain_decoder();
    }

    fn finish_decoder(&mut self) {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish();
        }
        self.drain_decoder();
        if let Some(decoder) = self.decoder.take() {
            self.undecodable_before += decoder.undecodable();
        }
    }

    fn drain_decoder(&mut self) {
        while let Some(decoded) = self.decoder.as_mut().and_then(Decoder::pull) {
            self.take(decoded);
        }
    }

    fn take(&mut self, decoded: Decoded) {
        if let Some(resuming) = &self.resuming {
            if decoded.frame.at == resuming.last.at {
                self.detector = Detector::resume(self.rule, &resuming.detector, &decoded.frame);
                self.resuming = None;
            }
            return;
        }
        if self.final_through.is_some_and(|through| decoded.frame.at <= through) {
            return;
        }
        self.note_decoded(&decoded);
        let verdict = self.detector.push(&decoded.frame);
        self.last = Some(LastDecided { at: verdict.at, pts: verdict.pts });
        self.pictures += 1;
        self.ready.push_back(Scored { frame: decoded.frame, verdict });
    }

    /// A random access point whose picture is decided is a place to start.
    fn note_decoded(&mut self, decoded: &Decoded) {
        let at = decoded.frame.at;
        let Some(index) = self.entries.iter().position(|entry| entry.at == at) else { return };
        let reorder = self.decoder.as_ref().map_or(0, Decoder::reorder);
        if let Some(entry) = self.entries.drain(..=index).next_back() {
            let settings = Settings { reorder, parameter_sets: self.parameter_sets.clone() };
            self.entry = Some((entry, settings, decoded.times));
        }
    }
}

/// PTS and DTS as they stand in the stream.
type RawTimes = (Option<Ticks>, Option<Ticks>);
