//! The decoder of the stream, and the next one where the stream changes its codec.

use std::collections::VecDeque;

use super::RestartPoint;
use crate::decode::{BestEffort, Decoded, Decoder, Settings};
use crate::error::{Error, Result};
use crate::media::{AccessUnit, PictureFormat, Ticks, VideoCodec};

/// Opens decoders, and gives each access unit to the one that it belongs to.
#[derive(Debug, Default)]
pub struct Decoders {
    current: Option<Decoder>,
    /// Decoders for what comes next, while the timeline holds pictures of the codec before.
    next: VecDeque<Decoder>,
    /// Where the first decoder resumes, until it is opened.
    resume: Option<RestartPoint>,
    /// Pictures by which the stream's first decoder delayed its output: libavformat goes on
    /// believing that.
    delay: u32,
    /// What the current decoder was opened with. The size is dropped once a picture has another.
    opened_with: Settings,
    /// Access units that earlier decoders could not decode.
    undecodable: u64,
    unusable: Option<Error>,
}

impl Decoders {
    /// Decoders of which the first resumes at `point`.
    pub fn resume(point: RestartPoint) -> Self {
        Decoders {
            delay: point.decoder.delay,
            opened_with: point.decoder.settings(),
            resume: Some(point),
            ..Decoders::default()
        }
    }

    /// Parameter sets that are known before the first access unit is read.
    pub fn known_parameter_sets(&self) -> &[u8] {
        self.resume.as_ref().map_or(&[], |_| &self.opened_with.parameter_sets)
    }

    /// Opens the first decoder after a restart. Returns false if none is to be resumed.
    ///
    /// # Errors
    ///
    /// If the linked FFmpeg has no decoder for the codec.
    pub fn open_resumed(&mut self, codec: VideoCodec) -> Result<bool> {
        let Some(point) = self.resume.take() else { return Ok(false) };
        let mut decoder = Decoder::open(codec, &point.decoder.settings(), point.decoder.times)?;
        decoder.start_at(point.read_from.offset, point.read_from.keyframe_offset);
        if point.read_from.damaged {
            decoder.show_damaged();
        }
        self.next.push_back(decoder);
        Ok(true)
    }

    /// Opens the decoder for a stream that begins, and returns its delay in pictures.
    ///
    /// # Errors
    ///
    /// If the linked FFmpeg has no decoder for the codec.
    pub fn open(&mut self, codec: VideoCodec, settings: Settings) -> Result<u32> {
        let decoder = Decoder::open(codec, &settings, BestEffort::default())?;
        self.delay = decoder.reorder();
        self.opened_with = settings;
        self.next.push_back(decoder);
        Ok(self.delay)
    }

    /// See [`Decoders::delay`]'s field: 0 again where another stream begins.
    pub fn reset_delay(&mut self) {
        self.delay = 0;
    }

    /// Pictures by which the stream's first decoder delayed its output.
    pub fn delay(&self) -> u32 {
        self.delay
    }

    /// Decodes an access unit, with the next decoder if it is coded otherwise than the one before.
    /// Pictures that this decoder still holds are lost unless [`Decoders::is_next`] was asked.
    pub fn push(&mut self, unit: &AccessUnit) {
        if let Some(decoder) = &mut self.current {
            decoder.push(unit);
        }
    }

    /// Whether `unit` is the first for the next decoder: the current one has to be finished.
    pub fn is_next(&self, unit: &AccessUnit) -> bool {
        !self.next.is_empty()
            && self.current.as_ref().is_none_or(|decoder| decoder.codec() != unit.codec)
    }

    /// Replaces the current decoder, whose pictures have all come out.
    pub fn advance(&mut self) {
        self.retire();
        self.current = self.next.pop_front();
    }

    /// No more comes for the current decoder: the pictures that it holds come out. One without a
    /// time of its own takes one of `times`.
    pub fn finish(&mut self, times: impl Iterator<Item = Option<Ticks>>) {
        if let Some(decoder) = &mut self.current {
            decoder.finish(times);
        }
    }

    /// Closes the current decoder.
    pub fn retire(&mut self) {
        if let Some(decoder) = self.current.take() {
            self.undecodable += decoder.undecodable();
        }
    }

    /// Returns the next picture in presentation order, if there is one.
    pub fn pull(&mut self) -> Option<Decoded> {
        let decoded = self.current.as_mut().and_then(Decoder::pull);
        match &decoded {
            Some(decoded) => {
                let PictureFormat { width, height, .. } = decoded.frame.picture.format();
                let size = &mut self.opened_with.size;
                *size = size.filter(|size| *size == (width, height));
            }
            None => {
                if self.unusable.is_none() {
                    self.unusable = self.current.as_mut().and_then(Decoder::take_unusable);
                }
            }
        }
        decoded
    }

    /// How the current decoder could be opened again, to resume at a picture that came out of it.
    pub fn settings(&self) -> Settings {
        let reorder = self.current.as_ref().map_or(0, Decoder::reorder);
        Settings { reorder, ..self.opened_with.clone() }
    }

    /// Access units and pictures that did not decode, so far.
    pub fn undecodable(&self) -> u64 {
        self.undecodable + self.current.as_ref().map_or(0, Decoder::undecodable)
    }

    /// Why the first picture that was decoded but could not be used was skipped.
    pub fn unusable(&self) -> Option<&Error> {
        self.unusable.as_ref()
    }

    /// As [`Decoders::unusable`]; returns it once.
    pub fn take_unusable(&mut self) -> Option<Error> {
        self.unusable.take()
    }
}
