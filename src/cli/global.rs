//! Options that every command accepts.

use std::path::PathBuf;

use crate::config::{Layer, Layers, key};
use crate::error::Result;
use crate::telemetry::{LogFormat, LogOptions};

/// Global options, as typed.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Log more: -v for debug messages, -vv for trace messages
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    #[arg(conflicts_with = "quiet", display_order = 900)]
    verbose: u8,

    /// Log errors only; hide the status line and progress bars
    #[arg(short, long, global = true, display_order = 901)]
    quiet: bool,

    /// Filter log messages by module and level, for example info,scenetap=debug
    ///
    /// Levels are error, warn, info, debug, trace and off. A level applies to everything,
    /// or to one module as in MODULE=LEVEL. Overrides -v and -q given in the same place.
    #[arg(long, global = true, value_name = "FILTER", value_parser = key::LOG.parser())]
    #[arg(display_order = 902)]
    log: Option<String>,

    /// Format of log lines: text for people, json for programs (one object per line)
    #[arg(long, global = true, value_name = "text|json", value_parser = key::LOG_FORMAT.parser())]
    #[arg(display_order = 903)]
    log_format: Option<LogFormat>,

    /// Read options from this TOML file, one per line as in scene-threshold = 0.4
    ///
    /// Keys are option names without the dashes; all commands share one flat list. An
    /// unknown key is an error. Without this option, scenetap reads
    /// ~/.config/scenetap/config.toml or, if that does not exist,
    /// /etc/scenetap/config.toml.
    #[arg(long, global = true, value_name = "FILE.toml", display_order = 904)]
    pub config: Option<PathBuf>,
}

impl GlobalArgs {
    /// Resolves the log filter, the log format and whether to show progress.
    pub fn resolve(&self, layers: &Layers<'_>) -> Result<LogOptions> {
        let verbose = layers.ranked((self.verbose > 0).then_some(self.verbose), &key::VERBOSE)?;
        let quiet = layers.ranked(self.quiet.then_some(true), &key::QUIET)?;
        let (level, verbose_layer) =
            verbose.map_or((0, Layer::Default), |ranked| (ranked.value, ranked.layer));
        let (wants_quiet, quiet_layer) =
            quiet.map_or((false, Layer::Default), |ranked| (ranked.value, ranked.layer));
        // `--verbose` in a higher layer overrides `--quiet` in a lower one.
        let is_quiet = wants_quiet && quiet_layer >= verbose_layer;
        let layer = if is_quiet { quiet_layer } else { verbose_layer };

        let default_filter = match (is_quiet, level) {
            (true, _) => "error",
            (false, 0) => "warn,scenetap=info",
            (false, 1) => "info,scenetap=debug",
            (false, _) => "debug,scenetap=trace",
        };
        let filter = match layers.ranked(self.log.clone(), &key::LOG)? {
            Some(filter) if filter.layer >= layer => filter.value,
            _ => default_filter.to_owned(),
        };
        let format = layers.required(self.log_format, &key::LOG_FORMAT)?;
        Ok(LogOptions { filter, format, progress: !is_quiet })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::File;

    fn filter(args: GlobalArgs, variables: &[(&str, &str)], file: &str) -> String {
        let environment = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        let file = File::parse(Path::new("f.toml"), file).unwrap();
        args.resolve(&Layers::new(&environment, Some(file))).unwrap().filter
    }

    #[test]
    fn information_is_told_unless_somebody_says_otherwise() {
        assert_eq!(filter(GlobalArgs::default(), &[], ""), "warn,scenetap=info");
        assert_eq!(filter(GlobalArgs { quiet: true, ..GlobalArgs::default() }, &[], ""), "error");
        let verbose = GlobalArgs { verbose: 1, ..GlobalArgs::default() };
        assert_eq!(filter(verbose, &[], ""), "info,scenetap=debug");
        assert_eq!(filter(GlobalArgs::default(), &[], "quiet = true"), "error");
    }

    #[test]
    fn verbose_on_the_command_line_outranks_quiet_and_a_filter_below() {
        let verbose = || GlobalArgs { verbose: 2, ..GlobalArgs::default() };
        let below = [("SCENETAP_QUIET", "1"), ("SCENETAP_LOG", "warn")];
        assert_eq!(filter(verbose(), &below, "quiet = true"), "debug,scenetap=trace");
        let above = GlobalArgs { log: Some("off".into()), ..verbose() };
        assert_eq!(filter(above, &below, ""), "off");
    }

    #[test]
    fn a_filter_in_the_environment_counts() {
        assert_eq!(
            filter(GlobalArgs::default(), &[("SCENETAP_LOG", "trace")], "verbose = 1"),
            "trace"
        );
    }
}
