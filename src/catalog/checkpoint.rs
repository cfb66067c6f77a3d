//! `checkpoint.json`: how far detection has come, in bytes.
//!
//! These structs are what stands on disk, apart from the working types, so that
//! those may change and old files still be read. A checkpoint is written after
//! everything that it counts as done, never before.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result, Stage};

/// The version written, and the only one read.
pub const VERSION: u32 = 4;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`VERSION`].
    pub version: u32,
    /// Bytes of the recording that were safe on disk. It is never shorter.
    pub recording_bytes: u64,
    /// Frames in the index so far.
    pub frames_kept: u64,
    /// Where reading goes on.
    pub read_from: ReadFrom,
    /// The stream that is followed.
    pub program: Program,
    /// The stream's clock.
    pub clock: Clock,
    /// The decoder.
    pub decoder: Decoder,
    /// The last picture decided, and what the rule remembers.
    pub decided: Decided,
}

/// A random access point. Times are 33-bit ticks of 90 kHz.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadFrom {
    /// Offset of its packet, in bytes.
    pub offset: u64,
    /// Offset from which the audio is read again, in bytes.
    pub audio_offset: u64,
    /// Offset from where that picture is decoded in one go, in bytes.
    pub keyframe_offset: u64,
    /// There is no key frame: what comes out first is damaged.
    pub damaged: bool,
    /// Elementary stream bytes in that packet that belong to the picture before.
    pub skip_bytes: usize,
    /// Presentation time.
    pub pts: Option<i64>,
    /// Decoding time.
    pub dts: Option<i64>,
}

/// See [`crate::demux::Program`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Program number.
    pub number: u16,
    /// PID of the video stream.
    pub video_pid: u16,
    /// `h264`, `hevc`, `mpeg2video` or `mpeg4`.
    pub codec: String,
    /// The audio streams: PID and codec.
    pub audio: Vec<(u16, String)>,
}

/// See [`crate::timeline::Clock`]. Ticks of 90 kHz, unwrapped, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// Counts as 0.
    pub start: i64,
    /// Time of the picture before.
    pub last: Option<i64>,
    /// A picture has been seen.
    pub seen: bool,
    /// From one decoding time to the next.
    pub step: i64,
    /// Times that were not given.
    pub interpolation: Interpolation,
    /// Added to every time, in microseconds.
    pub offset_us: i64,
    /// Decoding time of the packet before, of any stream, in microseconds from the start.
    pub last_us: i64,
    /// The video stream.
    pub video: StreamClock,
    /// The audio streams.
    pub audio: Vec<AudioClock>,
}

/// See [`crate::timeline::Interpolation`]. Ticks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interpolation {
    /// No time was found ahead, and none is guessed.
    pub blank: bool,
    /// Where the next picture would be decoded.
    pub next: Option<i64>,
    /// What pictures without times have taken.
    pub guessed: i64,
    /// Presentation time of the reference picture before.
    pub reference_pts: Option<i64>,
    /// How long that is shown.
    pub reference_duration: i64,
    /// The last time that was looked at for its order.
    pub checked: Option<i64>,
    /// Times that stood alone and went on.
    pub ordered: u32,
    /// Such times that went back.
    pub misordered: u32,
    /// The last presentation times, in order.
    pub window: Vec<Option<i64>>,
    /// How well each place of the window has told the decoding time: sum and count.
    pub errors: Vec<(u64, u8)>,
}

/// See [`crate::timeline::StreamClock`]. Microseconds from the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamClock {
    /// A packet has been seen.
    pub started: bool,
    /// Decoding time of the packet before.
    pub dts_us: i64,
    /// What the stream has reached.
    pub reached_us: i64,
    /// Decoding time expected next.
    pub next_us: Option<i64>,
}

/// See [`crate::timeline::AudioClock`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioClock {
    /// Its PID.
    pub pid: u16,
    /// Offset of the PES packet that has passed last.
    pub through: u64,
    /// Time of its next frame, in ticks.
    pub next_pts: Option<i64>,
    /// Where it is expected.
    pub clock: StreamClock,
}

/// See [`crate::decode::Decoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decoder {
    /// Pictures by which the output is delayed.
    pub reorder: u32,
    /// Pictures by which it was delayed when the stream began.
    pub delay: u32,
    /// Parameter sets that it was opened with, in hexadecimal.
    pub parameter_sets: String,
    /// Width and height that it was opened with, if that still counts.
    pub size: Option<(u32, u32)>,
    /// PTS that did not grow.
    pub faulty_pts: u64,
    /// DTS that did not grow.
    pub faulty_dts: u64,
    /// The PTS before, from the start.
    pub last_pts: Option<i64>,
    /// The DTS before, from the start.
    pub last_dts: Option<i64>,
}

/// See [`crate::detect::DetectorState`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Offset of the picture decided last, in presentation order.
    pub offset: u64,
    /// Its time from the start, in ticks.
    pub pts: i64,
    /// Its mean absolute frame difference.
    pub mafd: f64,
    /// Time of the frame kept last, in ticks.
    pub previous_kept: Option<i64>,
    /// Whether any frame was kept.
    pub any_kept: bool,
    /// Every picture that starts up to here was decided when a recorder ended.
    pub final_through: Option<u64>,
}

impl Checkpoint {
    /// Reads a checkpoint. `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is no checkpoint, or is of another version.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(Stage::Catalog, path, "cannot read"),
        };
        Self::parse(path, &text).map(Some)
    }

    /// Reads the bytes of a checkpoint; `path` is for messages.
    ///
    /// # Errors
    ///
    /// If they are no checkpoint, or one of another version.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let checkpoint: Checkpoint =
            serde_json::from_slice(bytes).context(Stage::Catalog, path, "not a checkpoint")?;
        if checkpoint.version != VERSION {
            let what = format!("checkpoint of version {}, not {VERSION}", checkpoint.version);
            return Err(Error::new(Stage::Catalog, what).path(path));
        }
        Ok(checkpoint)
    }

    /// Whether a recorder has ended, and detection with it, when the recording had
    /// `length` bytes.
    pub fn is_final(&self, length: u64) -> bool {
        self.decided.final_through.is_some() && self.recording_bytes == length
    }

    /// The bytes to be published.
    ///
    /// # Errors
    ///
    /// Never for a checkpoint that [`Checkpoint::parse`] could read again: only a
    /// number that is no number cannot be written.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|cause| {
            Error::new(Stage::Catalog, "cannot write a checkpoint").because(cause)
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
