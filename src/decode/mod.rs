//! Access units → pictures in presentation order, with libavcodec.
//!
//! Apart from `libav`, this folder is the only user of `ffmpeg-next`. Each decoder uses a single
//! thread: every frame thread adds a picture of delay, and with frame or slice threads the
//! concealment of damage varies from run to run. As in the ffmpeg tool, no option that changes
//! pixels is set.
//!
//! ```text
//! raw_decoder   access units → pictures with the times of their access units
//! shown         the time of each picture: with `best_effort`, PTS or DTS
//! best_effort   choice between PTS and DTS
//! probe         look-ahead: output delay, parameter sets, missing times
//! picture       a decoded picture, and its conversion for JPEG and PNG
//! raw_frame     fields of `AVFrame` as numbers
//! pixel_format  pixel formats, from the table of libavutil
//! planes        samples of a picture in the buffers of the decoder
//! colors        matrix and range
//! jfif          planes → JFIF or R'G'B'
//! scaler        size and format, with libswscale
//! ```

mod best_effort;
mod colors;
mod jfif;
mod picture;
mod pixel_format;
mod planes;
mod probe;
mod raw_decoder;
mod raw_frame;
mod scaler;
mod shown;

use std::collections::VecDeque;
use std::sync::Arc;

pub use best_effort::BestEffort;
pub use probe::{StreamProbe, parameter_sets};
pub use raw_decoder::{Origin, RawDecoder, RawPicture};
pub use shown::{Placed, Shown, TimeChooser};

use crate::error::{Error, Result};
use crate::media::{AccessUnit, ByteOffset, Picture, Ticks, VideoCodec};

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

/// A decoder for one video stream, which also chooses the time of each picture.
///
/// Push an access unit, pull pictures until there are none, and repeat.
#[derive(Debug)]
pub struct Decoder {
    raw: RawDecoder,
    chooser: TimeChooser,
    ready: VecDeque<Decoded>,
    /// Number of pictures that have no time or cannot be used.
    left_out: u64,
    /// Why the first unusable picture was skipped, until [`Decoder::take_unusable`]
    /// returns it.
    unusable: Option<Error>,
}

/// A picture with its time.
#[derive(Clone)]
pub struct Decoded {
    /// Time and position.
    pub shown: Shown,
    /// The picture.
    pub picture: Arc<dyn Picture>,
}

impl std::fmt::Debug for Decoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoded").field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl Decoder {
    /// Opens a decoder. `times` is the state of the choice between PTS and DTS.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn open(codec: VideoCodec, settings: &Settings, times: BestEffort) -> Result<Self> {
        Ok(Decoder::new(RawDecoder::open(codec, settings)?, TimeChooser::new(times)))
    }

    /// Returns a decoder that continues with the state of `raw` and `chooser`.
    pub fn new(raw: RawDecoder, chooser: TimeChooser) -> Self {
        Decoder { raw, chooser, ready: VecDeque::new(), left_out: 0, unusable: None }
    }

    /// Takes the decoder apart, and also returns the number of pictures that were left out. All
    /// other pictures must have been pulled.
    pub fn into_parts(self) -> (RawDecoder, TimeChooser, u64) {
        (self.raw, self.chooser, self.left_out)
    }

    /// Starts in the middle of a stream: drops all pictures before that of the access
    /// unit at `at`. Decoding starts at `keyframe_at` to reach it.
    pub fn start_at(&mut self, at: ByteOffset, keyframe_at: ByteOffset) {
        self.chooser.skip_until(at);
        self.raw.start_at(keyframe_at);
    }

    /// Also returns incomplete pictures, for a start without a random access point.
    pub fn show_damaged(&mut self) {
        self.raw.show_damaged();
    }

    /// Decodes an access unit. A unit that fails to decode is counted and skipped, as in ffmpeg.
    pub fn push(&mut self, unit: &AccessUnit) {
        self.raw.push(unit);
        while let Some(picture) = self.raw.pull() {
            self.take(picture, None);
        }
    }

    /// Ends the stream and flushes the pictures held back for reordering. A picture without a time
    /// takes the first unused time of `times`; each flushed picture makes one more time available
    /// (`dts_buffer` in `fftools/ffmpeg.c`).
    pub fn finish(&mut self, mut times: impl Iterator<Item = Option<Ticks>>) {
        self.raw.end();
        let mut spare = VecDeque::new();
        while let Some(picture) = self.raw.flush() {
            spare.extend(times.next());
            if let Some(picture) = picture {
                self.take(picture, Some(&mut spare));
            }
        }
    }

    /// Returns the next picture in presentation order, if there is one.
    pub fn pull(&mut self) -> Option<Decoded> {
        self.ready.pop_front()
    }

    /// Returns the codec of the stream.
    pub fn codec(&self) -> VideoCodec {
        self.raw.codec()
    }

    /// Returns whether no access unit has been pushed.
    pub fn is_new(&self) -> bool {
        self.raw.is_new() && self.chooser.is_new()
    }

    /// Returns the number of access units and pictures that failed to decode so far.
    pub fn undecodable(&self) -> u64 {
        self.raw.undecodable() + self.left_out
    }

    /// Returns, once, why the first decoded picture that cannot be used was skipped, for
    /// example because its pixel format is unknown.
    pub fn take_unusable(&mut self) -> Option<Error> {
        self.unusable.take()
    }

    /// Returns the current output delay in pictures, for reordering.
    pub fn reorder(&self) -> u32 {
        self.raw.reorder()
    }

    /// Returns the width and height of the pictures, once they are known.
    pub fn size(&self) -> Option<(u32, u32)> {
        self.raw.size()
    }

    fn set_reorder(&mut self, pictures: u32) {
        self.raw.set_reorder(pictures);
    }

    /// Adds a picture. `spare` holds times for pictures without one, and is passed only at the end
    /// of the stream.
    fn take(&mut self, picture: RawPicture, spare: Option<&mut VecDeque<Option<Ticks>>>) {
        match self.chooser.place(&picture.origin, spare) {
            Placed::Skipped => {}
            Placed::Untimed => self.left_out += 1,
            Placed::Shown(shown) => match picture.picture {
                Ok(picture) => self.ready.push_back(Decoded { shown, picture }),
                Err(error) => {
                    self.left_out += 1;
                    self.unusable.get_or_insert(error);
                }
            },
        }
    }
}
