//! `scenetap record`: receives, records and detects scenes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::frame_lines::FrameLines;
use super::pictures::PictureOptions;
use super::status_line::{StatusLine, summary};
use super::{CommandContext, ExitStatus, Timeout, complete, on_frame, pictures, retention, tls};
use crate::agent::FrameRunner;
use crate::catalog::Entry;
use crate::config::{HostPort, Layers, RecordConfig, key};
use crate::error::{Error, Result, Stage};
use crate::host::descriptors;
use crate::ingest;
use crate::pipeline::evidence::Target;
use crate::pipeline::{self, DetectOptions, RecordOptions, RotationLimits, Sessions};
use crate::playback::{self, Destination, PlayOptions, PlayOutcome};
use crate::session::Session;
use crate::telemetry::Counters;

/// Receive a stream over TCP, record it, and keep a frame of each new scene
///
/// Accepts one sender at a time and appends its bytes unchanged to
/// SESSION/stream/recording.ts. Writes the first picture of each new scene to
/// SESSION/frames/F0001.jpg and so on, and lists them in SESSION/frames/index.json while
/// the stream still arrives. Ends on Ctrl-C or SIGTERM, after everything is written.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::RECORD_EXAMPLES)]
pub struct RecordArgs {
    /// Listen on this address; 0.0.0.0:4444 for all interfaces, port 0 for any free port
    ///
    /// There is no password. Listen where only your senders can connect, restrict
    /// addresses with --allow, or require client certificates with --tls-client-ca.
    #[arg(long, help_heading = "Network")]
    #[arg(value_name = "HOST:PORT", value_parser = key::LISTEN.parser())]
    listen: Option<HostPort>,

    /// Accept senders from this network only, e.g. 192.0.2.0/24; repeatable
    ///
    /// Closes connections from other addresses before reading a byte. Default: accept any
    /// address.
    #[arg(long, help_heading = "Network")]
    #[arg(value_name = "CIDR", value_parser = key::ALLOW.parser())]
    allow: Vec<Vec<IpNet>>,

    /// Let a new sender replace the connected one
    ///
    /// Without it, the connected sender stays and new ones are refused. A new connection
    /// replaces it only once it has sent MPEG-TS.
    #[arg(long, help_heading = "Network", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no")]
    #[arg(value_parser = key::TAKEOVER.parser())]
    takeover: Option<bool>,

    /// Disconnect a sender that has sent nothing for this many seconds; 0 disables it
    ///
    /// A host that vanished without closing the connection is detected without this
    /// option, after two minutes.
    #[arg(long, help_heading = "Network", allow_negative_numbers = true)]
    #[arg(value_name = "SECONDS", value_parser = key::IDLE_TIMEOUT.parser())]
    idle_timeout: Option<Timeout>,

    #[command(flatten)]
    tls: tls::TlsArgs,

    /// Exit when the sender disconnects, instead of waiting for the next one
    #[arg(long, help_heading = "Network", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::ONCE.parser())]
    once: Option<bool>,

    /// Folder that contains the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,

    /// Session name; an existing session is resumed
    ///
    /// Letters, digits, dots, underscores and dashes. Default: SCENETAP_DEFAULT_SESSION, which
    /// the systemd units set; without it, the local time, YYYYMMDD_HHMMSS, always as a new
    /// session.
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "NAME", value_parser = key::SESSION.parser(), add = complete::session())]
    session: Option<String>,

    /// Sync to disk at least this often, in seconds, more than 0 and up to 3600
    ///
    /// A power loss costs at most the stream received in this time.
    #[arg(long, help_heading = "Session", allow_negative_numbers = true)]
    #[arg(value_name = "SECONDS", value_parser = key::SYNC_INTERVAL.parser())]
    sync_interval: Option<Duration>,

    /// Pause recording while the disk has less free space than this, e.g. 5G or 500M
    ///
    /// Disconnects the sender before the disk is full, and accepts senders again once
    /// there is space. With --recycle, deletes the oldest recording instead.
    #[arg(long, help_heading = "Session", allow_negative_numbers = true)]
    #[arg(value_name = "BYTES", value_parser = key::MIN_FREE.parser())]
    min_free: Option<u64>,

    /// Continue in a new session after this time, e.g. 6h or 1d; 0 disables it
    ///
    /// The sender stays connected. The cut is before a key frame and its tables; no byte
    /// is lost or duplicated. With --session NAME, the sessions are NAME, NAME_2, NAME_3
    /// and so on, and a restart resumes the last one.
    #[arg(long, help_heading = "Session", allow_negative_numbers = true)]
    #[arg(value_name = "TIME", value_parser = key::ROTATE_EVERY.parser())]
    rotate_every: Option<Duration>,

    /// Continue in a new session once the recording is this long, e.g. 10G; 0 disables it
    #[arg(long, help_heading = "Session", allow_negative_numbers = true)]
    #[arg(value_name = "BYTES", value_parser = key::ROTATE_BYTES.parser())]
    rotate_bytes: Option<u64>,

    #[command(flatten)]
    retention: retention::RetentionArgs,

    /// At exit, wait up to this many seconds for a reader of stdout, a terminal, or a lock
    /// on the index
    ///
    /// Detection itself is always finished.
    #[arg(long, help_heading = "Session", allow_negative_numbers = true)]
    #[arg(value_name = "SECONDS", value_parser = key::SHUTDOWN_TIMEOUT.parser())]
    shutdown_timeout: Option<Duration>,

    #[command(flatten)]
    pictures: pictures::PictureArgs,

    /// Open mpv on the recording as soon as it starts
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::PLAY.parser())]
    play: Option<bool>,

    /// Print each kept frame as one line of JSON, with the keys of index.json
    ///
    /// Recording never waits for the reader: if it does not keep up, a line such as
    /// {"skipped": ["F0012","F0019"]} names the first and the last frame that it missed. Without
    /// a reader, recording continues.
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::JSON.parser())]
    json: Option<bool>,

    #[command(flatten)]
    on_frame: on_frame::OnFrameArgs,
}

