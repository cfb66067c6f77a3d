//! Access units → pictures, each with the times of its access unit.

use std::collections::VecDeque;
use std::sync::Arc;

use ffmpeg_next as ffmpeg;

use super::picture::DecodedPicture;
use super::{Settings, raw_frame};
use crate::error::{Error, Result, Stage};
use crate::libav::{codec_id, context, log};
use crate::media::{AccessUnit, ByteOffset, Picture, RandomAccess, Ticks, VideoCodec};

/// Maximum number of access units whose pictures are still expected: more than any decoder delays,
/// and enough for streams of single fields.
const MAX_PENDING: usize = 128;

/// A decoder of libavcodec.
///
/// Push an access unit, pull pictures until there are none, and repeat. To find the byte offset of
/// a picture, a number is passed through libavcodec in place of the timestamps, which decoders
/// forward unchanged.
pub struct RawDecoder {
    codec: VideoCodec,
    opened: ffmpeg::decoder::Opened,
    pending: VecDeque<Pending>,
    next_number: i64,
    keyframe: Option<PassedRandomAccess>,
    ready: VecDeque<RawPicture>,
    undecodable: u64,
}

/// A picture as returned by libavcodec, before its time is chosen.
pub struct RawPicture {
    /// The access unit from which the picture was decoded.
    pub origin: Origin,
    /// The picture, or the reason why it cannot be used, for example an unknown pixel format.
    pub picture: Result<Arc<dyn Picture>>,
}

/// The access unit of a picture, and how the decoder returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Offset of the TS packet in which the access unit starts.
    pub at: ByteOffset,
    /// Presentation time of the access unit.
    pub pts: Option<Ticks>,
    /// Decoding time of the access unit that made the decoder return the picture.
    pub trigger_dts: Option<Ticks>,
    /// The last random access point in front of the access unit.
    pub keyframe: Option<PassedRandomAccess>,
    /// Whether FFmpeg concealed an error in the picture, or decoded it from incomplete references.
    pub damaged: bool,
    /// The decoder's output delay in pictures when it returned the picture.
    pub reorder: u32,
}

impl Origin {
    /// Returns whether both belong to the same access unit. Two access units may start in the same
    /// packet.
    pub fn is_of(&self, other: &Origin) -> bool {
        (self.at, self.pts) == (other.at, other.pts)
    }
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    number: i64,
    at: ByteOffset,
    pts: Option<Ticks>,
    dts: Option<Ticks>,
    keyframe: Option<PassedRandomAccess>,
    damaged: bool,
}

/// A random access point and the one before it, to which its leading pictures may refer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassedRandomAccess {
    at: ByteOffset,
    pts: Option<Ticks>,
    kind: RandomAccess,
    before: ByteOffset,
}

impl PassedRandomAccess {
    /// Returns the offset at which decoding has to start to show the picture at `pts`. The picture
    /// follows this random access point in the stream.
    pub fn needed_at(self, pts: Ticks) -> ByteOffset {
        match self.kind {
            RandomAccess::Open if self.pts.is_some_and(|key| pts < key) => self.before,
            RandomAccess::Gradual(_) => self.before,
            _ => self.at,
        }
    }
}

