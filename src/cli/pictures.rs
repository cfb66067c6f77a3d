//! The options of detection, shared by `record` and `scan`.

use crate::config::{FrameRule, JpegConfig, Layers, key};
use crate::error::Result;

/// What was typed.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Keep a picture whose scene score is greater
    ///
    /// The score is that of ffmpeg's select filter, from 0 (nothing changes) to 1.
    /// Lower keeps more: 0.3 to 0.4 finds cuts, 0.1 also finds gentler changes.
    #[arg(long, help_heading = "Which frames are kept", allow_negative_numbers = true)]
    #[arg(value_name = "SCORE", value_parser = key::SCENE_THRESHOLD.parser())]
    scene_threshold: Option<f64>,

    /// Keep a picture when the last kept one is that old; 0 turns it off
    #[arg(long, help_heading = "Which frames are kept", allow_negative_numbers = true)]
    #[arg(value_name = "SECONDS", value_parser = key::MAX_FRAME_INTERVAL.parser())]
    max_frame_interval: Option<f64>,

    /// The program to look at, of a stream that has several
    ///
    /// An MPEG-TS program number. Without it, the first program with video counts.
    /// What is recorded is always the whole stream.
    #[arg(long, help_heading = "Which frames are kept")]
    #[arg(value_name = "NUMBER", value_parser = key::PROGRAM.parser())]
    program: Option<u16>,

    /// Quality of the JPEGs, 1 to 100
    ///
    /// The default looks about like ffmpeg's -q:v 2.
    #[arg(long, help_heading = "JPEGs")]
    #[arg(value_name = "1-100", value_parser = key::JPEG_QUALITY.parser())]
    jpeg_quality: Option<u8>,

    /// Scale wider pictures down to that width, in pixels, 16 or more
    ///
    /// The height follows. Without it, pictures keep their size. Scores are always
    /// taken at full size.
    #[arg(long, help_heading = "JPEGs")]
    #[arg(value_name = "PIXELS", value_parser = key::FRAME_WIDTH.parser())]
    frame_width: Option<u32>,
}

impl Args {
    /// Which pictures are kept, how they are written, and of which program.
    pub fn resolve(&self, layers: &Layers<'_>) -> Result<(FrameRule, JpegConfig, Option<u16>)> {
        let rule = FrameRule {
            scene_threshold: layers.required(self.scene_threshold, &key::SCENE_THRESHOLD)?,
            max_frame_interval_s: layers
                .required(self.max_frame_interval, &key::MAX_FRAME_INTERVAL)?,
        };
        let jpeg = JpegConfig {
            quality: layers.required(self.jpeg_quality, &key::JPEG_QUALITY)?,
            max_width_px: layers.optional(self.frame_width, &key::FRAME_WIDTH)?,
        };
        Ok((rule, jpeg, layers.optional(self.program, &key::PROGRAM)?))
    }
}