/// Variable that names the session if no option does, not even in the file. The systemd units set it
/// to their start time.
const DEFAULT_SESSION_VARIABLE: &str = "SCENETAP_DEFAULT_SESSION";

fn session_name(flag: Option<String>, layers: &Layers<'_>) -> Result<Option<String>> {
    let name = layers.optional(flag, &key::SESSION)?;
    let default = layers.variable(DEFAULT_SESSION_VARIABLE).filter(|_| name.is_none());
    let Some(default) = default else { return Ok(name) };
    key::SESSION.parse(&default).map(Some).map_err(|what| {
        Error::new(Stage::Config, format!("{DEFAULT_SESSION_VARIABLE} {what}, not {default:?}"))
    })
}

impl RecordArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<RecordConfig> {
        let PictureOptions { rule, jpeg, program, jobs } = self.pictures.resolve(layers)?;
        let allow = Some(self.allow.concat()).filter(|allow| !allow.is_empty());
        let network = ingest::Options {
            listen: layers.listen(self.listen)?.to_string(),
            allow: layers.optional(allow, &key::ALLOW)?.unwrap_or_default(),
            takeover: layers.required(self.takeover, &key::TAKEOVER)?,
            idle_timeout: layers.required(self.idle_timeout, &key::IDLE_TIMEOUT)?,
            once: layers.required(self.once, &key::ONCE)?,
            tls: self.tls.resolve(layers)?,
        };
        let every = layers.required(self.rotate_every, &key::ROTATE_EVERY)?;
        let bytes = layers.required(self.rotate_bytes, &key::ROTATE_BYTES)?;
        let rotation = RotationLimits {
            every: Some(every).filter(|every| !every.is_zero()),
            bytes: Some(bytes).filter(|bytes| *bytes > 0),
        };
        let min_free_bytes = layers.required(self.min_free, &key::MIN_FREE)?;
        let retention = self.retention.resolve(layers, rotation, min_free_bytes)?;
        let sync_interval = layers.required(self.sync_interval, &key::SYNC_INTERVAL)?;
        let shutdown_timeout = layers.required(self.shutdown_timeout, &key::SHUTDOWN_TIMEOUT)?;
        Ok(RecordConfig {
            record: RecordOptions {
                network,
                sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
                session: session_name(self.session, layers)?,
                rotation,
                retention,
                min_free_bytes,
                detect: DetectOptions {
                    rule,
                    program,
                    jpeg,
                    jobs,
                    sync_interval,
                    lock_timeout: shutdown_timeout,
                },
            },
            play: layers.required(self.play, &key::PLAY)?,
            json: layers.required(self.json, &key::JSON)?,
            on_frame: self.on_frame.resolve(layers)?,
            shutdown_timeout,
        })
    }
}

/// Records until the sender disconnects (`--once`) or a signal arrives.
///
/// # Errors
///
/// Returns the error that prevents recording.
pub fn run(args: RecordArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&context.layers)?;
    tracing::debug!(?config, "resolved");
    context.stderr_timeout.set(config.shutdown_timeout);
    // Child processes are mpv and the command of --on-frame.
    descriptors::keep_from_children();
    let counters = Arc::new(Counters::with(context.troubles.clone()));
    let status_line = StatusLine::start(&context.terminal, Arc::clone(&counters));
    let mut lines = if config.json { Some(FrameLines::stdout()?) } else { None };
    let mut runner = config.on_frame.clone().map(FrameRunner::start).transpose()?;
    let mut on_frame = |session: &Session, entry: &Entry| {
        tracing::debug!(id = entry.id, timestamp = entry.timestamp, "kept");
        if let Some(runner) = &runner {
            runner.push(session, entry);
        }
        // Recording continues even if stdout fails. A failed write (for example on a full disk) is
        // reported by the exit status.
        if let Some(lines) = &mut lines {
            lines.push(&entry.id, &entry.to_json());
            if let Some(failure) = lines.take_failure() {
                tracing::warn!("{failure}");
            }
        }
    };
    let listening = pipeline::listen(&config.record.network)?;
    let sessions = Sessions::open(&config.record, &counters)?;
    tracing::info!("session {}", sessions.current().folder().display());
    let recorded = AtomicBool::new(false);
    let first = Target::Session(sessions.current().clone());
    let result = thread::scope(|scope| {
        if config.play {
            scope.spawn(|| play_live(&first, &recorded));
        }
        let result = pipeline::record(
            &config.record,
            listening,
            sessions,
            &counters,
            &context.shutdown,
            &mut on_frame,
        );
        // The player stays open, but is no longer supervised.
        recorded.store(true, Ordering::Relaxed);
        result
    });
    status_line.end();
    // One deadline for everything that may block the end, in whole hundredths of a second.
    let deadline = Instant::now() + config.shutdown_timeout;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        Duration::from_millis((left.as_millis() as u64).next_multiple_of(10))
    };
    let handed_out = runner.take().map_or(Ok(()), |runner| runner.finish(left()));
    context.stderr_timeout.set(left());
    result?;
    tracing::info!("{}", summary("recorded", &counters.snapshot()));
    handed_out?;
    let printed = lines.map_or(Ok(()), |lines| lines.finish(left()));
    context.stderr_timeout.set(left());
    printed?;
    Ok(ExitStatus::Done)
}

