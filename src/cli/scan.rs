//! `scenetap scan`: detects scenes in a finished file.

use std::path::PathBuf;
use std::sync::Arc;

use super::output::{JsonLines, WriteOutcome};
use super::pictures::PictureOptions;
use super::progress::ScanBar;
use super::status_line::summary;
use super::{CommandContext, ExitStatus, pictures};
use crate::catalog::Entry;
use crate::config::{Layers, ScanConfig, key};
use crate::error::Result;
use crate::pipeline::{self, ScanOptions};
use crate::telemetry::Counters;

/// Find the scene changes of a finished recording
///
/// Finds the same frames, times and scores as record does, and prints a row for each: time,
/// score, reason, byte offset. With --json, prints a line of JSON for each instead.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::SCAN_EXAMPLES)]
pub struct ScanArgs {
    /// MPEG-TS file to scan
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// List programs, streams, codecs and PIDs, and exit
    ///
    /// Marks the stream used for detection. With --json, prints one line of JSON per
    /// program.
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::LIST.parser())]
    list: Option<bool>,

    /// Write JPEGs and index.json to this folder
    #[arg(long, help_heading = "Output")]
    #[arg(value_name = "DIR", value_parser = key::FRAMES_DIR.parser())]
    frames_dir: Option<PathBuf>,

    /// Print each kept frame as one line of JSON, with the keys of index.json
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::JSON.parser())]
    json: Option<bool>,

    /// Write the time and score of every picture to this CSV file, as pts_time,score
    #[arg(long, help_heading = "Output")]
    #[arg(value_name = "FILE.csv", value_parser = key::SCORES.parser())]
    scores: Option<PathBuf>,

    #[command(flatten)]
    pictures: pictures::PictureArgs,
}

impl ScanArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<ScanConfig> {
        let PictureOptions { rule, jpeg, program, jobs } = self.pictures.resolve(layers)?;
        Ok(ScanConfig {
            scan: ScanOptions {
                file: self.file,
                frames_dir: layers.optional(self.frames_dir, &key::FRAMES_DIR)?,
                scores: layers.optional(self.scores, &key::SCORES)?,
                rule,
                program,
                jpeg,
                jobs,
            },
            list: layers.required(self.list, &key::LIST)?,
            json: layers.required(self.json, &key::JSON)?,
        })
    }
}

/// Scans the file to its end, or until a signal arrives.
///
/// # Errors
///
/// Returns an error if the file cannot be read or a result cannot be written.
pub fn run(args: ScanArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&context.layers)?;
    tracing::debug!(?config, "resolved");
    if config.list {
        return super::list::run(&config, context);
    }
    let counters = Arc::new(Counters::new());
    let bar = ScanBar::start(&context.terminal, Arc::clone(&counters));
    let mut output = JsonLines::stdout(&context.terminal);
    let shutdown = context.shutdown.clone();
    let mut is_first = true;
    let mut on_frame = |entry: &Entry| {
        let mut outcome = WriteOutcome::Yes;
        if config.json {
            outcome = output.write_line(&entry.to_json());
        } else {
            if std::mem::take(&mut is_first) {
                outcome = output.write_line(TABLE_HEAD);
            }
            if outcome == WriteOutcome::Yes {
                outcome = output.write_line(&table_row(entry));
            }
        }
        // Ending early loses nothing: the file is still there.
        if outcome != WriteOutcome::Yes {
            shutdown.request();
        }
    };
    let result = pipeline::scan(&config.scan, &counters, &shutdown, &mut on_frame);
    bar.end();
    result?;
    tracing::info!("{}", summary("scanned", &counters.snapshot()));
    output.finish()?;
    Ok(ExitStatus::Done)
}

const TABLE_HEAD: &str = "        time     score  reason         offset";

/// Returns a kept frame as a row for people: time from the start, score, reason, byte offset.
fn table_row(entry: &Entry) -> String {
    let millis = (entry.timestamp.max(0.0) * 1e3).round() as u64;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let score = entry.score.unwrap_or_default();
    let (reason, offset) = (entry.reason.as_deref().unwrap_or_default(), entry.offset.unwrap_or(0));
    format!(
        "{hours:02}:{minutes:02}:{seconds:02}.{millis:03}  {score:.6}  {reason:<8}  {offset:>11}"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_row_under_its_head() {
        let entry = Entry {
            id: "F0002".into(),
            timestamp: 3723.9796,
            path: None,
            sent_to_agent: false,
            score: Some(0.684637),
            reason: Some("scene".into()),
            offset: Some(37036),
            keyframe_offset: Some(564),
            captured_at: None,
            damaged: false,
            other: serde_json::Map::new(),
        };
        let row = table_row(&entry);
        assert_eq!(row, "01:02:03.980  0.684637  scene           37036");
        assert_eq!(row.len(), TABLE_HEAD.len());
    }

    #[test]
    fn all_cores_work_unless_told_otherwise() {
        let environment = |_: &str| None;
        let layers = Layers::new(&environment, None);
        let cores = std::thread::available_parallelism().unwrap();
        assert_eq!(ScanArgs::default().resolve(&layers).unwrap().scan.jobs, cores);
        let one = |name: &str| (name == "SCENETAP_JOBS").then(|| "1".into());
        assert_eq!(
            ScanArgs::default().resolve(&Layers::new(&one, None)).unwrap().scan.jobs.get(),
            1
        );
    }
}
