//! `scenetap scan`: detects scenes in a finished file.

use std::path::PathBuf;
use std::sync::Arc;

use super::output::{JsonLines, WriteOutcome};
use super::pictures::PictureOptions;
use super::progress::ScanBar;
use super::status_line::summary;
use super::{CommandContext, ExitStatus, frame_table, pictures};
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
                outcome = output.write_line(frame_table::HEAD);
            }
            if outcome == WriteOutcome::Yes {
                outcome = output.write_line(&frame_table::row(entry));
            }
        }
        // Ending early loses no data: the file can be scanned again.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
