//! The analyzer: packets of one recording in, scored pictures out. It opens no files, starts threads
//! only to decode a backlog, and reads the clock only to measure how long that took.
//!
//! Live detection and `scan` both run it; the same packets give the same verdicts.
//! [`Analyzer::restart_point`] returns at any time the offset and the state from which another
//! analyzer can resume.
//!
//! ```text
//! packets ─▶ units ─▶ timer ─▶ decoders ─▶ detect (score, rule) ─▶ Scored
//!              │        │         │
//!              │        └ look_ahead: a stream's first pictures, held back
//!              └────────┴─────────┴──▶ restart: where another analyzer can resume
//!
//! cut_points  where the stream may be cut into pieces that are decoded apart
//! keyframes   collects random access points for the index of key frames
//! drive       the loop: a file's packets into an analyzer, its verdicts into an outlet
//! pictures    pictures from any random access point on, without verdicts
//! parallel    when a backlog is decoded on all cores, and when one picture after the other
//! pieces      decodes a backlog on all cores
//! stream_log  logs what the stream contains, and its damage
//! ```

mod cut_points;
mod decoders;
mod drive;
mod keyframes;
mod look_ahead;
mod parallel;
mod pictures;
mod pieces;
mod restart;
mod stream_log;
mod timer;
pub mod units;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

pub use drive::{Ended, Outlet, PacketRead, drive};
pub use pictures::{PictureReader, UnitTime};
pub use restart::RestartPoint;
pub use stream_log::StreamLog;

use crate::decode::{Decoded, Shown};
use crate::demux::{NoVideo, Program, ProgramChoice, StreamFault};
use crate::detect::{Comparer, Detector, DetectorState, Rule};
use crate::error::{Error, Kind, Result, Stage};
use crate::keyframes::Keyframe;
use crate::media::{ByteOffset, Damage, Frame, Picture, Ticks, Verdict};
use crate::timeline::TimedUnit;
use crate::ts::TsPacket;
use decoders::Decoders;
use keyframes::KeyframeCollector;
use parallel::Parallel;
use restart::{DecidedPicture, RestartPoints};
use timer::UnitTimer;
use units::{UnitEvent, UnitReader};

/// The result for one picture.
pub struct Scored {
    /// Score of the picture, and whether it is kept.
    pub verdict: Verdict,
    /// The picture, if it is kept, copied out of the decoder's buffers.
    pub kept: Option<Frame>,
    /// Time at which the picture came out of the decoder. Only for measurements.
    pub decoded: Instant,
}

/// demux → framing → timeline → decode → detect. Runs in one thread, except that a backlog is decoded
/// by up to the number of threads passed to [`Analyzer::with_jobs`].
pub struct Analyzer {
    rule: Rule,
    reader: UnitReader,
    timer: UnitTimer,
    decoders: Decoders,
    comparer: Comparer,
    detector: Detector,
    restart: RestartPoints,
    keyframes: KeyframeCollector,
    resuming: Option<Resuming>,
    parallel: Parallel,
    /// Offset and time of the last picture that has a verdict.
    last: Option<(ByteOffset, Ticks)>,
    /// Offset of the last access unit.
    newest: Option<ByteOffset>,
    /// See [`restart::DecidedPicture::final_through`].
    final_through: Option<ByteOffset>,
    ready: VecDeque<Scored>,
    no_video: Option<NoVideo>,
    damage: Damage,
    first_scrambled: Option<ByteOffset>,
}

/// State after a restart, while pictures that already have a verdict are decoded again.
struct Resuming {
    /// Offset of the last picture that has a verdict.
    last: ByteOffset,
    detector: DetectorState,
    /// Number of decoded pictures that start later in the stream than `last`.
    later: u32,
    /// The previous picture. It is kept here because the detector would retain its buffer: see
    /// [`crate::media::Picture::copied`] for why that matters.
    previous: Option<Arc<dyn Picture>>,
}

/// Maximum number of pictures that start later than the last decided one and are decoded before it.
/// Beyond that, it never comes: no decoder reorders by more than 16 pictures.
const MAX_LATER_PICTURES: u32 = 128;

/// Returns the error for a restart point whose last decided picture is not decoded again.
fn never_decoded(last: ByteOffset) -> Error {
    let what = "the last picture before the restart was not decoded again";
    Error::new(Stage::Decode, what).of_kind(Kind::Corrupt).at(last)
}

impl Analyzer {
    /// Returns an analyzer at the beginning of a recording.
    pub fn new(rule: Rule, choice: ProgramChoice) -> Self {
        Analyzer {
            rule,
            reader: UnitReader::new(choice),
            timer: UnitTimer::new(),
            decoders: Decoders::default(),
            comparer: Comparer::default(),
            detector: Detector::new(rule),
            restart: RestartPoints::new(),
            keyframes: KeyframeCollector::default(),
            resuming: None,
            parallel: Parallel::default(),
            last: None,
            newest: None,
            final_through: None,
            ready: VecDeque::new(),
            no_video: None,
            damage: Damage::default(),
            first_scrambled: None,
        }
    }

