//! The core without threads, files and clocks: packets in, scored pictures out.
//!
//! Live detection and scanning both run this; the same packets give the same verdicts.
//! [`Detection::start`] returns at any time from where, and with what state, another
//! detection can resume.

use std::collections::VecDeque;

use super::look_ahead::{Demuxed, LookAhead};
use crate::decode::{AudioFramer, BestEffort, Decoded, Decoder, HeaderReader, Settings};
use crate::demux::{
    AudioPes, Damage, DemuxStart, Demuxer, Event, FramerStart, NoVideo, Program, ProgramChoice,
};
use crate::detect::{Detector, DetectorState, Rule};
use crate::error::{Error, Result};
use crate::media::{
    AccessUnit, ByteOffset, Frame, PictureFormat, RandomAccess, Ticks, Verdict, VideoCodec,
};
use crate::timeline::{Clock, TimedUnit, Timeline};
use crate::ts::TsPacket;

/// Result of detection for one picture.
pub struct Scored {
    /// Score of the picture, and whether it is kept.
    pub verdict: Verdict,
    /// The picture, if it is kept, copied to its own memory.
    pub kept: Option<Frame>,
}

/// Damage so far. It is counted and skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DamageCounts {
    /// Gaps in the video stream's continuity counter.
    pub discontinuities: u64,
    /// Scrambled packets of the video stream.
    pub scrambled: u64,
    /// Offset of the first of them.
    pub first_scrambled: Option<ByteOffset>,
    /// Packets of the video stream with the transport error indicator set.
    pub transport_errors: u64,
    /// Access units and pictures that failed to decode.
    pub undecodable: u64,
}

/// From where, and with what state, detection can resume: everything before has a
/// verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectionStart {
    /// The random access point at which reading starts.
    pub demux: DemuxStart,
    /// The clock before its access unit.
    pub clock: Clock,
    /// The decoder's output delay there, and its parameter sets.
    pub decoder: Settings,
    /// Output delay of the stream's first decoder in pictures, which libavformat keeps
    /// using.
    pub delay: u32,
    /// The choice between PTS and DTS before its picture.
    pub times: BestEffort,
    /// The last picture with a verdict, in presentation order.
    pub last: LastDecided,
    /// The detector's state after that picture.
    pub detector: DetectorState,
    /// Set by a recorder that has ended: every picture that starts up to here has a
    /// verdict.
    pub final_through: Option<ByteOffset>,
    /// Offset at which decoding has to start to show its picture.
    pub keyframe_at: ByteOffset,
    /// There is no key frame: the first pictures are damaged.
    pub is_damaged: bool,
}

/// The last picture with a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastDecided {
    /// Offset of the picture.
    pub at: ByteOffset,
    /// Its time from the start of the recording.
    pub pts: Ticks,
}

/// demux → timeline → decode → detect, in one thread.
pub struct Detection {
    rule: Rule,
    demuxer: Demuxer,
    audio: Vec<AudioFramer>,
    headers: Option<HeaderReader>,
    /// Only at the beginning of a stream.
    look_ahead: Option<LookAhead>,
    timeline: Timeline,
    decoder: Option<Decoder>,
    /// Decoders for the next streams, while the timeline still holds pictures of the
    /// current one.
    next_decoder: VecDeque<Decoder>,
    /// See [`DetectionStart::delay`].
    delay: u32,
    /// Parameter sets with which the decoder was opened.
    parameter_sets: Vec<u8>,
    /// See [`Settings::size`]; `None` once a picture had a different size.
    size: Option<(u32, u32)>,
    /// How to open the next decoder, after a resume from a checkpoint.
    reopen: Option<Reopen>,
    resuming: Option<Resuming>,
    detector: Detector,
    /// Random access points whose pictures have not been decoded yet.
    entries: VecDeque<Entry>,
    /// The last two random access points whose pictures are decoded without damage. A
    /// restart uses the older one: concealment of damage also depends on the pictures
    /// before a random access point.
    places: VecDeque<Place>,
    /// Random access points whose pictures are not complete yet, with the number of
    /// pictures left (intra refresh).
    settling: VecDeque<(Place, u32)>,
    /// Offset of the last access unit that was noted as a place to start.
    noted: ByteOffset,
    /// [`MAX_READ_AGAIN`], except in tests.
    max_read_again: u64,
    last: Option<LastDecided>,
    /// Offset of the last access unit.
    newest: Option<ByteOffset>,
    final_through: Option<ByteOffset>,
    ready: VecDeque<Scored>,
    no_video: Option<NoVideo>,
    damage: DamageCounts,
    undecodable_before: u64,
    /// Why the first decoded picture that cannot be used was skipped.
    unusable: Option<Error>,
    pictures: u64,
}

