//! Access units → pictures in presentation order, through libavcodec.
//!
//! This folder is the only user of `ffmpeg-next`. One thread per decoder, always:
//! frame threads add a picture of delay each, and frame and slice threads conceal
//! damage differently from run to run. Options are those of the ffmpeg tool:
//! none that change pixels.

mod best_effort;
mod picture;
mod pixel_format;
mod probe;
mod raw_frame;
mod scaler;

use std::collections::VecDeque;
use std::sync::Arc;

use ffmpeg_next as ffmpeg;

pub use best_effort::BestEffort;
use picture::DecodedPicture;
pub use probe::Probe;

use crate::error::{Error, Result, Stage};
use crate::libav::{codec_id, context, log};
use crate::media::{AccessUnit, ByteOffset, Frame, RandomAccess, Ticks, VideoCodec};

/// Packets whose pictures may still come out: more than any decoder delays, and
/// enough for streams of single fields.
const MAX_PENDING: usize = 128;

/// What a decoder is given to begin with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Pictures by which it delays its output, where the stream does not say (H.264).
    pub reorder: u32,
    /// Parameter sets with their start codes, for a stream whose first pictures come
    /// before its own; may be empty.
    pub parameter_sets: Vec<u8>,
    /// Width and height that libavformat has found, for H.264: as long as pictures have
    /// that size, one that is larger by less than a macroblock is cut to it.
    pub size: Option<(u32, u32)>,
}

/// A decoder for one video stream.
///
/// Push access units, pull pictures until there are none, push on. A picture
/// finds its byte offset again by a number that rides through libavcodec in the
/// place of the timestamps, which the decoders only hand on.
pub struct Decoder {
    codec: VideoCodec,
    opened: ffmpeg::decoder::Opened,
    times: BestEffort,
    pending: VecDeque<Pending>,
    next_number: i64,
    keyframe: Option<KeyFrame>,
    ready: VecDeque<Decoded>,
    undecodable: u64,
    /// Why the first unusable picture was skipped, until it is taken.
    unusable: Option<Error>,
    /// After a start at an open random access point: what comes out before its
    /// own picture is not whole, and counts for nothing.
    skip_until: Option<ByteOffset>,
}

/// A picture, and what has to be known to start again at it.
#[derive(Clone)]
pub struct Decoded {
    /// The picture.
    pub frame: Frame,
    /// The choice between PTS and DTS, as it was before this picture.
    pub times: BestEffort,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    number: i64,
    at: ByteOffset,
    pts: Option<Ticks>,
    dts: Option<Ticks>,
    keyframe: Option<KeyFrame>,
    damaged: bool,
}

/// A random access point, and the one before it for its leading pictures.
#[derive(Debug, Clone, Copy)]
struct KeyFrame {
    at: ByteOffset,
    pts: Option<Ticks>,
    kind: RandomAccess,
    before: ByteOffset,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("codec", &self.codec)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// Opens a decoder that chooses times as `times` says.
    ///
    /// # Errors
    ///
    /// If the FFmpeg that is linked has no decoder for the codec.
    pub fn open(codec: VideoCodec, settings: &Settings, times: BestEffort) -> Result<Self> {
        log::listen();
        let failed = |cause| {
            Error::new(Stage::Decode, format!("no decoder for {codec} in the FFmpeg linked"))
                .because(cause)
        };
        let found = ffmpeg::decoder::find(codec_id(codec))
            .ok_or(ffmpeg::Error::DecoderNotFound)
            .map_err(failed)?;
        let mut codec_context = ffmpeg::codec::Context::new_with_codec(found);
        codec_context.set_threading(ffmpeg::threading::Config {
            kind: ffmpeg::threading::Type::None,
            count: 1,
            ..Default::default()
        });
        context::set_reorder(&mut codec_context, settings.reorder);
        context::set_extradata(&mut codec_context, &settings.parameter_sets);
        if let Some(size) = settings.size {
            context::set_size(&mut codec_context, size);
        }
        let opened = codec_context.decoder().open().map_err(failed)?;
        Ok(Decoder {
            codec,
            opened,
            times,
            pending: VecDeque::new(),
            next_number: 0,
            keyframe: None,
            ready: VecDeque::new(),
            undecodable: 0,
            unusable: None,
            skip_until: None,
        })
    }

    /// Starts in the middle of a stream: gives no picture before the one of the access
    /// unit at `at`. What was to be decoded to reach that begins at `keyframe_at`.
    pub fn start_at(&mut self, at: ByteOffset, keyframe_at: ByteOffset) {
        self.skip_until = Some(at);
        let (pts, kind) = (None, RandomAccess::None);
        self.keyframe = Some(KeyFrame { at: keyframe_at, pts, kind, before: keyframe_at });
    }

    /// Gives pictures that are not whole, too, for a start where there is no key frame.
    pub fn show_damaged(&mut self) {
        context::show_damaged(&mut self.opened);
    }

    /// Decodes an access unit. One that does not decode is counted and passed
    /// over, as ffmpeg does.
    pub fn push(&mut self, unit: &AccessUnit) {
        if unit.random_access != RandomAccess::None || self.keyframe.is_none() {
            self.keyframe = Some(KeyFrame {
                at: unit.at,
                pts: unit.pts,
                kind: unit.random_access,
                before: self.keyframe.map_or(unit.at, |keyframe| keyframe.at),
            });
        }
        let number = self.next_number;
        self.next_number += 1;
        if self.pending.len() == MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(Pending {
            number,
            at: unit.at,
            pts: unit.pts,
            dts: unit.dts,
            keyframe: self.keyframe,
            // The others find out themselves what is missing.
            damaged: unit.damaged && self.codec == VideoCodec::Hevc,
        });
        let mut packet = ffmpeg::Packet::copy(&unit.data);
        packet.set_pts(Some(number));
        packet.set_dts(Some(number));
        let errors = log::errors();
        if self.opened.send_packet(&packet).is_err() {
            self.undecodable += 1;
        }
        if let Some(pending) = self.pending.back_mut() {
            pending.damaged |= log::errors() > errors;
        }
        self.receive();
    }

