//! All options, by name.
//!
//! The name `frame-width` stands for the flag `--frame-width`, the variable
//! `SCENETAP_FRAME_WIDTH` and the key `frame-width` (or `frame_width`) of the file. All
//! commands share the names.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use ipnet::IpNet;

use super::values::{self, CommandWords, HostPort, Parsed};
use crate::catalog::Since;
use crate::pipeline::evidence::Moment;
use crate::send::Speed;
use crate::telemetry::LogFormat;

/// Environment variable that names the configuration file if `--config` is not given.
pub const CONFIG_VARIABLE: &str = "SCENETAP_CONFIG";

/// Type of a value in the configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// A quoted string.
    Text,
    /// A number, with or without a fraction.
    Number,
    /// A number without a fraction.
    Whole,
    /// `true` or `false`.
    Switch,
    /// A number or a quoted string.
    NumberOrText,
    /// A quoted string, or an array of strings, which is joined with commas.
    List,
    /// A quoted string, which is split as a shell does; or an array of strings, which is used
    /// unchanged.
    Words,
}

/// An option: its name, its default and its parser.
#[derive(Debug)]
pub struct Key<T> {
    /// The flag's name without dashes, and the key in the file.
    pub name: &'static str,
    /// The default, in the form used on the command line.
    pub default: Option<&'static str>,
    /// An older environment variable with the same meaning.
    pub old_variable: Option<&'static str>,
    /// Type of the value in the file.
    pub kind: ValueKind,
    parse: fn(&OsStr) -> Parsed<T>,
}

impl<T> Key<T> {
    const fn new(name: &'static str, kind: ValueKind, parse: fn(&OsStr) -> Parsed<T>) -> Self {
        Key { name, default: None, old_variable: None, kind, parse }
    }

    const fn with_default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn with_old_variable(mut self, old_variable: &'static str) -> Self {
        self.old_variable = Some(old_variable);
        self
    }

    /// Parses a value.
    ///
    /// # Errors
    ///
    /// Returns a description of valid values, such as "must be a number from 0 to 1".
    pub fn parse(&self, value: &OsStr) -> Result<T, String> {
        (self.parse)(value)
    }
}

impl<T: Clone + Send + Sync + 'static> Key<T> {
    /// Returns the same parser as a clap value parser.
    pub fn parser(&self) -> impl TypedValueParser<Value = T> + use<T> {
        let parse = self.parse;
        OsStringValueParser::new().try_map(move |value: OsString| parse(&value))
    }
}

/// The parts of a [`Key`] that do not depend on the type of its value.
pub trait AnyKey: Sync {
    /// The flag's name without dashes, and the key in the file.
    fn name(&self) -> &'static str;
    /// Returns the default, in the form used on the command line.
    fn default(&self) -> Option<&'static str>;
    /// Type of the value in the file.
    fn kind(&self) -> ValueKind;
    /// Validates a value.
    ///
    /// # Errors
    ///
    /// As [`Key::parse`].
    fn check(&self, value: &OsStr) -> Result<(), String>;

    /// Returns the name of the environment variable.
    fn variable(&self) -> String {
        format!("SCENETAP_{}", self.name().replace('-', "_").to_ascii_uppercase())
    }
}

impl<T> AnyKey for Key<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn default(&self) -> Option<&'static str> {
        self.default
    }

    fn kind(&self) -> ValueKind {
        self.kind
    }

    fn check(&self, value: &OsStr) -> Result<(), String> {
        self.parse(value).map(drop)
    }
}

/// The keys.
#[allow(missing_docs)] // The help text of each flag, in `cli`, describes it.
pub mod key {
    use super::*;

