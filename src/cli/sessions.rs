//! `scenetap sessions`: lists the stored sessions, and deletes old ones.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::json;

use super::output::JsonLines;
use super::status_line::clock;
use super::{CommandContext, ExitStatus};
use crate::config::{Layers, SessionsConfig, key};
use crate::error::{Error, Result, Stage};
use crate::media::Ticks;
use crate::pipeline::housekeeping::{PruneOptions, Pruned, SessionInfo, list_sessions, prune};

/// List the stored sessions, or delete old ones
///
/// Prints start, length, size, number of frames and state of each session, series by series, the
/// oldest first. `sessions prune` deletes sessions.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "COMMAND")]
#[command(disable_help_subcommand = true, after_help = super::help::SESSIONS_EXAMPLES)]
pub struct SessionsArgs {
    #[command(subcommand)]
    command: Option<SessionsCommand>,

    /// Folder that contains the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,

    /// Print one line of JSON per session
    ///
    /// Keys: session, folder, start (RFC 3339), length (seconds), size (bytes; null if the recording
    /// was deleted), frames, live, kept, detected. A length that is not analyzed yet is estimated
    /// from the stream's clock.
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::JSON.parser())]
    json: Option<bool>,
}

#[derive(Debug, clap::Subcommand)]
enum SessionsCommand {
    Prune(PruneArgs),
}

/// Delete old sessions
///
/// Deletes the files that scenetap has written. Files of other programs stay, and so do
/// sessions that are being recorded, played or analyzed, those with a file called "keep", and
/// anything behind a symbolic link; the log gives the reason. With both --older-than and
/// --keep, deletes only sessions that both select.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::PRUNE_EXAMPLES)]
struct PruneArgs {
    /// Delete sessions that ended longer ago than this, e.g. 7d
    #[arg(long, allow_negative_numbers = true)]
    #[arg(value_name = "TIME", value_parser = key::OLDER_THAN.parser())]
    older_than: Option<Duration>,

    /// Delete all but this many of the newest sessions of each series
    #[arg(long, allow_negative_numbers = true)]
    #[arg(value_name = "COUNT", value_parser = key::KEEP.parser())]
    keep: Option<usize>,

    /// Delete recordings only: index and frames stay
    #[arg(long, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no")]
    #[arg(value_parser = key::RECORDINGS_ONLY.parser())]
    recordings_only: Option<bool>,

    /// Only print what would be deleted
    #[arg(long, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::DRY_RUN.parser())]
    dry_run: Option<bool>,

    /// Folder that contains the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,
}

impl SessionsArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<SessionsConfig> {
        Ok(SessionsConfig {
            sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
            json: layers.required(self.json, &key::JSON)?,
        })
    }
}

impl PruneArgs {
    fn resolve(self, layers: &Layers<'_>) -> Result<PruneOptions> {
        let options = PruneOptions {
            sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
            older_than: layers.optional(self.older_than, &key::OLDER_THAN)?,
            keep: layers.optional(self.keep, &key::KEEP)?,
            recordings_only: layers.required(self.recordings_only, &key::RECORDINGS_ONLY)?,
            dry_run: layers.required(self.dry_run, &key::DRY_RUN)?,
        };
        if options.older_than.is_none() && options.keep.is_none() {
            let what = "sessions prune requires --older-than or --keep";
            return Err(Error::new(Stage::Config, what));
        }
        Ok(options)
    }
}

/// Lists or deletes sessions.
///
/// # Errors
///
/// Returns an error if the folder cannot be read, or a file cannot be removed.
pub fn run(mut args: SessionsArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    match args.command.take() {
        Some(SessionsCommand::Prune(args)) => run_prune(args, context),
        None => list(args, context),
    }
}

fn list(args: SessionsArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&context.layers)?;
    tracing::debug!(?config, "resolved");
    let sessions = list_sessions(&config.sessions_dir)?;
    let mut output = JsonLines::stdout(&context.terminal);
    if config.json {
        sessions.iter().for_each(|session| {
            output.write_line(&to_json(session));
        });
    } else {
        table(&sessions).iter().for_each(|line| {
            output.write_line(line);
        });
    }
    output.finish()?;
    Ok(ExitStatus::Done)
}