    /// The stream is over: the pictures that reordering holds back come out. One that
    /// has no time of its own takes the first of `times` that none before has taken;
    /// there is one more with each picture (`dts_buffer` in `fftools/ffmpeg.c`).
    pub fn finish(&mut self, mut times: impl Iterator<Item = Option<Ticks>>) {
        // Fails only where it was called before.
        let _ = self.opened.send_eof();
        let mut spare = VecDeque::new();
        while let Some(frame) = self.receive_one() {
            spare.extend(times.next());
            self.take_frame(frame, Some(&mut spare));
        }
    }

    /// The next picture in presentation order, if there is one.
    pub fn pull(&mut self) -> Option<Decoded> {
        self.ready.pop_front()
    }

    /// How its stream is coded.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Access units that did not decode, so far.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Why the first picture that was decoded but could not be used was skipped, for example an
    /// unknown pixel format. Returns it once.
    pub fn take_unusable(&mut self) -> Option<Error> {
        self.unusable.take()
    }

    /// Pictures by which the output is delayed for reordering, at present.
    pub fn reorder(&self) -> u32 {
        context::reorder(&self.opened)
    }

    /// Width and height of its pictures, once it knows them.
    pub fn size(&self) -> Option<(u32, u32)> {
        let size = context::size(&self.opened);
        (size.0 > 0 && size.1 > 0).then_some(size)
    }

    fn set_reorder(&mut self, pictures: u32) {
        context::set_reorder(&mut self.opened, pictures);
    }

    fn receive(&mut self) {
        while let Some(frame) = self.receive_one() {
            self.take_frame(frame, None);
        }
    }

    fn receive_one(&mut self) -> Option<ffmpeg::frame::Video> {
        loop {
            let mut frame = ffmpeg::frame::Video::empty();
            match self.opened.receive_frame(&mut frame) {
                Ok(()) => return Some(frame),
                Err(ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN })
                | Err(ffmpeg::Error::Eof) => {
                    return None;
                }
                // A picture that does not decode is an error of its own; others may follow.
                Err(_) => self.undecodable += 1,
            }
        }
    }

    /// `spare` has the times for pictures without one, once the stream is over.
    fn take_frame(
        &mut self,
        frame: ffmpeg::frame::Video,
        spare: Option<&mut VecDeque<Option<Ticks>>>,
    ) {
        let find = |number: Option<i64>| {
            let first = self.pending.front()?.number;
            self.pending.get(usize::try_from(number? - first).ok()?).copied()
        };
        let Some(own) = find(frame.pts()) else {
            self.undecodable += 1;
            return;
        };
        // libavcodec notes the packet with which a picture came out.
        let trigger_dts = find(raw_frame::trigger(&frame)).and_then(|trigger| trigger.dts);
        let mut times = self.times;
        let chosen = times.choose(own.pts, trigger_dts);
        let chosen = chosen.or_else(|| spare?.pop_front().flatten());
        if self.skip_until.is_some_and(|at| at != own.at) {
            return;
        }
        self.skip_until = None;
        let before = std::mem::replace(&mut self.times, times);
        let Some(pts) = chosen else {
            self.undecodable += 1;
            return;
        };
        let keyframe_at = match own.keyframe {
            Some(key) if key.kind == RandomAccess::Open && key.pts.is_some_and(|key| pts < key) => {
                key.before
            }
            Some(KeyFrame { kind: RandomAccess::Gradual(_), before, .. }) => before,
            Some(key) => key.at,
            None => own.at,
        };
        let damaged = own.damaged || frame.is_corrupt() || frame.has_decode_errors();
        match DecodedPicture::new(frame) {
            Ok(picture) => self.ready.push_back(Decoded {
                frame: Frame { at: own.at, pts, keyframe_at, damaged, picture: Arc::new(picture) },
                times: before,
            }),
            Err(error) => {
                self.undecodable += 1;
                self.unusable.get_or_insert(error.at(own.at));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, unsafe_code)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_a_newer_ffmpegs_format_is_passed_over_and_told_with_its_byte() {
        let mut decoder =
            Decoder::open(VideoCodec::H264, &Settings::default(), BestEffort::default()).unwrap();
        for (number, at) in [(0, 188), (1, 376), (2, 564)] {
            decoder.pending.push_back(Pending {
                number,
                at: ByteOffset(at),
                pts: Some(Ticks(number * 3_600)),
                dts: Some(Ticks(number * 3_600)),
                keyframe: None,
                damaged: false,
            });
            let mut frame = ffmpeg::frame::Video::new(ffmpeg::format::Pixel::YUV420P, 64, 48);
            frame.set_pts(Some(number));
            if number < 2 {
                // SAFETY: the frame is ours alone, and freeing it does not read the format.
                unsafe { (*frame.as_mut_ptr()).format = 9_999 };
            }
            decoder.take_frame(frame, None);
        }
        let told = decoder.take_unusable().unwrap().to_string();
        assert!(told.starts_with("decode: byte 188: ") && told.contains("number 9999"), "{told}");
        assert!(decoder.take_unusable().is_none(), "the first alone is told");
        assert_eq!(decoder.undecodable(), 2);
        assert_eq!(decoder.pull().map(|decoded| decoded.frame.at), Some(ByteOffset(564)));
    }
}