    pub static LISTEN: Key<HostPort> =
        Key::new("listen", ValueKind::Text, values::listen).with_default("127.0.0.1:4444");
    pub static SESSIONS_DIR: Key<PathBuf> = Key::new("sessions-dir", ValueKind::Text, values::path)
        .with_default("./sessions")
        .with_old_variable("SESSIONS_DIR");
    pub static SESSION: Key<String> = Key::new("session", ValueKind::Text, values::session);
    pub static ONCE: Key<bool> =
        Key::new("once", ValueKind::Switch, values::switch).with_default("no");
    pub static ALLOW: Key<Vec<IpNet>> = Key::new("allow", ValueKind::List, values::networks);
    pub static IDLE_TIMEOUT: Key<Option<Duration>> =
        Key::new("idle-timeout", ValueKind::Number, values::idle_timeout).with_default("0");
    pub static TAKEOVER: Key<bool> =
        Key::new("takeover", ValueKind::Switch, values::switch).with_default("no");
    pub static TLS_CERT: Key<PathBuf> = Key::new("tls-cert", ValueKind::Text, values::path);
    pub static TLS_KEY: Key<PathBuf> = Key::new("tls-key", ValueKind::Text, values::path);
    pub static TLS_CLIENT_CA: Key<PathBuf> =
        Key::new("tls-client-ca", ValueKind::Text, values::path);
    pub static MIN_FREE: Key<u64> =
        Key::new("min-free", ValueKind::NumberOrText, values::byte_count).with_default("0");
    pub static ROTATE_EVERY: Key<Duration> =
        Key::new("rotate-every", ValueKind::NumberOrText, values::time_span).with_default("0");
    pub static ROTATE_BYTES: Key<u64> =
        Key::new("rotate-bytes", ValueKind::NumberOrText, values::byte_count).with_default("0");
    pub static KEEP_FOR: Key<Duration> =
        Key::new("keep-for", ValueKind::NumberOrText, values::time_span).with_default("0");
    pub static KEEP_BYTES: Key<u64> =
        Key::new("keep-bytes", ValueKind::NumberOrText, values::byte_count).with_default("0");
    pub static KEEP_FRAMES_FOR: Key<Duration> =
        Key::new("keep-frames-for", ValueKind::NumberOrText, values::time_span).with_default("0");
    pub static RECYCLE: Key<bool> =
        Key::new("recycle", ValueKind::Switch, values::switch).with_default("no");
    pub static PLAY: Key<bool> =
        Key::new("play", ValueKind::Switch, values::switch).with_default("no");
    pub static SYNC_INTERVAL: Key<Duration> =
        Key::new("sync-interval", ValueKind::Number, values::sync_interval).with_default("1");

    pub static SHUTDOWN_TIMEOUT: Key<Duration> =
        Key::new("shutdown-timeout", ValueKind::Number, values::shutdown_timeout)
            .with_default("10");

    pub static SCENE_THRESHOLD: Key<f64> =
        Key::new("scene-threshold", ValueKind::Number, values::scene_threshold)
            .with_default("0.3")
            .with_old_variable("SCENE_THRESHOLD");
    pub static MAX_FRAME_INTERVAL: Key<f64> =
        Key::new("max-frame-interval", ValueKind::Number, values::max_frame_interval_s)
            .with_default("30")
            .with_old_variable("MAX_FRAME_INTERVAL");
    pub static PROGRAM: Key<u16> = Key::new("program", ValueKind::Whole, values::program);

    // Similar to ffmpeg's -q:v 2.
    pub static JPEG_QUALITY: Key<u8> =
        Key::new("jpeg-quality", ValueKind::Whole, values::jpeg_quality).with_default("90");
    pub static FRAME_WIDTH: Key<u32> =
        Key::new("frame-width", ValueKind::Whole, values::frame_width_px);

    pub static JSON: Key<bool> =
        Key::new("json", ValueKind::Switch, values::switch).with_default("no");
    pub static ON_FRAME: Key<CommandWords> =
        Key::new("on-frame", ValueKind::Words, values::command);
    pub static ON_FRAME_TIMEOUT: Key<Duration> =
        Key::new("on-frame-timeout", ValueKind::Number, values::on_frame_timeout)
            .with_default("30");
    pub static ON_FRAME_JOBS: Key<NonZeroUsize> =
        Key::new("on-frame-jobs", ValueKind::Whole, values::on_frame_jobs).with_default("1");
    pub static ON_FRAME_RETRY: Key<u32> =
        Key::new("on-frame-retry", ValueKind::Whole, values::on_frame_retry).with_default("0");
    pub static LIST: Key<bool> =
        Key::new("list", ValueKind::Switch, values::switch).with_default("no");
    pub static FRAMES_DIR: Key<PathBuf> = Key::new("frames-dir", ValueKind::Text, values::path);
    pub static SCORES: Key<PathBuf> = Key::new("scores", ValueKind::Text, values::path);
    pub static JOBS: Key<NonZeroUsize> = Key::new("jobs", ValueKind::Whole, values::jobs);

    pub static TO: Key<HostPort> = Key::new("to", ValueKind::Text, values::destination);
    pub static SPEED: Key<Speed> =
        Key::new("speed", ValueKind::NumberOrText, values::speed).with_default("1");
    pub static LOOP: Key<bool> =
        Key::new("loop", ValueKind::Switch, values::switch).with_default("no");

    pub static REPAIR: Key<bool> =
        Key::new("repair", ValueKind::Switch, values::switch).with_default("no");

