//! `scenetap record`: listen, record, detect.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;

use super::output::{JsonLines, Written};
use super::status_line::{StatusLine, summary};
use super::{ExitStatus, World, pictures, tls};
use crate::catalog::Entry;
use crate::config::{HostPort, Layers, RecordConfig, key};
use crate::error::Result;
use crate::pipeline::{self, Sessions};
use crate::playback::{self, PlayOptions, PlayOutcome, Position};
use crate::telemetry::Counters;

/// By another name: clap takes the inner one of two `Option`s for a value that may be
/// left out.
type Timeout = Option<Duration>;

/// Receive a stream over TCP, record it, and keep the frames where it changes
///
/// Waits for one sender at a time and writes what it sends, unchanged, to
/// SESSION/stream/recording.ts. Pictures at which the scene changes become
/// SESSION/frames/F0001.jpg and so on, listed in SESSION/frames/index.json while
/// the stream still arrives. Ends on Ctrl-C or SIGTERM, with everything written.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::RECORD_EXAMPLES)]
pub struct Args {
    /// Where senders connect; 0.0.0.0:4444 for every interface, port 0 for any
    ///
    /// There is no password: listen where only your senders can reach you, say with
    /// --allow who they are, or let --tls-client-ca ask for their certificates.
    #[arg(long, help_heading = "Network")]
    #[arg(value_name = "HOST:PORT", value_parser = key::LISTEN.parser())]
    listen: Option<HostPort>,

    /// From which network senders may connect, as 192.0.2.0/24; may be repeated
    ///
    /// Anybody else is turned away before a byte is read. Without it everybody may
    /// connect who can reach the port.
    #[arg(long, help_heading = "Network")]
    #[arg(value_name = "CIDR", value_parser = key::ALLOW.parser())]
    allow: Vec<Vec<IpNet>>,

    /// Let a new sender take the place of the one that is connected
    ///
    /// Without it the one that is connected stays and others are refused. Only a
    /// sender of MPEG-TS counts as one.
    #[arg(long, help_heading = "Network", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no")]
    #[arg(value_parser = key::TAKEOVER.parser())]
    takeover: Option<bool>,

    /// Turn a sender away that has sent nothing for so many seconds; 0 for never
    ///
    /// A host that is gone without a word is noticed without this, after two minutes.
    #[arg(long, help_heading = "Network", allow_negative_numbers = true)]
    #[arg(value_name = "SECONDS", value_parser = key::IDLE_TIMEOUT.parser())]
    idle_timeout: Option<Timeout>,

    #[command(flatten)]
    tls: tls::Args,

    /// End when the sender leaves, instead of waiting for the next one
    #[arg(long, help_heading = "Network", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::ONCE.parser())]
    once: Option<bool>,

    /// The folder of the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,

    /// The session's name; one that exists is gone on with
    ///
    /// Letters, digits, dots, underscores and dashes. Without it, the local time
    /// (YYYYMMDD_HHMMSS) is the name, and no existing session is touched.
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "NAME", value_parser = key::SESSION.parser())]
    session: Option<String>,

    /// The most a power loss may cost, in seconds, up to 3600
    ///
    /// What was received is on the disk, and not only with the system, after so
    /// long at the latest.
    #[arg(long, help_heading = "Session", allow_negative_numbers = true)]
    #[arg(value_name = "SECONDS", value_parser = key::SYNC_INTERVAL.parser())]
    sync_interval: Option<Duration>,

    /// Pause while the disk has less space left, as 5G or 500M
    ///
    /// The sender is turned away before the disk is full; with space again the next
    /// one is recorded.
    #[arg(long, help_heading = "Session", allow_negative_numbers = true)]
    #[arg(value_name = "BYTES", value_parser = key::MIN_FREE.parser())]
    min_free: Option<u64>,

    /// Go on in a new session after so long, as 6h or 1d; 0 for never
    ///
    /// The sender stays connected. The cut is in front of a key frame, with its tables,
    /// and no byte is lost or doubled. With --session NAME the sessions are NAME,
    /// NAME_2, NAME_3 and so on, and a restart goes on with the last of them.
    #[arg(long, help_heading = "Session", allow_negative_numbers = true)]
    #[arg(value_name = "TIME", value_parser = key::ROTATE_EVERY.parser())]
    rotate_every: Option<Duration>,

    /// Go on in a new session when the recording is so long, as 10G; 0 for never
    #[arg(long, help_heading = "Session", allow_negative_numbers = true)]
    #[arg(value_name = "BYTES", value_parser = key::ROTATE_BYTES.parser())]
    rotate_bytes: Option<u64>,

    #[command(flatten)]
    pictures: pictures::Args,

    /// Open mpv on the recording as soon as it begins
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::PLAY.parser())]
    play: Option<bool>,

    /// Write each kept frame to stdout as a line of JSON, with the index's keys
    ///
    /// Recording ends, with status 0, when whoever reads stdout leaves.
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::JSON.parser())]
    json: Option<bool>,
}