    /// Returns an analyzer that resumes at `point`. Its first packet must be the one at
    /// `point.read_from.audio_offset`.
    pub fn resume(rule: Rule, choice: ProgramChoice, point: RestartPoint) -> Self {
        let (from, decided) = (&point.read_from, &point.decided);
        let mut parallel = Parallel::default();
        if from.damaged {
            parallel.cut_points.damaged(from.offset);
        }
        Analyzer {
            reader: UnitReader::resume(choice, point.program.clone(), from.offset, from.framer),
            timer: UnitTimer::resume(point.clock.clone(), point.decoder.first_delays.clone()),
            restart: RestartPoints::resume(&point),
            resuming: Some(Resuming {
                last: decided.offset,
                detector: decided.detector.clone(),
                later: 0,
                previous: None,
            }),
            last: Some((decided.offset, decided.pts)),
            final_through: decided.final_through,
            parallel,
            decoders: Decoders::resume(point),
            ..Analyzer::new(rule, choice)
        }
    }

    /// Limits the number of bytes that are read again after a restart, if the stream allows that.
    /// The default is 64 MiB.
    #[must_use]
    pub fn read_again_at_most(mut self, bytes: u64) -> Self {
        self.restart.read_again_at_most(bytes);
        self
    }

    /// Decodes a backlog with up to `jobs` threads. The results are the same.
    #[must_use]
    pub fn with_jobs(mut self, jobs: NonZeroUsize) -> Self {
        self.parallel.allow(jobs);
        self
    }

    /// Pushes the next packet.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the stream, or memory is short; an
    /// error of [`Kind::Corrupt`] if the restart point does not fit the recording.
    pub fn push(&mut self, packet: TsPacket<'_>) -> Result<()> {
        self.restart.packet_passed(packet);
        self.keyframes.packet_passed(packet);
        self.reader.push(packet);
        self.drain_reader()
    }

    /// Ends the recording: all remaining pictures get their final verdicts.
    ///
    /// # Errors
    ///
    /// As [`Analyzer::push`].
    pub fn finish(&mut self) -> Result<()> {
        self.reader.finish();
        self.drain_reader()?;
        self.settle()?;
        self.timer.finish(&mut self.decoders)?;
        self.drain_timer()?;
        self.settle()?;
        self.finish_decoder()?;
        self.decoders.retire();
        if let Some(resuming) = &self.resuming {
            return Err(never_decoded(resuming.last));
        }
        self.final_through = self.final_through.max(self.newest);
        Ok(())
    }

    /// Returns the next picture that has a verdict, if there is one.
    pub fn pull(&mut self) -> Option<Scored> {
        self.ready.pop_front()
    }

    /// Returns the random access points that were found since the last call. After a restart, some are
    /// repeated.
    pub fn take_keyframes(&mut self) -> Vec<Keyframe> {
        self.keyframes.take()
    }

    /// Returns the point at which another analyzer can resume after the last picture that has a
    /// verdict. Returns `None` while another analyzer would have to start at the beginning.
    pub fn restart_point(&self) -> Option<RestartPoint> {
        let candidate = self.restart.oldest()?;
        let (offset, pts) = self.last?;
        // While pictures are decoded again, the detector's state is still that of the checkpoint.
        let detector = match &self.resuming {
            Some(resuming) => resuming.detector.clone(),
            None => self.detector.state(),
        };
        let final_through = self.final_through;
        let decided = DecidedPicture { offset, pts, detector, final_through };
        let first_delays = self.timer.first_delays(candidate.offset());
        Some(candidate.point(self.decoders.delay(), first_delays, decided))
    }

    /// Returns the selected program, once it is known.
    pub fn program(&self) -> Option<&Program> {
        self.reader.program()
    }

    /// Returns the reason why the stream has no video, once that is known.
    pub fn no_video(&self) -> Option<&NoVideo> {
        self.no_video.as_ref()
    }

    /// Returns the damage so far, except losses of sync, which the tail detects.
    pub fn damage(&self) -> Damage {
        Damage {
            undecodable: self.decoders.undecodable() + self.parallel.undecodable(),
            implausible: self.timer.implausible(),
            ..self.damage
        }
    }

    /// Returns the offset of the first scrambled packet of the video stream.
    pub fn first_scrambled(&self) -> Option<ByteOffset> {
        self.first_scrambled
    }

