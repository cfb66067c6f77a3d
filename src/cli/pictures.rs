//! Detection options, shared by `record`, `scan` and `check`.

use std::num::NonZeroUsize;

use crate::catalog::JpegOptions;
use crate::config::{Layers, key};
use crate::demux::ProgramChoice;
use crate::detect::Rule;
use crate::error::Result;

/// Detection options, as typed.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct PictureArgs {
    /// Keep a picture whose scene score exceeds this, 0 to 1
    ///
    /// The score is that of ffmpeg's select filter: 0 means no change. Lower values keep
    /// more frames: 0.3 to 0.4 finds cuts, 0.1 also finds gradual changes.
    #[arg(long, help_heading = "Which frames are kept", allow_negative_numbers = true)]
    #[arg(value_name = "SCORE", value_parser = key::SCENE_THRESHOLD.parser())]
    scene_threshold: Option<f64>,

    /// Keep a picture if the last kept one is at least this old; 0 disables it
    #[arg(long, help_heading = "Which frames are kept", allow_negative_numbers = true)]
    #[arg(value_name = "SECONDS", value_parser = key::MAX_FRAME_INTERVAL.parser())]
    max_frame_interval: Option<f64>,

    /// Detect scenes in this program of a multi-program stream
    ///
    /// An MPEG-TS program number. Default: the first program with video. The recording
    /// always contains all programs.
    #[arg(long, help_heading = "Which frames are kept")]
    #[arg(value_name = "NUMBER", value_parser = key::PROGRAM.parser())]
    program: Option<u16>,

    /// JPEG quality, 1 to 100
    ///
    /// The default is close to ffmpeg's -q:v 2.
    #[arg(long, help_heading = "JPEGs")]
    #[arg(value_name = "1-100", value_parser = key::JPEG_QUALITY.parser())]
    jpeg_quality: Option<u8>,

    /// Scale pictures that are wider down to this width in pixels, 16 to 65535
    ///
    /// Keeps the aspect ratio. Default: keep the original size. Scores are always
    /// computed at full size.
    #[arg(long, help_heading = "JPEGs")]
    #[arg(value_name = "PIXELS", value_parser = key::FRAME_WIDTH.parser())]
    frame_width: Option<u32>,

    /// Number of threads that decode a backlog [default: one per core]
    ///
    /// A file, or the backlog of a recording, is decoded in pieces by all threads. The
    /// frames do not depend on the number. Each thread needs memory for about 40 pictures.
    #[arg(long, help_heading = "Speed")]
    #[arg(value_name = "N", value_parser = key::JOBS.parser())]
    jobs: Option<NonZeroUsize>,
}

/// The resolved options of detection.
pub struct PictureOptions {
    /// Rule that selects pictures.
    pub rule: Rule,
    /// Options of the JPEGs.
    pub jpeg: JpegOptions,
    /// Program to analyze.
    pub program: ProgramChoice,
    /// Number of threads that decode a backlog.
    pub jobs: NonZeroUsize,
}

impl PictureArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid.
    pub fn resolve(&self, layers: &Layers<'_>) -> Result<PictureOptions> {
        let rule = Rule {
            scene_threshold: layers.required(self.scene_threshold, &key::SCENE_THRESHOLD)?,
            max_frame_interval_s: layers
                .required(self.max_frame_interval, &key::MAX_FRAME_INTERVAL)?,
        };
        let jpeg = JpegOptions {
            quality: layers.required(self.jpeg_quality, &key::JPEG_QUALITY)?,
            max_width_px: layers.optional(self.frame_width, &key::FRAME_WIDTH)?,
        };
        let program = layers.optional(self.program, &key::PROGRAM)?;
        let program = program.map_or(ProgramChoice::FirstWithVideo, ProgramChoice::Number);
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let jobs = layers.optional(self.jobs, &key::JOBS)?.unwrap_or_else(cores);
        Ok(PictureOptions { rule, jpeg, program, jobs })
    }
}