/// Implements `--play`. Recording continues even if mpv fails.
fn play_live(first: &Target, recorded: &AtomicBool) {
    let options = PlayOptions { is_recorder: true, ..PlayOptions::default() };
    match playback::play(first, Destination::Live, &options, recorded) {
        Ok(PlayOutcome::Ended(_)) => tracing::info!("player closed; recording continues"),
        Ok(_) => {}
        Err(error) => tracing::warn!("{error}; recording continues"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::catalog::JpegOptions;
    use crate::config::File;
    use crate::demux::ProgramChoice;
    use crate::detect::Rule;
    use crate::pipeline::RetentionLimits;

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let environment = |_: &str| None;
        let config = RecordArgs::default().resolve(&Layers::new(&environment, None)).unwrap();
        let expected = RecordConfig {
            record: RecordOptions {
                network: ingest::Options {
                    listen: "127.0.0.1:4444".into(),
                    allow: Vec::new(),
                    takeover: false,
                    idle_timeout: None,
                    once: false,
                    tls: None,
                },
                sessions_dir: "./sessions".into(),
                session: None,
                rotation: RotationLimits { every: None, bytes: None },
                retention: RetentionLimits::default(),
                min_free_bytes: 0,
                detect: DetectOptions {
                    rule: Rule { scene_threshold: 0.3, max_frame_interval_s: 30.0 },
                    program: ProgramChoice::FirstWithVideo,
                    jpeg: JpegOptions { quality: 90, max_width_px: None },
                    jobs: std::thread::available_parallelism().unwrap(),
                    sync_interval: Duration::from_secs(1),
                    lock_timeout: Duration::from_secs(10),
                },
            },
            play: false,
            json: false,
            on_frame: None,
            shutdown_timeout: Duration::from_secs(10),
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn a_host_of_the_old_system_is_moved_over_as_it_is() {
        let environment = |name: &str| {
            Some(match name {
                "STREAM_HOST" => "0.0.0.0".into(),
                "STREAM_PORT" => "9000".into(),
                "SCENE_THRESHOLD" => "0.25".into(),
                "MAX_FRAME_INTERVAL" => "12.5".into(),
                "SESSIONS_DIR" => "/srv/sessions".into(),
                _ => return None,
            })
        };
        let config =
            RecordArgs::default().resolve(&Layers::new(&environment, None)).unwrap().record;
        assert_eq!(config.network.listen, "0.0.0.0:9000");
        let moved = Rule { scene_threshold: 0.25, max_frame_interval_s: 12.5 };
        assert_eq!(config.detect.rule, moved);
        assert_eq!(config.sessions_dir, Path::new("/srv/sessions"));
    }

    #[test]
    fn the_units_name_of_a_session_counts_least() {
        let environment = |name: &str| {
            let names_it = name == "SCENETAP_DEFAULT_SESSION";
            names_it.then(|| "20261130_201500".into())
        };
        let session = |file: &str| {
            let file = File::parse(Path::new("f"), file).unwrap();
            let layers = Layers::new(&environment, Some(file));
            RecordArgs::default().resolve(&layers).unwrap().record.session
        };
        assert_eq!(session(""), Some("20261130_201500".to_owned()));
        assert_eq!(session("session = \"cam\""), Some("cam".to_owned()));
    }

    #[test]
    fn a_flag_can_turn_off_what_the_file_turns_on() {
        let environment = |_: &str| None;
        let file = || File::parse(Path::new("f"), "once = true\njson = true\n").unwrap();
        let on = RecordArgs::default().resolve(&Layers::new(&environment, Some(file()))).unwrap();
        assert!(on.record.network.once && on.json);
        let off = RecordArgs { once: Some(false), ..RecordArgs::default() };
        let off = off.resolve(&Layers::new(&environment, Some(file()))).unwrap();
        assert!(!off.record.network.once && off.json);
    }
}
