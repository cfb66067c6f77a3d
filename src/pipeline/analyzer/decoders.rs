//! The decoder of the stream, and the next one if the stream changes its codec.

use std::collections::VecDeque;

use super::RestartPoint;
use crate::decode::{
    BestEffort, Decoded, Decoder, Origin, Placed, RawDecoder, Settings, Shown, TimeChooser,
};
use crate::error::{Error, Result};
use crate::media::{AccessUnit, PictureFormat, Ticks, VideoCodec};

/// Opens decoders, and passes each access unit to the decoder of its codec.
#[derive(Debug, Default)]
pub struct Decoders {
    current: Option<Decoder>,
    /// Decoders of later pictures, while the timeline still holds pictures of the previous codec.
    next: VecDeque<Decoder>,
    /// Restart point of the first decoder, until that decoder is opened.
    resume: Option<RestartPoint>,
    /// Output delay of the stream's first decoder, in pictures: libavformat keeps this value.
    delay: u32,
    /// Settings of the decoder opened last. The size is dropped once a picture has another size.
    opened_with: Settings,
    /// Set while pieces are decoded in place of the current decoder.
    suspended: Option<Suspended>,
    /// Access units that earlier decoders could not decode.
    undecodable: u64,
    unusable: Option<Error>,
}

/// State of a decoder that is lent to the pieces of its stream.
#[derive(Debug)]
struct Suspended {
    codec: VideoCodec,
    chooser: TimeChooser,
    /// Settings with which the decoder was opened, with its current output delay.
    settings: Settings,
}

impl Decoders {
    /// Returns decoders, the first of which resumes at `point`.
    pub fn resume(point: RestartPoint) -> Self {
        Decoders {
            delay: point.decoder.delay,
            opened_with: point.decoder.settings(),
            resume: Some(point),
            ..Decoders::default()
        }
    }

    /// Returns the parameter sets that are known before the first access unit is read.
    pub fn known_parameter_sets(&self) -> &[u8] {
        self.resume.as_ref().map_or(&[], |_| &self.opened_with.parameter_sets)
    }

    /// Opens the first decoder after a restart. Returns false if there is no decoder to resume.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
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

    /// Opens the decoder of a new stream. Returns its output delay in pictures.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn open(&mut self, codec: VideoCodec, settings: Settings) -> Result<u32> {
        let decoder = Decoder::open(codec, &settings, BestEffort::default())?;
        self.delay = decoder.reorder();
        self.opened_with = settings;
        self.next.push_back(decoder);
        Ok(self.delay)
    }

    /// Sets [`Decoders::delay`] to 0, because another stream begins.
    pub fn reset_delay(&mut self) {
        self.delay = 0;
    }

    /// Returns the output delay of the stream's first decoder, in pictures.
    pub fn delay(&self) -> u32 {
        self.delay
    }

    /// Passes an access unit to the current decoder. If [`Decoders::is_next`] returns true, the
    /// caller must finish the current decoder and call [`Decoders::advance`] first.
    pub fn push(&mut self, unit: &AccessUnit) {
        if let Some(decoder) = &mut self.current {
            decoder.push(unit);
        }
    }

    /// Returns whether `unit` is the first for the next decoder.
    pub fn is_next(&self, unit: &AccessUnit) -> bool {
        !self.next.is_empty() && self.codec().is_none_or(|codec| codec != unit.codec)
    }

    fn codec(&self) -> Option<VideoCodec> {
        let suspended = self.suspended.as_ref().map(|suspended| suspended.codec);
        self.current.as_ref().map(Decoder::codec).or(suspended)
    }

    /// Returns whether the current decoder has not decoded anything; `None` if no decoder is open.
    pub fn is_new(&self) -> Option<bool> {
        self.current.as_ref().map(Decoder::is_new)
    }

    /// Hands over the current decoder for pieces. All of its pictures must have been pulled.
    pub fn suspend(&mut self) -> Option<RawDecoder> {
        let decoder = self.current.take()?;
        let (raw, chooser, left_out) = decoder.into_parts();
        self.undecodable += left_out;
        let settings = Settings { reorder: raw.reorder(), ..self.opened_with.clone() };
        self.suspended = Some(Suspended { codec: raw.codec(), chooser, settings });
        Some(raw)
    }

    /// Continues with the decoder `raw`. `undecodable` is the number of access units and pictures
    /// that other decoders could not decode.
    pub fn resume_with(&mut self, raw: RawDecoder, undecodable: u64) {
        self.undecodable += undecodable;
        let Some(Suspended { chooser, settings, .. }) = self.suspended.take() else { return };
        // If another decoder is waiting, `opened_with` already describes that one.
        if self.next.is_empty() {
            self.opened_with.size = settings.size;
        }
        self.current = Some(Decoder::new(raw, chooser));
    }

    /// Chooses the time of a picture of a piece. Returns `None` if the picture is not shown.
    pub fn place(&mut self, origin: &Origin, size: Result<(u32, u32)>) -> Option<Shown> {
        let suspended = self.suspended.as_mut()?;
        suspended.settings.reorder = origin.reorder;
        let shown = match suspended.chooser.place(origin, None) {
            Placed::Shown(shown) => shown,
            Placed::Skipped => return None,
            Placed::Untimed => {
                self.undecodable += 1;
                return None;
            }
        };
        match size {
            Ok(size) => {
                drop_other_size(&mut suspended.settings.size, size);
                Some(shown)
            }
            Err(error) => {
                self.undecodable += 1;
                self.unusable.get_or_insert(error);
                None
            }
        }
    }

    /// Replaces the current decoder by the next one. All pictures of the current decoder must have
    /// been pulled.
    pub fn advance(&mut self) {
        self.retire();
        self.current = self.next.pop_front();
    }

    /// Ends the input of the current decoder, which then returns the pictures that it still holds.
    /// A picture without a time of its own gets the next of `times`.
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
                let PictureFormat { width, height, .. } = decoded.picture.format();
                drop_other_size(&mut self.opened_with.size, (width, height));
            }
            None => {
                if self.unusable.is_none() {
                    self.unusable = self.current.as_mut().and_then(Decoder::take_unusable);
                }
            }
        }
        decoded
    }

    /// Returns the settings with which another decoder could resume at a picture that the current
    /// decoder has returned.
    pub fn settings(&self) -> Settings {
        if let Some(suspended) = &self.suspended {
            return suspended.settings.clone();
        }
        let reorder = self.current.as_ref().map_or(0, Decoder::reorder);
        Settings { reorder, ..self.opened_with.clone() }
    }

    /// Returns the number of access units and pictures that could not be decoded so far.
    pub fn undecodable(&self) -> u64 {
        self.undecodable + self.current.as_ref().map_or(0, Decoder::undecodable)
    }

    /// Returns why the first decoded but unusable picture was skipped.
    pub fn unusable(&self) -> Option<&Error> {
        self.unusable.as_ref()
    }

    /// Returns the same as [`Decoders::unusable`], but only once.
    pub fn take_unusable(&mut self) -> Option<Error> {
        self.unusable.take()
    }
}

/// Drops the size of a stream once a picture has another one.
fn drop_other_size(size: &mut Option<(u32, u32)>, picture: (u32, u32)) {
    *size = size.filter(|size| *size == picture);
}
