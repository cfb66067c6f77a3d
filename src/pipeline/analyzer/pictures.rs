//! Packets from the beginning of a recording, or from a random access point on → pictures with the
//! times of the recording. Nothing is scored.

use std::collections::VecDeque;

use super::decoders::Decoders;
use super::keyframes::KeyframeCollector;
use super::timer::UnitTimer;
use super::units::{UnitEvent, UnitReader};
use crate::decode::{Decoded, Shown};
use crate::demux::{NoVideo, ProgramChoice};
use crate::error::{Error, Result};
use crate::keyframes::Keyframe;
use crate::media::{ByteOffset, Frame, RandomAccess, Ticks};
use crate::tail::{FileTail, Next};
use crate::timeline::TimedUnit;
use crate::ts::TsPacket;

/// Position and time of an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitTime {
    /// Offset of the TS packet in which it starts.
    pub at: ByteOffset,
    /// Presentation time from the start of the recording; `None` if the access unit has no PTS.
    pub time: Option<Ticks>,
    /// Presentation time on the stream's 33-bit clock, if its PES packet gives one.
    pub raw: Option<Ticks>,
}

/// demux → framing → timeline → decode, from any random access point on.
///
/// The clock that the analyzer had at that point is not stored. The reader derives it from the recorded
/// time of the random access point.
pub struct PictureReader {
    reader: UnitReader,
    timer: UnitTimer,
    decoders: Decoders,
    keyframes: KeyframeCollector,
    /// Whether pictures are decoded.
    decodes: bool,
    start: StartState,
    units: VecDeque<UnitTime>,
    pictures: VecDeque<Frame>,
    no_video: Option<NoVideo>,
    /// Whether packets are missing, or pictures are damaged.
    is_damaged: bool,
}

/// Where the reader starts.
#[derive(Debug, Clone, Copy)]
enum StartState {
    /// Earlier access units are skipped. The random access point has not come yet.
    Before(Keyframe),
    /// The random access point is being decoded. The second value is added to the time of an access unit
    /// to get the time in the recording; the third counts the pictures decoded before it.
    Decoding(Keyframe, i64, u32),
    /// Offsets from the stream's times to the recording's: for access units, and for pictures.
    Reached(i64, i64),
    /// The recording has no random access point at that offset, or its picture is not decoded.
    Missed,
}

/// Maximum number of pictures decoded before that of the random access point. Beyond that, it never
/// comes: no decoder reorders by more than 16 pictures.
const MAX_EARLIER_PICTURES: u32 = 128;

impl PictureReader {
    /// Returns a reader at the beginning of a recording, or one that starts at `keyframe`. In the latter
    /// case, the first packet must be the one with the tables.
    pub fn new(choice: ProgramChoice, keyframe: Option<Keyframe>) -> Self {
        PictureReader {
            reader: UnitReader::new(choice),
            timer: UnitTimer::new(),
            decoders: Decoders::default(),
            keyframes: KeyframeCollector::default(),
            decodes: true,
            start: keyframe.map_or(StartState::Reached(0, 0), StartState::Before),
            units: VecDeque::new(),
            pictures: VecDeque::new(),
            no_video: None,
            is_damaged: false,
        }
    }

    /// Disables decoding: the reader then returns access units, but no pictures.
    #[must_use]
    pub fn without_decoding(mut self) -> Self {
        self.decodes = false;
        self
    }

    /// Reads the next packet of a recording. At the end, releases all remaining pictures; if the
    /// recording `is_growing`, only those that do not depend on more data. Returns whether the end was
    /// reached.
    ///
    /// # Errors
    ///
    /// Returns an error if the recording cannot be read, or if the linked FFmpeg has no decoder for the
    /// stream.
    pub fn read(&mut self, tail: &mut FileTail, is_growing: bool) -> Result<bool> {
        match tail.next_packet()? {
            Next::Packet(packet) => self.push(packet).map(|()| false),
            Next::SyncLost { .. } | Next::Waiting => Ok(false),
            Next::End if is_growing => self.pause().map(|()| true),
            Next::End => self.finish().map(|()| true),
        }
    }

    /// Pushes the next packet.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the stream.
    fn push(&mut self, packet: TsPacket<'_>) -> Result<()> {
        self.keyframes.packet_passed(packet);
        self.reader.push(packet);
        self.drain_reader()
    }

    /// Ends the recording: releases all remaining pictures.
    ///
    /// # Errors
    ///
    /// As [`PictureReader::push`].
    fn finish(&mut self) -> Result<()> {
        self.reader.finish();
        self.drain_reader()?;
        self.pause()?;
        self.decoders.finish(self.timer.after_end());
        self.drain_decoders();
        Ok(())
    }