/// A place to start, as known when the access unit passes.
#[derive(Debug, Clone)]
struct Entry {
    demux: DemuxStart,
    clock: Clock,
    random_access: RandomAccess,
}

/// A place to start, with the decoder's state there.
#[derive(Debug, Clone)]
struct Place {
    entry: Entry,
    decoder: Settings,
    times: BestEffort,
    keyframe_at: ByteOffset,
    is_damaged: bool,
}

/// How to open a decoder in the middle of a stream.
struct Reopen {
    settings: Settings,
    times: BestEffort,
    at: ByteOffset,
    keyframe_at: ByteOffset,
    is_damaged: bool,
}

/// State while pictures with a verdict are decoded again after a restart.
struct Resuming {
    last: LastDecided,
    detector: DetectorState,
    /// The last decoded picture, which is held as the detector would hold it: see
    /// [`crate::media::Picture::copied`] for why that matters.
    previous: Option<Frame>,
}

/// Audio that determines the next frame's time is read again if it is not further back
/// than this.
const MAX_AUDIO_BYTES: u64 = 1 << 20;

/// Maximum number of bytes read again after a restart. If the pictures of all random access
/// points in this range are damaged, one of them is used anyway; if there are none, any picture.
const MAX_READ_AGAIN: u64 = 64 << 20;

/// See [`Detection::places`].
const PLACES: usize = 2;

/// Maximum number of entries. A decoder cannot delay more: the pictures of older entries
/// were never decoded.
const MAX_ENTRIES: usize = 64;

impl Detection {
    /// Starts at the beginning of a recording.
    pub fn new(rule: Rule, choice: ProgramChoice) -> Self {
        Detection::with(rule, Demuxer::new(choice), Timeline::new(), Detector::new(rule))
    }

    /// Resumes at `start`; the first packet must be the one at `start.demux.from`.
    pub fn resume(rule: Rule, choice: ProgramChoice, start: DetectionStart) -> Self {
        let mut detection = Detection::with(
            rule,
            Demuxer::resume(choice, &start.demux),
            Timeline::resume(start.clock.clone()),
            Detector::new(rule),
        );
        detection.reopen = Some(Reopen {
            settings: start.decoder.clone(),
            times: start.times,
            at: start.demux.at,
            keyframe_at: start.keyframe_at,
            is_damaged: start.is_damaged,
        });
        detection.noted = start.demux.at;
        detection.parameter_sets = start.decoder.parameter_sets.clone();
        detection.size = start.decoder.size;
        detection.delay = start.delay;
        detection.final_through = start.final_through;
        detection.last = Some(start.last);
        let random_access = RandomAccess::None;
        detection.places.push_back(Place {
            entry: Entry { demux: start.demux, clock: start.clock, random_access },
            decoder: start.decoder,
            times: start.times,
            keyframe_at: start.keyframe_at,
            is_damaged: start.is_damaged,
        });
        detection.resuming =
            Some(Resuming { last: start.last, detector: start.detector, previous: None });
        detection
    }

    fn with(rule: Rule, demuxer: Demuxer, timeline: Timeline, detector: Detector) -> Self {
        Detection {
            rule,
            demuxer,
            audio: Vec::new(),
            headers: None,
            look_ahead: None,
            timeline,
            decoder: None,
            next_decoder: VecDeque::new(),
            delay: 0,
            parameter_sets: Vec::new(),
            size: None,
            reopen: None,
            resuming: None,
            detector,
            entries: VecDeque::new(),
            places: VecDeque::new(),
            settling: VecDeque::new(),
            noted: ByteOffset(0),
            max_read_again: MAX_READ_AGAIN,
            last: None,
            newest: None,
            final_through: None,
            ready: VecDeque::new(),
            no_video: None,
            damage: DamageCounts::default(),
            undecodable_before: 0,
            unusable: None,
            pictures: 0,
        }
    }

