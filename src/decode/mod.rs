//! Access units → pictures in presentation order, with libavcodec.
//!
//! Apart from `libav`, this folder is the only user of `ffmpeg-next`. Each decoder uses a
//! single thread: every frame thread adds a picture of delay, and with frame or slice
//! threads the concealment of damage varies from run to run. Options match those of the
//! ffmpeg tool: none that change pixels.

mod best_effort;
mod colors;
mod jfif;
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
pub use probe::StreamProbe;

use crate::error::{Error, Result, Stage};
use crate::libav::{codec_id, context, log};
use crate::media::{AccessUnit, ByteOffset, Frame, RandomAccess, Ticks, VideoCodec};

/// Maximum number of access units whose picture may still be returned: more than any
/// decoder delays, and enough for streams of single fields.
const MAX_PENDING: usize = 128;

/// Initial settings of a decoder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Output delay in pictures, for streams that do not state it (H.264).
    pub reorder: u32,
    /// Parameter sets with start codes, for a stream that begins before its own parameter
    /// sets. May be empty.
    pub parameter_sets: Vec<u8>,
    /// Width and height found by libavformat, for H.264. As long as the stream has this
    /// size, a picture that is larger by less than a macroblock is cropped to it.
    pub size: Option<(u32, u32)>,
}

/// A decoder for one video stream.
///
/// Push an access unit, pull pictures until there are none, and repeat. To find the byte
/// offset of a picture, a number is passed through libavcodec in place of the timestamps,
/// which decoders only forward.
pub struct Decoder {
    codec: VideoCodec,
    opened: ffmpeg::decoder::Opened,
    times: BestEffort,
    pending: VecDeque<Pending>,
    next_number: i64,
    keyframe: Option<KeyFrame>,
    ready: VecDeque<Decoded>,
    undecodable: u64,
    /// Why the first unusable picture was skipped, until [`Decoder::take_unusable`]
    /// returns it.
    unusable: Option<Error>,
    /// After a start at an open random access point: pictures returned before the one of
    /// this access unit are incomplete and are dropped.
    skip_until: Option<ByteOffset>,
}

/// A picture, and the state needed to resume decoding at it.
#[derive(Clone)]
pub struct Decoded {
    /// The picture.
    pub frame: Frame,
    /// The choice between PTS and DTS, before this picture.
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

/// A random access point, and the one before it, which its leading pictures need.
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
    /// Opens a decoder. `times` is the state of the choice between PTS and DTS.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn open(codec: VideoCodec, settings: &Settings, times: BestEffort) -> Result<Self> {
        log::listen();
        let failed = |cause| {
            Error::new(Stage::Decode, format!("the linked FFmpeg has no decoder for {codec}"))
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

    /// Starts in the middle of a stream: drops all pictures before that of the access
    /// unit at `at`. Decoding starts at `keyframe_at` to reach it.
    pub fn start_at(&mut self, at: ByteOffset, keyframe_at: ByteOffset) {
        self.skip_until = Some(at);
        let (pts, kind) = (None, RandomAccess::None);
        self.keyframe = Some(KeyFrame { at: keyframe_at, pts, kind, before: keyframe_at });
    }

    /// Also returns incomplete pictures, for a start without a key frame.
    pub fn show_damaged(&mut self) {
        context::show_damaged(&mut self.opened);
    }

    /// Decodes an access unit. One that fails to decode is counted and skipped, as in
    /// ffmpeg.
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
            // The other decoders detect missing data themselves.
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

    /// Ends the stream and flushes the pictures held back for reordering. A picture
    /// without a time takes the first unused one of `times`; each picture makes one more
    /// of them available (`dts_buffer` in `fftools/ffmpeg.c`).
    pub fn finish(&mut self, mut times: impl Iterator<Item = Option<Ticks>>) {
        // This only fails if it was called before.
        let _ = self.opened.send_eof();
        let mut spare = VecDeque::new();
        while let Some(frame) = self.receive_one() {
            spare.extend(times.next());
            self.take_frame(frame, Some(&mut spare));
        }
    }

    /// Returns the next picture in presentation order, if there is one.
    pub fn pull(&mut self) -> Option<Decoded> {
        self.ready.pop_front()
    }

    /// Returns the codec of the stream.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Returns the number of access units and pictures that failed to decode so far.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Returns, once, why the first decoded picture that cannot be used was skipped, for
    /// example because its pixel format is unknown.
    pub fn take_unusable(&mut self) -> Option<Error> {
        self.unusable.take()
    }

    /// Returns the current output delay in pictures, for reordering.
    pub fn reorder(&self) -> u32 {
        context::reorder(&self.opened)
    }

    /// Returns the width and height of the pictures, once they are known.
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
                // The error concerns one picture only; others may follow.
                Err(_) => self.undecodable += 1,
            }
        }
    }

    /// `spare` holds times for pictures without one; it is only given at the end of the
    /// stream.
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
        // libavcodec stores the DTS of the packet that made it return the picture.
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
        let error = decoder.take_unusable().unwrap().to_string();
        assert!(
            error.starts_with("decode: byte 188: ") && error.contains("number 9999"),
            "{error}"
        );
        assert!(decoder.take_unusable().is_none(), "only the first is reported");
        assert_eq!(decoder.undecodable(), 2);
        assert_eq!(decoder.pull().map(|decoded| decoded.frame.at), Some(ByteOffset(564)));
    }
}
