//! `scenetap play`: opens mpv on a growing or finished recording.

use std::path::PathBuf;

use super::target::{find_target, moment_of_frame};
use super::{CommandContext, ExitStatus, complete};
use crate::config::{Layer, Layers, PlayConfig, SceneStep, key};
use crate::error::Result;
use crate::pipeline::evidence::Moment;
use crate::playback::{self, Destination, PlayOptions, PlayOutcome};

/// Watch a recording in mpv, also while it grows
///
/// If a player is already open for the session, it jumps to the new position and the
/// command returns at once.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::PLAY_EXAMPLES)]
pub struct PlayArgs {
    /// Session name, session folder or MPEG-TS file
    #[arg(value_name = "SESSION-OR-FILE", add = complete::session_or_file())]
    target: PathBuf,

    /// Start at the live edge and follow it; --live=no starts at the beginning
    #[arg(long, help_heading = "Where to begin", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::LIVE.parser())]
    #[arg(conflicts_with = "at")]
    live: Option<bool>,

    /// Start here: seconds or [HH:]MM:SS from the start; with a minus sign, before the newest picture
    ///
    /// On the same clock as timestamp in index.json.
    #[arg(long, help_heading = "Where to begin", allow_hyphen_values = true)]
    #[arg(value_name = "TIME", value_parser = key::AT.parser())]
    at: Option<Moment>,

    /// Start at this frame of the session
    #[arg(long, help_heading = "Where to begin", value_name = "ID", conflicts_with_all = ["at", "live"])]
    frame: Option<String>,

    /// Go to the next scene after the picture that the open player shows
    #[arg(long, help_heading = "Where to begin", conflicts_with_all = ["at", "live", "frame"])]
    next_scene: bool,

    /// Go to the previous scene; if no player is open, to the newest
    #[arg(long, help_heading = "Where to begin")]
    #[arg(conflicts_with_all = ["at", "live", "frame", "next_scene"])]
    prev_scene: bool,

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
            Some(at) if at.layer >= layer => Some(at.value),
            _ if is_live => None,
            _ => Some(Moment::FromStart(0.0)),
        };
        Ok(PlayConfig {
            target: self.target,
            sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
            from,
            frame: self.frame,
            step: match (self.next_scene, self.prev_scene) {
                (true, _) => Some(SceneStep::Next),
                (_, true) => Some(SceneStep::Previous),
                _ => None,
            },
            lock_timeout: layers.required(None, &key::SHUTDOWN_TIMEOUT)?,
        })
    }
}

/// Opens mpv, or moves an open player.
///
/// # Errors
///
/// Returns an error if the recording does not exist or mpv cannot be run.
pub fn run(args: PlayArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&context.layers)?;
    tracing::debug!(?config, "resolved");
    let target = find_target(&config.target, &config.sessions_dir)?;
    let to = match (config.step, &config.frame, config.from) {
        (Some(SceneStep::Next), ..) => Destination::NextScene,
        (Some(SceneStep::Previous), ..) => Destination::PreviousScene,
        (None, Some(id), _) => {
            Destination::Moment(moment_of_frame(id, &target, config.lock_timeout)?)
        }
        (None, None, Some(moment)) => Destination::Moment(moment),
        (None, None, None) => Destination::Live,
    };
    let options = PlayOptions::default();
    match playback::play(&target, to, &options, context.shutdown.flag())? {
        PlayOutcome::Steered => tracing::info!("moved the open player"),
        PlayOutcome::Ended(_) | PlayOutcome::Stopped => {}
    }
    Ok(ExitStatus::Done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::File;

    fn from(args: PlayArgs, file: &str) -> Option<Moment> {
        let environment = |_: &str| None;
        let file = File::parse(Path::new("f"), file).unwrap();
        args.resolve(&Layers::new(&environment, Some(file))).unwrap().from
    }

    fn moment(seconds: f64) -> Option<Moment> {
        Some(Moment::FromStart(seconds))
    }

    #[test]
    fn the_live_edge_is_where_it_begins_unless_a_time_is_given() {
        assert_eq!(from(PlayArgs::default(), ""), None);
        assert_eq!(from(PlayArgs::default(), "at = 12.5"), moment(12.5));
        assert_eq!(from(PlayArgs { at: moment(3.0), ..PlayArgs::default() }, ""), moment(3.0));
        assert_eq!(from(PlayArgs::default(), "live = false"), moment(0.0));
    }

    #[test]
    fn live_on_the_command_line_outranks_a_time_in_the_file() {
        let live = PlayArgs { live: Some(true), ..PlayArgs::default() };
        assert_eq!(from(live, "at = 12.5"), None);
        assert_eq!(from(PlayArgs::default(), "at = '-1:30'"), Some(Moment::BeforeNewest(90.0)));
        let at = PlayArgs { at: moment(3.0), ..PlayArgs::default() };
        assert_eq!(from(at, "live = true"), moment(3.0));
    }
}