    /// Limits how many bytes are read again after a restart, if the stream allows it. The
    /// default is 64 MiB.
    #[must_use]
    pub fn read_again_at_most(mut self, bytes: u64) -> Self {
        self.max_read_again = bytes;
        self
    }

    /// Pushes the next packet.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the stream.
    pub fn push(&mut self, packet: TsPacket<'_>) -> Result<()> {
        self.demuxer.push(packet);
        self.drain_demuxer()
    }

    /// Ends the recording: all pictures get their final verdict.
    ///
    /// # Errors
    ///
    /// As [`Detection::push`].
    pub fn finish(&mut self) -> Result<()> {
        self.demuxer.finish();
        self.drain_demuxer()?;
        self.leave_look_ahead()?;
        self.timeline.finish();
        self.drain_timeline()?;
        self.finish_decoder()?;
        self.final_through = self.final_through.max(self.newest);
        Ok(())
    }

    /// Returns the next picture with its verdict, if there is one.
    pub fn pull(&mut self) -> Option<Scored> {
        self.ready.pop_front()
    }

    /// Returns where another detection can resume after the last verdict. `None` while it
    /// has to start from the beginning.
    pub fn start(&self) -> Option<DetectionStart> {
        // While pictures are decoded again, the detector's state is older than the last
        // verdict.
        let Place { entry, decoder, times, keyframe_at, is_damaged } = self.places.front()?;
        let detector = match &self.resuming {
            Some(resuming) => resuming.detector.clone(),
            None => self.detector.state(),
        };
        Some(DetectionStart {
            demux: entry.demux.clone(),
            clock: entry.clock.clone(),
            decoder: decoder.clone(),
            delay: self.delay,
            times: *times,
            last: self.last?,
            detector,
            final_through: self.final_through,
            keyframe_at: *keyframe_at,
            is_damaged: *is_damaged,
        })
    }

    /// Returns the analyzed program, once it is known.
    pub fn program(&self) -> Option<&Program> {
        self.demuxer.program()
    }

    /// Returns why there is no video to analyze, once that is known.
    pub fn no_video(&self) -> Option<&NoVideo> {
        self.no_video.as_ref()
    }

    /// Returns the damage so far.
    pub fn damage(&self) -> DamageCounts {
        let now = self.decoder.as_ref().map_or(0, Decoder::undecodable);
        DamageCounts { undecodable: self.undecodable_before + now, ..self.damage }
    }

    /// Returns why the first decoded picture that cannot be used was skipped.
    pub fn unusable(&self) -> Option<&Error> {
        self.unusable.as_ref()
    }

    /// As [`Detection::unusable`]; returns it once.
    pub fn take_unusable(&mut self) -> Option<Error> {
        self.unusable.take()
    }

    /// Returns the number of pictures with a verdict from this detection.
    pub fn pictures(&self) -> u64 {
        self.pictures
    }

    fn drain_demuxer(&mut self) -> Result<()> {
        while let Some(event) = self.demuxer.pull() {
            match event {
                Event::Program(program) => {
                    self.no_video = None;
                    self.timeline.expect_audio(&program.audio);
                }
                Event::Audio(pes) => self.take_audio(&pes),
                Event::PesComplete => self.pass(Demuxed::PesComplete),
                Event::AccessUnit(unit) => self.take_unit(unit)?,
                Event::NoVideo(why) => self.no_video = Some(why),
                Event::Damage(Damage::Discontinuity(_)) => self.damage.discontinuities += 1,
                Event::Damage(Damage::TransportError(_)) => self.damage.transport_errors += 1,
                Event::Damage(Damage::Scrambled(at)) => {
                    self.damage.scrambled += 1;
                    self.damage.first_scrambled.get_or_insert(at);
                }
            }
        }
        self.drain_timeline()
    }

    fn take_audio(&mut self, pes: &AudioPes) {
        let index = match self.audio.iter().position(|framer| framer.stream() == pes.stream) {
            Some(index) => index,
            None => {
                self.audio.push(AudioFramer::new(pes.stream));
                self.audio.len() - 1
            }
        };
        let mut frames = Vec::new();
        self.audio[index].push(pes.at, pes.pts, &pes.data, |frame| frames.push(frame));
        frames.into_iter().for_each(|frame| self.pass(Demuxed::Audio(frame)));
    }

