//! `scenetap play`: opens mpv on a growing or finished recording.

use std::path::{Path, PathBuf};

use super::{CommandContext, ExitStatus};
use crate::config::{Layer, Layers, PlayConfig, key};
use crate::error::Result;
use crate::playback::{self, PlayOptions, PlayOutcome, Position};
use crate::session::Session;

/// Watch a recording in mpv, also while it grows
///
/// If a player is already open for the session, it jumps to the new position and the
/// command returns at once.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::PLAY_EXAMPLES)]
pub struct PlayArgs {
    /// Session name, session folder or MPEG-TS file
    #[arg(value_name = "SESSION-OR-FILE")]
    target: PathBuf,

    /// Start at the live edge and follow it; --live=no starts at the beginning
    #[arg(long, help_heading = "Where to begin", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::LIVE.parser())]
    #[arg(conflicts_with = "at")]
    live: Option<bool>,

    /// Start this many seconds from the beginning, as timestamp in index.json counts
    #[arg(long, help_heading = "Where to begin", allow_negative_numbers = true)]
    #[arg(value_name = "SECONDS", value_parser = key::AT.parser())]
    at: Option<f64>,

    /// Folder that contains the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,
}

impl PlayArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<PlayConfig> {
        let at = layers.ranked(self.at, &key::AT)?;
        let live = layers.ranked(self.live, &key::LIVE)?;
        let (is_live, layer) =
            live.map_or((true, Layer::Default), |ranked| (ranked.value, ranked.layer));
        let from = match at {
            // `--live` on the command line overrides `at` in the file.
            Some(at) if at.layer >= layer => Position::Seconds(at.value),
            _ if is_live => Position::Live,
            _ => Position::Seconds(0.0),
        };
        Ok(PlayConfig {
            target: self.target,
            sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
            from,
        })
    }
}

/// Finds the recording: `target` is, in this order, the path of a file, the path of a
/// session folder, or the name of a session in `sessions_dir`.
///
/// # Errors
///
/// Returns an error if there is no such recording.
pub fn find_recording(target: &Path, sessions_dir: &Path) -> Result<PathBuf> {
    if target.is_file() {
        return Ok(target.to_owned());
    }
    Ok(Session::find(sessions_dir, target)?.recording_ts())
}

/// Opens mpv, or moves the one that is open.
///
/// # Errors
///
/// Returns an error if the recording does not exist or mpv cannot be run.
pub fn run(args: PlayArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&context.layers)?;
    tracing::debug!(?config, "resolved");
    let recording = find_recording(&config.target, &config.sessions_dir)?;

    match playback::play(&recording, config.from, &PlayOptions::default(), context.shutdown.flag())?
    {
        PlayOutcome::Steered => tracing::info!("moved the open player"),
        PlayOutcome::Ended(_) | PlayOutcome::Stopped => {}
    }
    Ok(ExitStatus::Done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::File;

    fn from(args: PlayArgs, file: &str) -> Position {
        let environment = |_: &str| None;
        let file = File::parse(Path::new("f"), file).unwrap();
        args.resolve(&Layers::new(&environment, Some(file))).unwrap().from
    }

    #[test]
    fn the_live_edge_is_where_it_begins_unless_a_time_is_given() {
        assert_eq!(from(PlayArgs::default(), ""), Position::Live);
        assert_eq!(from(PlayArgs::default(), "at = 12.5"), Position::Seconds(12.5));
        assert_eq!(
            from(PlayArgs { at: Some(3.0), ..PlayArgs::default() }, ""),
            Position::Seconds(3.0)
        );
        assert_eq!(from(PlayArgs::default(), "live = false"), Position::Seconds(0.0));
    }

    #[test]
    fn live_on_the_command_line_outranks_a_time_in_the_file() {
        let live = PlayArgs { live: Some(true), ..PlayArgs::default() };
        assert_eq!(from(live, "at = 12.5"), Position::Live);
        let at = PlayArgs { at: Some(3.0), ..PlayArgs::default() };
        assert_eq!(from(at, "live = true"), Position::Seconds(3.0));
    }

    #[test]
    fn a_session_is_found_by_name_by_folder_and_by_file() {
        let sessions = tempfile::tempdir().unwrap();
        let recording = sessions.path().join("s1/stream/recording.ts");
        std::fs::create_dir_all(recording.parent().unwrap()).unwrap();
        std::fs::write(&recording, b"").unwrap();
        for target in [PathBuf::from("s1"), sessions.path().join("s1"), recording.clone()] {
            assert_eq!(find_recording(&target, sessions.path()).unwrap(), recording);
        }
        let error = find_recording(Path::new("s2"), sessions.path()).unwrap_err();
        assert!(error.to_string().starts_with("session: s2: no session"), "{error}");
    }
}
