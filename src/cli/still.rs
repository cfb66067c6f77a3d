//! `scenetap still`: writes any moment of a recording as a picture.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::JsonLines;
use super::target::{find_target, moment_of_frame};
use super::{CommandContext, ExitStatus, complete, file_output};
use crate::catalog::JpegOptions;
use crate::config::{Layers, StillConfig, key};
use crate::error::{Context, Error, Result, Stage};
use crate::media::Frame;
use crate::pipeline::evidence::{self, Moment, OpenRecording, StillFormat, Target};

/// Write the picture of any moment, also while it is recorded
///
/// Writes the picture shown at that moment: the last one that is not later. Decoding starts at
/// the key frame before it, so a long recording costs no more than a short one.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::STILL_EXAMPLES)]
pub struct StillArgs {
    /// Session name, session folder or MPEG-TS file
    #[arg(value_name = "SESSION-OR-FILE", add = complete::session_or_file())]
    target: PathBuf,

    /// Write the picture at this time: seconds or [HH:]MM:SS from the start; with a minus
    /// sign, before the newest picture
    ///
    /// On the same clock as timestamp in index.json.
    #[arg(long, help_heading = "Which picture", allow_hyphen_values = true)]
    #[arg(value_name = "TIME", value_parser = key::AT.parser())]
    at: Option<Moment>,

    /// Write the picture of this kept frame, in full size
    #[arg(long, help_heading = "Which picture", value_name = "ID", conflicts_with = "at")]
    frame: Option<String>,

    /// Look at this program of a multi-program stream
    ///
    /// An MPEG-TS program number. Default: the recorded one; of a file, the first with video.
    #[arg(long, help_heading = "Which picture")]
    #[arg(value_name = "NUMBER", value_parser = key::PROGRAM.parser())]
    program: Option<u16>,

    /// File to write: JPEG or PNG by its ending; - writes a JPEG to stdout
    #[arg(short, long, help_heading = "Output", value_name = "FILE")]
    output: PathBuf,

    /// Scale a picture that is wider down to this width in pixels, 16 to 65535
    #[arg(long, help_heading = "Output")]
    #[arg(value_name = "PIXELS", value_parser = key::WIDTH.parser())]
    width: Option<u32>,

    /// JPEG quality, 1 to 100
    #[arg(long, help_heading = "Output")]
    #[arg(value_name = "1-100", value_parser = key::JPEG_QUALITY.parser())]
    jpeg_quality: Option<u8>,

    /// Print one line of JSON: the picture's timestamp, its offset, and path
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::JSON.parser())]
    json: Option<bool>,

    /// Folder that contains the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,
}

impl StillArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid, or contradicts another one.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<StillConfig> {
        let wrong = |what: &str| Error::new(Stage::Config, what);
        let format = if file_output::is_stdout(&self.output) {
            StillFormat::Jpeg
        } else {
            StillFormat::of(&self.output).ok_or_else(|| {
                wrong("--output must end in .jpg, .jpeg or .png").path(&self.output)
            })?
        };
        let at =
            match &self.frame {
                Some(_) => None,
                None => Some(layers.optional(self.at, &key::AT)?.ok_or_else(|| {
                    wrong("which picture is missing: give --at TIME or --frame ID")
                })?),
            };
        let json = layers.required(self.json, &key::JSON)?;
        if json && file_output::is_stdout(&self.output) {
            return Err(wrong("--json and --output - would both write to stdout"));
        }
        Ok(StillConfig {
            target: self.target,
            sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
            at,
            frame: self.frame,
            program: layers.optional(self.program, &key::PROGRAM)?,
            output: self.output,
            format,
            jpeg: JpegOptions {
                quality: layers.required(self.jpeg_quality, &key::JPEG_QUALITY)?,
                max_width_px: layers.optional(self.width, &key::WIDTH)?,
            },
            json,
            lock_timeout: layers.required(None, &key::SHUTDOWN_TIMEOUT)?,
        })
    }
}

/// Writes the picture.
///
/// # Errors
///
/// Returns an error if the recording, the frame or the picture does not exist, or the file cannot be
/// written.
pub fn run(args: StillArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&context.layers)?;
    tracing::debug!(?config, "resolved");
    let to_stdout = file_output::is_stdout(&config.output);
    file_output::refuse_terminal(&config.output)?;
    let target = find_target(&config.target, &config.sessions_dir)?;
    let moment = match (&config.frame, config.at) {
        (Some(id), _) => moment_of_frame(id, &target, config.lock_timeout)?,
        (None, at) => at.unwrap_or(Moment::BeforeNewest(0.0)),
    };
    let recording = OpenRecording::open(&target, config.program)?;
    let stop = || context.shutdown.is_requested();
    let still = evidence::still(&recording, moment, &stop)?;
    let bytes = evidence::encode(&*still.picture, config.format, config.jpeg)?;
    file_output::write(&config.output, &recording, &stop, |output| {
        output.write_all(&bytes).context(Stage::Evidence, &config.output, "cannot write it")
    })?;
    if config.json {
        let mut lines = JsonLines::stdout(&context.terminal);
        lines.write_line(&json_line(&still, &target, &config.output));
        lines.finish()?;
    } else if !to_stdout {
        let (seconds, at) = (still.pts.seconds(), still.at);
        tracing::info!("{}: the picture at {seconds:.6} s, byte {at}", config.output.display());
    }
    Ok(ExitStatus::Done)
}

fn json_line(still: &Frame, target: &Target, path: &Path) -> String {
    #[derive(Serialize)]
    struct StillJson {
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        timestamp: f64,
        offset: u64,
        keyframe_offset: u64,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        damaged: bool,
        path: String,
    }
    let line = StillJson {
        session: target.session().map(|session| session.id()),
        timestamp: (still.pts.seconds() * 1e6).round() / 1e6,
        offset: still.at.0,
        keyframe_offset: still.keyframe_at.0,
        damaged: still.damaged,
        path: file_output::absolute(path),
    };
    // Never fails: there are only numbers and strings.
    serde_json::to_string(&line).unwrap_or_default()
}