fn run_prune(args: PruneArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let options = args.resolve(&context.layers)?;
    tracing::debug!(?options, "resolved");
    let mut output = JsonLines::stdout(&context.terminal);
    let deleted = match (options.dry_run, options.recordings_only) {
        (false, false) => "deleted session",
        (false, true) => "deleted the recording of session",
        (true, false) => "would delete session",
        (true, true) => "would delete the recording of session",
    };
    let mut failed = None;
    prune(&options, &mut |pruned| match pruned {
        Ok(Pruned::Deleted(session)) => {
            output.write_line(&format!("{deleted} {session}"));
        }
        Ok(Pruned::DeletedExceptOthers(session)) => {
            let others = "files of other programs stay in its folder";
            output.write_line(&format!("{deleted} {session}; {others}"));
        }
        Ok(Pruned::Stays(session, why)) => tracing::info!("session {session} stays: {why}"),
        Err(error) => {
            if let Some(earlier) = failed.replace(error) {
                tracing::error!("{earlier}");
            }
        }
    })?;
    output.finish()?;
    failed.map_or(Ok(ExitStatus::Done), Err)
}

fn to_json(info: &SessionInfo) -> String {
    let start = info.start.and_then(|start| Timestamp::try_from(start).ok());
    json!({
        "session": info.session.id(),
        "folder": info.session.folder().to_string_lossy(),
        "start": start.map(|start| format!("{start:.3}")),
        "length": info.seconds.map(|seconds| (seconds * 1e3).round() / 1e3),
        "size": info.bytes,
        "frames": info.frames,
        "live": info.is_live,
        "kept": info.is_kept,
        "detected": info.is_detected,
    })
    .to_string()
}

/// Returns the lines of the table: names left-aligned, numbers right-aligned.
fn table(sessions: &[SessionInfo]) -> Vec<String> {
    let header = ["session", "start", "length", "size", "frames", "state"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(sessions.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &[String; 6]| {
        let [session, start, length, size, frames, state] = row;
        let [w0, w1, w2, w3, w4, _] = widths[..] else { return String::new() };
        let line = format!(
            "{session:<w0$}  {start:<w1$}  {length:>w2$}  {size:>w3$}  {frames:>w4$}  {state}"
        );
        line.trim_end().replace(char::is_control, "?")
    };
    rows.iter().map(line).collect()
}

fn row(info: &SessionInfo) -> [String; 6] {
    let unknown = || "-".to_owned();
    let states = [
        (info.is_live, "live"),
        (info.is_kept, "kept"),
        (info.bytes.is_none(), "recording deleted"),
        (!info.is_live && !info.is_detected, "not finished"),
    ];
    let states: Vec<_> = states.iter().filter(|(is, _)| *is).map(|(_, state)| *state).collect();
    [
        info.session.id(),
        info.start.and_then(local_time).unwrap_or_else(unknown),
        info.seconds.map_or_else(unknown, |seconds| clock(Ticks((seconds * 90_000.0) as i64))),
        info.bytes.map_or_else(unknown, |bytes| ByteSize(bytes).to_string()),
        info.frames.map_or_else(unknown, |frames| frames.to_string()),
        states.join(", "),
    ]
}

fn local_time(time: SystemTime) -> Option<String> {
    let time: Zoned = Timestamp::try_from(time).ok()?.to_zoned(TimeZone::system());
    Some(time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::session::Session;

    fn info() -> SessionInfo {
        SessionInfo {
            session: Session::at(Path::new("/srv/cam_2")).unwrap(),
            start: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250)),
            seconds: Some(3725.5),
            bytes: Some(3 << 30),
            frames: Some(127),
            is_live: true,
            is_kept: false,
            is_detected: false,
        }
    }

    #[test]
    fn a_session_is_one_line_of_json() {
        let expected = "{\"session\":\"cam_2\",\"folder\":\"/srv/cam_2\",\
            \"start\":\"2023-11-14T22:13:20.250Z\",\"length\":3725.5,\"size\":3221225472,\
            \"frames\":127,\"live\":true,\"kept\":false,\"detected\":false}";
        assert_eq!(to_json(&info()), expected);
        let deleted =
            SessionInfo { bytes: None, frames: None, start: None, seconds: None, ..info() };
        assert!(to_json(&deleted).contains("\"start\":null,\"length\":null,\"size\":null"));
    }

    #[test]
    fn the_table_is_aligned_and_names_what_is_special() {
        let gone = SessionInfo {
            session: Session::at(Path::new("/srv/cam")).unwrap(),
            bytes: None,
            is_live: false,
            is_kept: true,
            is_detected: true,
            ..info()
        };
        let lines = table(&[gone, info()]);
        assert!(lines[0].starts_with("session  start "), "{}", lines[0]);
        assert!(
            lines[1].starts_with("cam      20") && lines[1].ends_with("kept, recording deleted")
        );
        assert!(lines[2].contains("  01:02:05  3.0 GiB     127  live"), "{}", lines[2]);
    }

    #[test]
    fn prune_requires_a_selection() {
        let environment = |_: &str| None;
        let error = PruneArgs::default().resolve(&Layers::new(&environment, None)).unwrap_err();
        assert_eq!(error.stage(), Stage::Config);
    }
}