    /// Returns why the first decoded but unusable picture was skipped.
    pub fn unusable(&self) -> Option<&Error> {
        self.decoders.unusable()
    }

    /// Returns the same as [`Analyzer::unusable`], but only once.
    pub fn take_unusable(&mut self) -> Option<Error> {
        self.decoders.take_unusable()
    }

    fn drain_reader(&mut self) -> Result<()> {
        while let Some(event) = self.reader.pull() {
            match event {
                UnitEvent::Program(program) => {
                    self.no_video = None;
                    self.timer.program(&program);
                }
                UnitEvent::Audio(pes) => self.timer.audio(&pes, &mut self.decoders)?,
                UnitEvent::PesComplete => self.timer.pes_complete(&mut self.decoders)?,
                UnitEvent::AccessUnit(unit) => {
                    self.newest = Some(unit.at);
                    self.timer.unit(unit, &mut self.decoders)?;
                }
                UnitEvent::NoVideo(why) => self.no_video = Some(why),
                UnitEvent::Fault(fault) => {
                    self.count(fault);
                    self.damaged(fault.at());
                }
            }
        }
        self.drain_timer()
    }

    fn count(&mut self, fault: StreamFault) {
        match fault {
            StreamFault::Discontinuity(_) => self.damage.continuity_gaps += 1,
            StreamFault::TransportError(_) => self.damage.transport_errors += 1,
            StreamFault::Scrambled(at) => {
                self.damage.scrambled += 1;
                self.first_scrambled.get_or_insert(at);
            }
        }
    }

    fn drain_timer(&mut self) -> Result<()> {
        while !self.has_waiting()
            && let Some(timed) = self.timer.pull()
        {
            self.take_unit(timed)?;
        }
        Ok(())
    }

    fn take_unit(&mut self, timed: TimedUnit) -> Result<()> {
        self.keyframes.unit_passed(&timed, true);
        if timed.unit.damaged {
            self.damaged(timed.unit.at);
        }
        let Some(timed) = self.wait_for_end(timed) else { return Ok(()) };
        if self.decoders.is_next(&timed.unit) {
            self.finish_decoder()?;
            self.decoders.advance();
        }
        let Some(timed) = self.take_unit_in_parallel(timed)? else { return Ok(()) };
        let is_first = self.restart.is_empty();
        let program = self.reader.program_at(timed.unit.at);
        if let Some(passed) = self.restart.state_before(&timed, program, is_first) {
            self.restart.unit_passed(passed);
        }
        let undecodable = self.decoders.undecodable();
        self.decoders.push(&timed.unit);
        self.drain_decoders()?;
        if self.decoders.undecodable() > undecodable {
            self.parallel.cut_points.damaged(timed.unit.at);
        }
        Ok(())
    }

    fn finish_decoder(&mut self) -> Result<()> {
        self.decoders.finish(self.timer.after_end());
        self.drain_decoders()
    }

    fn drain_decoders(&mut self) -> Result<()> {
        while let Some(decoded) = self.decoders.pull() {
            self.decide(decoded)?;
        }
        Ok(())
    }

    fn decide(&mut self, decoded: Decoded) -> Result<()> {
        let Decoded { shown, picture } = decoded;
        let decoded = Instant::now();
        self.keyframes.picture_decoded(shown.at, shown.pts);
        self.restart.picture_decoded(&shown, || self.decoders.settings());
        if let Some(resuming) = &mut self.resuming {
            resuming.later += u32::from(shown.at > resuming.last);
            if shown.at == resuming.last {
                self.detector = Detector::resume(self.rule, &resuming.detector);
                self.comparer = Comparer::after(picture);
                self.resuming = None;
            } else if resuming.later > MAX_LATER_PICTURES {
                return Err(never_decoded(resuming.last));
            } else {
                resuming.previous = Some(picture);
            }
            return Ok(());
        }
        if self.final_through.is_some_and(|through| shown.at <= through) {
            return Ok(());
        }
        if shown.damaged {
            self.parallel.cut_points.damaged(shown.at);
        }
        let difference = self.comparer.push(&picture);
        let verdict = self.detector.decide(shown.at, shown.pts, difference);
        self.last = Some((verdict.at, verdict.pts));
        let kept = verdict.kept.map(|_| picture.copied()).transpose()?;
        self.push_scored(verdict, &shown, kept, decoded);
        Ok(())
    }

    fn push_scored(
        &mut self,
        verdict: Verdict,
        shown: &Shown,
        kept: Option<Arc<dyn Picture>>,
        decoded: Instant,
    ) {
        let Shown { at, pts, keyframe_at, damaged, .. } = *shown;
        let kept = kept.map(|picture| Frame { at, pts, keyframe_at, damaged, picture });
        self.ready.push_back(Scored { verdict, kept, decoded });
    }
}