    fn take_unit(&mut self, unit: AccessUnit) -> Result<()> {
        self.newest = Some(unit.at);
        if self.headers.as_ref().is_none_or(|headers| headers.codec() != unit.codec) {
            self.change_codec(unit.codec)?;
        }
        let mut timing =
            self.headers.as_mut().map(|headers| headers.read(&unit.data)).unwrap_or_default();
        if matches!(unit.codec, VideoCodec::H264 | VideoCodec::Hevc) {
            timing.delay = self.delay;
        }
        if let Some(look_ahead) = &mut self.look_ahead {
            look_ahead.look(&unit, &mut timing);
        }
        self.pass(Demuxed::Unit(unit, timing));
        if self.look_ahead.as_ref().is_some_and(LookAhead::is_done) {
            self.leave_look_ahead()?;
        }
        Ok(())
    }

    /// Passes data to the timeline, or holds it during the look-ahead.
    fn pass(&mut self, demuxed: Demuxed) {
        if let Some(look_ahead) = &mut self.look_ahead {
            look_ahead.hold(demuxed);
            return;
        }
        match demuxed {
            Demuxed::Unit(unit, timing) => self.timeline.video(unit, timing),
            Demuxed::Audio(frame) => self.timeline.audio(frame),
            Demuxed::PesComplete => self.timeline.pes_complete(),
        }
    }

    /// Handles the first access unit of a stream, or the first one with another codec.
    fn change_codec(&mut self, codec: VideoCodec) -> Result<()> {
        self.leave_look_ahead()?;
        let known = self.reopen.as_ref().map_or(&[][..], |reopen| &reopen.settings.parameter_sets);
        self.headers = HeaderReader::new(codec, known);
        if let Some(Reopen { settings, times, at, keyframe_at, is_damaged }) = self.reopen.take() {
            let mut decoder = Decoder::open(codec, &settings, times)?;
            decoder.start_at(at, keyframe_at);
            if is_damaged {
                decoder.show_damaged();
            }
            self.next_decoder.push_back(decoder);
        } else {
            self.delay = 0;
            self.look_ahead = Some(LookAhead::new(codec)?);
        }
        Ok(())
    }

    /// Opens a decoder with the results of the look-ahead, and passes on what was held.
    fn leave_look_ahead(&mut self) -> Result<()> {
        let Some(look_ahead) = self.look_ahead.take() else { return Ok(()) };
        let (codec, settings, held) = look_ahead.finish();
        let decoder = Decoder::open(codec, &settings, BestEffort::default())?;
        self.delay = decoder.reorder();
        self.parameter_sets = settings.parameter_sets;
        self.size = settings.size;
        self.next_decoder.push_back(decoder);
        for demuxed in held.release(&mut self.timeline, self.delay) {
            self.pass(demuxed);
        }
        Ok(())
    }

    fn drain_timeline(&mut self) -> Result<()> {
        while let Some(timed) = self.timeline.pull() {
            self.note_entry(&timed);
            self.decode(&timed.unit)?;
        }
        Ok(())
    }