    pub static OLDER_THAN: Key<Duration> =
        Key::new("older-than", ValueKind::NumberOrText, values::time_span);
    pub static KEEP: Key<usize> = Key::new("keep", ValueKind::Whole, values::session_count);
    pub static RECORDINGS_ONLY: Key<bool> =
        Key::new("recordings-only", ValueKind::Switch, values::switch).with_default("no");
    pub static DRY_RUN: Key<bool> =
        Key::new("dry-run", ValueKind::Switch, values::switch).with_default("no");

    pub static UNSENT: Key<bool> =
        Key::new("unsent", ValueKind::Switch, values::switch).with_default("no");
    pub static SINCE: Key<Since> = Key::new("since", ValueKind::NumberOrText, values::since);
    pub static LIMIT: Key<usize> = Key::new("limit", ValueKind::Whole, values::frame_count);
    pub static FOLLOW: Key<bool> =
        Key::new("follow", ValueKind::Switch, values::switch).with_default("no");
    pub static TIMEOUT: Key<Option<Duration>> =
        Key::new("timeout", ValueKind::Number, values::idle_timeout).with_default("0");
    pub static LEASE: Key<Duration> = Key::new("lease", ValueKind::Number, values::lease);
    pub static HOLDER: Key<String> = Key::new("holder", ValueKind::Text, values::holder);

    pub static LIVE: Key<bool> =
        Key::new("live", ValueKind::Switch, values::switch).with_default("yes");
    pub static AT: Key<Moment> = Key::new("at", ValueKind::NumberOrText, values::moment);
    pub static AS_IS: Key<bool> =
        Key::new("as-is", ValueKind::Switch, values::switch).with_default("no");
    pub static WIDTH: Key<u32> = Key::new("width", ValueKind::Whole, values::frame_width_px);

    pub static VERBOSE: Key<u8> =
        Key::new("verbose", ValueKind::Whole, values::verbosity).with_default("0");
    pub static QUIET: Key<bool> =
        Key::new("quiet", ValueKind::Switch, values::switch).with_default("no");
    pub static LOG: Key<String> = Key::new("log", ValueKind::Text, values::log_filter);
    pub static LOG_FORMAT: Key<LogFormat> =
        Key::new("log-format", ValueKind::Text, values::log_format).with_default("text");
}

/// All keys, in the order of the help texts.
pub static ALL: &[&dyn AnyKey] = &[
    &key::LISTEN,
    &key::ALLOW,
    &key::TAKEOVER,
    &key::IDLE_TIMEOUT,
    &key::TLS_CERT,
    &key::TLS_KEY,
    &key::TLS_CLIENT_CA,
    &key::ONCE,
    &key::SESSIONS_DIR,
    &key::SESSION,
    &key::SYNC_INTERVAL,
    &key::SHUTDOWN_TIMEOUT,
    &key::MIN_FREE,
    &key::ROTATE_EVERY,
    &key::ROTATE_BYTES,
    &key::KEEP_FOR,
    &key::KEEP_BYTES,
    &key::KEEP_FRAMES_FOR,
    &key::RECYCLE,
    &key::PLAY,
    &key::SCENE_THRESHOLD,
    &key::MAX_FRAME_INTERVAL,
    &key::PROGRAM,
    &key::JPEG_QUALITY,
    &key::FRAME_WIDTH,
    &key::JSON,
    &key::ON_FRAME,
    &key::ON_FRAME_TIMEOUT,
    &key::ON_FRAME_JOBS,
    &key::ON_FRAME_RETRY,
    &key::LIST,
    &key::FRAMES_DIR,
    &key::SCORES,
    &key::JOBS,
    &key::TO,
    &key::SPEED,
    &key::LOOP,
    &key::REPAIR,
    &key::OLDER_THAN,
    &key::KEEP,
    &key::RECORDINGS_ONLY,
    &key::DRY_RUN,
    &key::UNSENT,
    &key::SINCE,
    &key::LIMIT,
    &key::FOLLOW,
    &key::TIMEOUT,
    &key::LEASE,
    &key::HOLDER,
    &key::LIVE,
    &key::AT,
    &key::WIDTH,
    &key::AS_IS,
    &key::VERBOSE,
    &key::QUIET,
    &key::LOG,
    &key::LOG_FORMAT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_own_option_takes() {
        for key in ALL {
            if let Some(default) = key.default() {
                assert_eq!(key.check(OsStr::new(default)), Ok(()), "{}", key.name());
            }
        }
    }

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<_> = ALL.iter().map(|key| key.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
