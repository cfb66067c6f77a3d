//! `scenetap clip`: writes a part of a recording as MPEG-TS.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::JsonLines;
use super::target::find_target;
use super::{CommandContext, ExitStatus, complete, file_output};
use crate::config::{ClipConfig, Layers, key};
use crate::error::{Error, Result, Stage};
use crate::media::Ticks;
use crate::pipeline::evidence::{self, Clip, ClipRange, Cut, Moment, OpenRecording, Target};

/// Copy a part of a recording, also while it is recorded
///
/// Nothing is encoded again: the clip begins and ends at key frames, so it may contain some
/// seconds before --from and after --to. The clip starts with the program tables. Packets,
/// counters and clocks are unchanged, except that clock restarts are marked
/// (discontinuity_indicator).
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::CLIP_EXAMPLES)]
pub struct ClipArgs {
    /// Session name, session folder or MPEG-TS file
    #[arg(value_name = "SESSION-OR-FILE", add = complete::session_or_file())]
    target: PathBuf,

    /// Begin at this time: seconds or [HH:]MM:SS from the start; with a minus sign, before
    /// the newest picture
    ///
    /// On the same clock as timestamp in index.json.
    #[arg(long, help_heading = "Which part", allow_hyphen_values = true)]
    #[arg(value_name = "TIME", value_parser = key::AT.parser())]
    from: Option<Moment>,

    /// End at this time, in the same form [default: the newest picture]
    #[arg(long, help_heading = "Which part", allow_hyphen_values = true)]
    #[arg(value_name = "TIME", value_parser = key::AT.parser())]
    to: Option<Moment>,

    /// Cut at key frames of this program of a multi-program stream
    ///
    /// An MPEG-TS program number. Default: the recorded one; of a file, the first with video. The clip
    /// contains all programs.
    #[arg(long, help_heading = "Which part")]
    #[arg(value_name = "NUMBER", value_parser = key::PROGRAM.parser())]
    program: Option<u16>,

    /// File to write; - writes to stdout
    #[arg(short, long, help_heading = "Output", value_name = "FILE")]
    output: PathBuf,

    /// Keep packets of 192 and 204 bytes, instead of writing 188 bytes of each
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::AS_IS.parser())]
    as_is: Option<bool>,

    /// Print one line of JSON: its times, the seconds in front of --from, and its bytes
    ///
    /// The clip ends before `to`, the time of the next key frame; at the end of the
    /// recording, `to` is the newest time.
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::JSON.parser())]
    json: Option<bool>,

    /// Folder that contains the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,
}

impl ClipArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid, or contradicts another one.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<ClipConfig> {
        let wrong = |what: &str| Error::new(Stage::Config, what);
        let from = self.from.unwrap_or(Moment::FromStart(0.0));
        let is_empty = match (from, self.to) {
            (Moment::FromStart(from), Some(Moment::FromStart(to))) => to < from,
            (Moment::BeforeNewest(from), Some(Moment::BeforeNewest(to))) => from < to,
            _ => false,
        };
        if is_empty {
            return Err(wrong("--to is before --from"));
        }
        let json = layers.required(self.json, &key::JSON)?;
        if json && file_output::is_stdout(&self.output) {
            return Err(wrong("--json and --output - would both write to stdout"));
        }
        Ok(ClipConfig {
            target: self.target,
            sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
            range: ClipRange { from, to: self.to },
            program: layers.optional(self.program, &key::PROGRAM)?,
            output: self.output,
            as_is: layers.required(self.as_is, &key::AS_IS)?,
            json,
        })
    }
}

/// Writes the clip.
///
/// # Errors
///
/// Returns an error if the recording or the part does not exist, or the file cannot be written.
pub fn run(args: ClipArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&context.layers)?;
    tracing::debug!(?config, "resolved");
    file_output::refuse_terminal(&config.output)?;
    let target = find_target(&config.target, &config.sessions_dir)?;
    let recording = OpenRecording::open(&target, config.program)?;
    let stop = || context.shutdown.is_requested();
    let cut = evidence::cut(&recording, config.range, &stop)?;
    let written = file_output::write(&config.output, &recording, &stop, |output| {
        evidence::write_clip(&recording, &cut, config.as_is, output, &stop)
            .map_err(|error| error.or_path(&config.output))
    })?;
    let Some(clip) = written else { return Ok(ExitStatus::Done) };
    if config.json {
        let mut lines = JsonLines::stdout(&context.terminal);
        lines.write_line(&json_line(&cut, clip, &target, &config.output));
        lines.finish()?;
    } else {
        let restarts = match clip.clock_restarts {
            0 => String::new(),
            count => format!("; clock restarts marked: {count}"),
        };
        tracing::info!(
            "{}: {:.3} s to {:.3} s, {:.3} s of it in front of --from; {} bytes{restarts}",
            config.output.display(),
            cut.start.time.seconds(),
            cut.to.seconds(),
            cut.lead_seconds(),
            clip.bytes,
        );
    }
    Ok(ExitStatus::Done)
}

fn json_line(cut: &Cut, clip: Clip, target: &Target, path: &Path) -> String {
    #[derive(Serialize)]
    struct ClipJson {
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        from: f64,
        to: f64,
        lead_seconds: f64,
        offset: u64,
        bytes: u64,
        clock_restarts: usize,
        path: String,
    }
    let micros = |seconds: f64| (seconds * 1e6).round() / 1e6;
    let seconds = |time: Ticks| micros(time.seconds());
    let line = ClipJson {
        session: target.session().map(|session| session.id()),
        from: seconds(cut.start.time),
        to: seconds(cut.to),
        lead_seconds: micros(cut.lead_seconds()),
        offset: cut.start.at.0,
        bytes: clip.bytes,
        clock_restarts: clip.clock_restarts,
        path: file_output::absolute(path),
    };
    // Never fails: there are only numbers and strings.
    serde_json::to_string(&line).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_end_before_the_beginning_is_a_wrong_command_line() {
        let nothing = |_: &str| None;
        let resolve = |from: &str, to: &str| {
            let [from, to] = [from, to].map(|text| Some(text.parse().unwrap()));
            ClipArgs { from, to, ..ClipArgs::default() }.resolve(&Layers::new(&nothing, None))
        };
        assert!(
            resolve("1", "2").is_ok() && resolve("-2", "-1").is_ok() && resolve("5", "-9").is_ok()
        );
        for (from, to) in [("2", "1"), ("-1", "-2")] {
            let error = resolve(from, to).unwrap_err();
            assert_eq!(ExitStatus::from(&error), ExitStatus::Usage);
        }
    }
}