impl Args {
    /// Puts the layers under what was typed.
    ///
    /// # Errors
    ///
    /// If a value that counts is wrong.
    pub fn resolve(self, layers: &Layers<'_>) -> Result<RecordConfig> {
        let (rule, jpeg, program) = self.pictures.resolve(layers)?;
        let allow = Some(self.allow.concat()).filter(|allow| !allow.is_empty());
        Ok(RecordConfig {
            listen: layers.listen(self.listen)?,
            allow: layers.optional(allow, &key::ALLOW)?.unwrap_or_default(),
            takeover: layers.required(self.takeover, &key::TAKEOVER)?,
            idle_timeout: layers.required(self.idle_timeout, &key::IDLE_TIMEOUT)?,
            tls: self.tls.resolve(layers)?,
            min_free_bytes: layers.required(self.min_free, &key::MIN_FREE)?,
            rotate_every: Some(layers.required(self.rotate_every, &key::ROTATE_EVERY)?)
                .filter(|every| !every.is_zero()),
            rotate_bytes: Some(layers.required(self.rotate_bytes, &key::ROTATE_BYTES)?)
                .filter(|bytes| *bytes > 0),
            sessions_dir: layers.required(self.sessions_dir, &key::SESSIONS_DIR)?,
            session: layers.optional(self.session, &key::SESSION)?,
            rule,
            jpeg,
            program,
            sync_interval: layers.required(self.sync_interval, &key::SYNC_INTERVAL)?,
            play: layers.required(self.play, &key::PLAY)?,
            once: layers.required(self.once, &key::ONCE)?,
            json: layers.required(self.json, &key::JSON)?,
        })
    }
}

/// Records until the sender leaves (`--once`) or a signal comes.
///
/// # Errors
///
/// What keeps it from recording.
pub fn run(args: Args, world: &World<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&world.layers)?;
    tracing::debug!(?config, "resolved");
    let counters = Arc::new(Counters::with(world.troubles.clone()));
    let status_line = StatusLine::start(&world.terminal, Arc::clone(&counters));
    let mut output = JsonLines::stdout(&world.terminal);
    let shutdown = world.shutdown.clone();
    let mut on_frame = |entry: &Entry| {
        tracing::debug!(id = entry.id, timestamp = entry.timestamp, "kept");
        // A recording goes on without its JSON when stdout fails (a full disk); the
        // exit status tells of it.
        if config.json && output.write_line(&entry.to_json()) == Written::ReaderLeft {
            shutdown.request();
        }
    };
    let listening = pipeline::listen(&config)?;
    let sessions = Sessions::open(&config)?;
    tracing::info!("session {}", sessions.current().folder().display());
    let recorded = AtomicBool::new(false);
    let recording = sessions.recording_ts();
    let ended = thread::scope(|scope| {
        if config.play {
            scope.spawn(|| watch(&recording, &recorded));
        }
        let ended =
            pipeline::record(&config, listening, sessions, &counters, &shutdown, &mut on_frame);
        // The player stays open, but is followed no longer.
        recorded.store(true, Ordering::Relaxed);
        ended
    });
    status_line.end();
    ended?;
    tracing::info!("{}", summary(&counters.snapshot()));
    output.finish()?;
    Ok(ExitStatus::Done)
}

/// `--play`: whatever becomes of mpv, the recording goes on.
fn watch(recording: &Path, recorded: &AtomicBool) {
    let options = PlayOptions { is_recorder: true, ..PlayOptions::default() };
    match playback::play(recording, Position::Live, &options, recorded) {
        Ok(PlayOutcome::Ended(_)) => tracing::info!("the player was closed; recording goes on"),
        Ok(_) => {}
        Err(error) => tracing::warn!("{error}; recording goes on"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{File, FrameRule, JpegConfig};

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let environment = |_: &str| None;
        let config = Args::default().resolve(&Layers::new(&environment, None)).unwrap();
        let expected = RecordConfig {
            listen: HostPort { host: "127.0.0.1".into(), port: 4444 },
            sessions_dir: "./sessions".into(),
            session: None,
            rule: FrameRule { scene_threshold: 0.3, max_frame_interval_s: 30.0 },
            jpeg: JpegConfig { quality: 90, max_width_px: None },
            program: None,
            sync_interval: Duration::from_secs(1),
            allow: Vec::new(),
            takeover: false,
            idle_timeout: None,
            tls: None,
            min_free_bytes: 0,
            rotate_every: None,
            rotate_bytes: None,
            play: false,
            once: false,
            json: false,
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
        let config = Args::default().resolve(&Layers::new(&environment, None)).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:9000");
        assert_eq!(config.rule, FrameRule { scene_threshold: 0.25, max_frame_interval_s: 12.5 });
        assert_eq!(config.sessions_dir, Path::new("/srv/sessions"));
    }

    #[test]
    fn a_flag_can_turn_off_what_the_file_turns_on() {
        let environment = |_: &str| None;
        let file = || File::parse(Path::new("f"), "once = true\njson = true\n").unwrap();
        let on = Args::default().resolve(&Layers::new(&environment, Some(file()))).unwrap();
        assert!(on.once && on.json);
        let off = Args { once: Some(false), ..Args::default() };
        let off = off.resolve(&Layers::new(&environment, Some(file()))).unwrap();
        assert!(!off.once && off.json);
    }
}