    /// Notes a random access point, and the very first access unit, before which there is
    /// nothing.
    fn note_entry(&mut self, timed: &TimedUnit) {
        let TimedUnit { unit, raw, before } = timed;
        let first = self.places.is_empty() && self.entries.is_empty();
        // A restart uses the older of the places, so each gets its share of the limit.
        let stretch = self.max_read_again / PLACES as u64;
        let is_late = unit.at.0.saturating_sub(self.noted.0) >= stretch;
        if unit.random_access == RandomAccess::None && !first && !is_late {
            return;
        }
        self.noted = unit.at;
        let Some(program) = self.demuxer.program().cloned() else { return };
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
        }
        let audio = before.audio.iter().map(|audio| audio.through);
        let near = audio.filter(|from| unit.at.0.saturating_sub(from.0) <= MAX_AUDIO_BYTES);
        let demux = DemuxStart {
            from: near.min().map_or(unit.at, |from| from.min(unit.at)),
            at: unit.at,
            program,
            framer: FramerStart { skip_bytes: unit.skip_bytes, pts: raw.pts, dts: raw.dts },
        };
        let random_access = unit.random_access;
        self.entries.push_back(Entry { demux, clock: before.clone(), random_access });
    }

    fn decode(&mut self, unit: &AccessUnit) -> Result<()> {
        if self.decoder.as_ref().is_none_or(|decoder| decoder.codec() != unit.codec)
            && let Some(next) = self.next_decoder.pop_front()
        {
            self.finish_decoder()?;
            self.decoder = Some(next);
        }
        if let Some(decoder) = &mut self.decoder {
            decoder.push(unit);
        }
        self.drain_decoder()
    }

    fn finish_decoder(&mut self) -> Result<()> {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish(self.timeline.after_end());
        }
        self.drain_decoder()?;
        if let Some(decoder) = self.decoder.take() {
            self.undecodable_before += decoder.undecodable();
        }
        Ok(())
    }

    fn drain_decoder(&mut self) -> Result<()> {
        while let Some(decoded) = self.decoder.as_mut().and_then(Decoder::pull) {
            self.take(decoded)?;
        }
        if self.unusable.is_none() {
            self.unusable = self.decoder.as_mut().and_then(Decoder::take_unusable);
        }
        Ok(())
    }

    fn take(&mut self, decoded: Decoded) -> Result<()> {
        let PictureFormat { width, height, .. } = decoded.frame.picture.format();
        self.size = self.size.filter(|size| *size == (width, height));
        self.note_decoded(&decoded);
        if let Some(resuming) = &mut self.resuming {
            if decoded.frame.at == resuming.last.at {
                self.detector = Detector::resume(self.rule, &resuming.detector, &decoded.frame);
                self.resuming = None;
            } else {
                resuming.previous = Some(decoded.frame);
            }
            return Ok(());
        }
        if self.final_through.is_some_and(|through| decoded.frame.at <= through) {
            return Ok(());
        }
        let verdict = self.detector.push(&decoded.frame);
        self.last = Some(LastDecided { at: verdict.at, pts: verdict.pts });
        self.pictures += 1;
        let kept = match verdict.kept {
            Some(_) => Some(Frame { picture: decoded.frame.picture.copied()?, ..decoded.frame }),
            None => None,
        };
        self.ready.push_back(Scored { verdict, kept });
        Ok(())
    }

    /// A random access point whose picture has a verdict is a place to start.
    fn note_decoded(&mut self, decoded: &Decoded) {
        self.settle();
        let at = decoded.frame.at;
        let Some(index) = self.entries.iter().position(|entry| entry.demux.at == at) else {
            return;
        };
        let reorder = self.decoder.as_ref().map_or(0, Decoder::reorder);
        let Some(entry) = self.entries.drain(..=index).next_back() else { return };
        let far = self
            .places
            .front()
            .is_none_or(|first| at.0.saturating_sub(first.entry.demux.at.0) > self.max_read_again);
        let is_known = self.places.back().is_some_and(|last| last.entry.demux.at == at);
        if is_known || (decoded.frame.damaged && !far) {
            return;
        }
        let random_access = entry.random_access;
        let place = Place {
            // The very first access unit is decoded as it was the first time.
            is_damaged: !self.places.is_empty() && random_access < RandomAccess::Open,
            entry,
            decoder: Settings {
                reorder,
                parameter_sets: self.parameter_sets.clone(),
                size: self.size,
            },
            times: decoded.times,
            keyframe_at: decoded.frame.keyframe_at,
        };
        match random_access {
            RandomAccess::Gradual(pictures) => self.settling.push_back((place, pictures)),
            _ => self.add_place(place),
        }
    }

    /// Counts one more picture after random access points with intra refresh.
    fn settle(&mut self) {
        self.settling.iter_mut().for_each(|(_, left)| *left = left.saturating_sub(1));
        while self.settling.front().is_some_and(|(_, left)| *left == 0) {
            if let Some((place, _)) = self.settling.pop_front() {
                self.add_place(place);
            }
        }
    }

    fn add_place(&mut self, place: Place) {
        let at = place.entry.demux.at;
        if self.places.back().is_some_and(|last| last.entry.demux.at >= at) {
            return;
        }
        if self.places.len() == PLACES {
            self.places.pop_front();
        }
        self.places.push_back(place);
    }
}