    /// Ends the available part of a growing recording. Omits the last access unit, which is incomplete,
    /// and the pictures in the decoder, because an earlier one may still follow.
    ///
    /// # Errors
    ///
    /// As [`PictureReader::push`].
    fn pause(&mut self) -> Result<()> {
        self.timer.finish(&mut self.decoders)?;
        self.drain_timer();
        Ok(())
    }

    /// Returns the next access unit in the order of the stream, if there is one.
    pub fn pull_unit(&mut self) -> Option<UnitTime> {
        self.units.pop_front()
    }

    /// Returns the next picture in presentation order, if there is one.
    pub fn pull(&mut self) -> Option<Frame> {
        self.pictures.pop_front()
    }

    /// Returns the random access points that were found since the last call.
    pub fn take_keyframes(&mut self) -> Vec<Keyframe> {
        let mut found = self.keyframes.take();
        if let StartState::Reached(_, shift) = self.start {
            found.iter_mut().for_each(|keyframe| keyframe.time.0 += shift);
        }
        found
    }

    /// Returns whether pictures may be shown at other times than their access units state. If so, random
    /// access points have their right times only if pictures are decoded.
    pub fn goes_back(&self) -> bool {
        self.keyframes.goes_back()
    }

    /// Returns whether the recording has no random access point at the offset, or its picture is not
    /// decoded.
    /// If so, the reader returns no pictures.
    pub fn has_missed_start(&self) -> bool {
        matches!(self.start, StartState::Missed)
    }

    /// Returns whether anything was damaged so far. How FFmpeg conceals damage also depends on the
    /// pictures decoded before.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged || self.decoders.undecodable() > 0
    }

    /// Returns the reason why the stream has no video, once that is known.
    pub fn no_video(&self) -> Option<&NoVideo> {
        self.no_video.as_ref()
    }

    /// Returns, once, why the first decoded but unusable picture was skipped.
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
                    let is_early =
                        matches!(self.start, StartState::Before(keyframe) if unit.at < keyframe.at);
                    if !is_early {
                        self.timer.unit(unit, &mut self.decoders)?;
                    }
                }
                UnitEvent::NoVideo(why) => self.no_video = Some(why),
                UnitEvent::Fault(_) => self.is_damaged = true,
            }
        }
        self.drain_timer();
        Ok(())
    }

    fn drain_timer(&mut self) {
        while let Some(timed) = self.timer.pull() {
            self.take_unit(&timed);
        }
    }

    fn take_unit(&mut self, timed: &TimedUnit) {
        let unit = &timed.unit;
        if let StartState::Before(keyframe) = self.start {
            let is_it = unit.at == keyframe.at && unit.random_access != RandomAccess::None;
            self.start = match unit.pts.map(|time| keyframe.time.0 - time.0) {
                Some(shift) if is_it && self.decodes => StartState::Decoding(keyframe, shift, 0),
                Some(shift) if is_it => StartState::Reached(shift, shift),
                _ => StartState::Missed,
            };
        }
        let (StartState::Reached(shift, _) | StartState::Decoding(_, shift, _)) = self.start else {
            return;
        };
        self.keyframes.unit_passed(timed, self.decodes);
        let time = unit.pts.map(|time| Ticks(time.0 + shift));
        self.units.push_back(UnitTime { at: unit.at, time, raw: timed.raw.pts });
        if !self.decodes {
            return;
        }
        if self.decoders.is_next(unit) {
            self.decoders.finish(self.timer.after_end());
            self.drain_decoders();
            self.decoders.advance();
        }
        self.decoders.push(unit);
        self.drain_decoders();
    }

    fn drain_decoders(&mut self) {
        while let Some(Decoded { shown, picture }) = self.decoders.pull() {
            let Shown { at, pts, keyframe_at, damaged, .. } = shown;
            self.start = match self.start {
                StartState::Decoding(keyframe, of_units, _) if at == keyframe.at => {
                    StartState::Reached(of_units, keyframe.time.0 - pts.0)
                }
                StartState::Decoding(.., MAX_EARLIER_PICTURES) => StartState::Missed,
                StartState::Decoding(keyframe, shift, earlier) => {
                    StartState::Decoding(keyframe, shift, earlier + 1)
                }
                start => start,
            };
            let StartState::Reached(_, shift) = self.start else { continue };
            self.keyframes.picture_decoded(at, pts);
            self.is_damaged |= damaged;
            let pts = Ticks(pts.0 + shift);
            self.pictures.push_back(Frame { at, pts, keyframe_at, damaged, picture });
        }
    }
}