impl std::fmt::Debug for RawDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawDecoder")
            .field("codec", &self.codec)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl RawDecoder {
    /// Opens a decoder.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn open(codec: VideoCodec, settings: &Settings) -> Result<Self> {
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
        Ok(RawDecoder {
            codec,
            opened,
            pending: VecDeque::new(),
            next_number: 0,
            keyframe: None,
            ready: VecDeque::new(),
            undecodable: 0,
        })
    }

    /// Starts in the middle of a stream, at the random access point at `at`.
    pub fn start_at(&mut self, at: ByteOffset) {
        self.keyframe =
            Some(PassedRandomAccess { at, pts: None, kind: RandomAccess::None, before: at });
    }

    /// Also returns incomplete pictures, for a start without a random access point.
    pub fn show_damaged(&mut self) {
        context::show_damaged(&mut self.opened);
    }

    /// Decodes an access unit. A unit that fails to decode is counted and skipped, as in ffmpeg.
    pub fn push(&mut self, unit: &AccessUnit) {
        if unit.random_access != RandomAccess::None || self.keyframe.is_none() {
            self.keyframe = Some(PassedRandomAccess {
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
            // Decoders of other codecs detect missing data themselves.
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
        while let Some(frame) = self.receive() {
            let picture = self.identify(frame);
            self.ready.extend(picture);
        }
    }

    /// Ends the stream, so that [`RawDecoder::flush`] returns the pictures held back for
    /// reordering.
    pub fn end(&mut self) {
        // Fails only if it was called before.
        let _ = self.opened.send_eof();
    }

    /// Returns the next picture after the end. `Some(None)` is a picture whose access unit is
    /// unknown.
    pub fn flush(&mut self) -> Option<Option<RawPicture>> {
        let frame = self.receive()?;
        Some(self.identify(frame))
    }

    /// Returns the next picture in presentation order, if there is one.
    pub fn pull(&mut self) -> Option<RawPicture> {
        self.ready.pop_front()
    }

    /// Returns whether no access unit has been pushed.
    pub fn is_new(&self) -> bool {
        self.next_number == 0
    }

    /// Returns the codec of the stream.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Returns the number of access units and pictures that failed to decode so far.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
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

    /// Sets the output delay in pictures.
    pub fn set_reorder(&mut self, pictures: u32) {
        context::set_reorder(&mut self.opened, pictures);
    }

    fn receive(&mut self) -> Option<ffmpeg::frame::Video> {
        loop {
            let mut frame = ffmpeg::frame::Video::empty();
            match self.opened.receive_frame(&mut frame) {
                Ok(()) => return Some(frame),
                Err(ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN })
                | Err(ffmpeg::Error::Eof) => {
                    return None;
                }
                // The error affects only one picture; others may follow.
                Err(_) => self.undecodable += 1,
            }
        }
    }

    /// Finds the access unit of a picture.
    fn identify(&mut self, frame: ffmpeg::frame::Video) -> Option<RawPicture> {
        let find = |number: Option<i64>| {
            let first = self.pending.front()?.number;
            self.pending.get(usize::try_from(number? - first).ok()?).copied()
        };
        let Some(own) = find(frame.pts()) else {
            self.undecodable += 1;
            return None;
        };
        let origin = Origin {
            at: own.at,
            pts: own.pts,
            // libavcodec stores the DTS of the packet that made it return the picture.
            trigger_dts: find(raw_frame::trigger(&frame)).and_then(|trigger| trigger.dts),
            keyframe: own.keyframe,
            damaged: own.damaged || frame.is_corrupt() || frame.has_decode_errors(),
            reorder: self.reorder(),
        };
        let picture = DecodedPicture::new(frame)
            .map(|picture| Arc::new(picture) as Arc<dyn Picture>)
            .map_err(|error| error.at(own.at));
        Some(RawPicture { origin, picture })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, unsafe_code)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_a_newer_ffmpegs_format_is_passed_over_and_told_with_its_byte() {
        let mut decoder = RawDecoder::open(VideoCodec::H264, &Settings::default()).unwrap();
        let mut errors = Vec::new();
        let mut usable = Vec::new();
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
                // SAFETY: no other reference to the frame exists, and freeing it does not read the
                // format.
                unsafe { (*frame.as_mut_ptr()).format = 9_999 };
            }
            let RawPicture { origin, picture } = decoder.identify(frame).unwrap();
            match picture {
                Ok(_) => usable.push(origin.at),
                Err(error) => errors.push(error.to_string()),
            }
        }
        assert_eq!(usable, [ByteOffset(564)]);
        for (error, at) in errors.iter().zip([188, 376]) {
            let start = format!("decode: byte {at}: ");
            assert!(error.starts_with(&start) && error.contains("number 9999"), "{error}");
        }
    }
}
