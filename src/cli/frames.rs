//! `scenetap frames`: lists the frames of a session, and hands them out.

use std::io::Stdout;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::output::{JsonLines, WriteOutcome};
use super::{CommandContext, ExitStatus, Timeout, complete, frame_table};
use crate::agent::{self, FollowOptions, FrameOutlet, LeaseOptions};
use crate::catalog::Entry;
use crate::catalog::{Selection, SharedCatalog, Since};
use crate::config::{FramesConfig, Layers, key};
use crate::error::Result;
use crate::session::Session;

/// List the frames of a session, or hand them out
///
/// No one else gets a leased frame until its lease ends. A frame not acknowledged by then is
/// handed out again. Leases and acknowledgements are written to SESSION/frames/handouts.jsonl,
/// and index.json shows them: leased_until, lease_holder, sent_to_agent.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(after_help = super::help::FRAMES_EXAMPLES)]
pub struct FramesArgs {
    /// Session name or session folder
    #[arg(value_name = "SESSION", add = complete::session())]
    session: PathBuf,

    /// Only frames that were not delivered: sent_to_agent is false
    #[arg(long, help_heading = "Which frames", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::UNSENT.parser())]
    unsent: Option<bool>,

    /// Only frames after this one, or with this timestamp or a later one, in seconds
    #[arg(long, help_heading = "Which frames", allow_negative_numbers = true)]
    #[arg(value_name = "ID|SECONDS", value_parser = key::SINCE.parser())]
    since: Option<Since>,

    /// At most this many, the oldest first
    #[arg(long, help_heading = "Which frames", allow_negative_numbers = true)]
    #[arg(value_name = "COUNT", value_parser = key::LIMIT.parser())]
    limit: Option<usize>,

    /// Wait for more frames, and print each as it is kept
    ///
    /// Continues with the next session of the series. Ends when the last session has ended
    /// and all frames are handed out. If a recorder dies, waits for another.
    #[arg(long, help_heading = "Following", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::FOLLOW.parser())]
    #[arg(conflicts_with = "order")]
    follow: Option<bool>,

    /// With --follow: wait for another recorder at most this many seconds; 0 waits forever
    #[arg(long, help_heading = "Following", allow_negative_numbers = true)]
    #[arg(value_name = "SECONDS", value_parser = key::TIMEOUT.parser())]
    timeout: Option<Timeout>,

    /// Lease undelivered frames that have a JPEG and no current lease, for this many seconds
    ///
    /// Prints the leased frames. Each lease is durable in the journal before its frame is
    /// printed.
    #[arg(long, help_heading = "Handing out", allow_negative_numbers = true)]
    #[arg(value_name = "SECONDS", value_parser = key::LEASE.parser())]
    lease: Option<Duration>,

    /// Name of the agent that leases or acknowledges
    ///
    /// With it, --ack, --release and --renew succeed only for frames that this holder
    /// currently leases. Without it, they succeed for any frame.
    #[arg(long, help_heading = "Handing out")]
    #[arg(value_name = "NAME", value_parser = key::HOLDER.parser())]
    holder: Option<String>,

    /// Acknowledge frames: they are not handed out again
    ///
    /// If one of the ids is unknown, no frame is acknowledged. Acknowledging a frame again
    /// succeeds.
    #[arg(long, help_heading = "Handing out", value_name = "ID", num_args = 1.., group = "order")]
    ack: Vec<String>,

    /// Return leases early: the frames can be leased again at once
    #[arg(long, help_heading = "Handing out", value_name = "ID", num_args = 1.., group = "order")]
    release: Vec<String>,

    /// Extend leases from now on, by --lease or by their original length
    #[arg(long, help_heading = "Handing out", value_name = "ID", num_args = 1.., group = "order")]
    renew: Vec<String>,

    /// Folder that contains the session folders
    #[arg(long, help_heading = "Session")]
    #[arg(value_name = "DIR", value_parser = key::SESSIONS_DIR.parser())]
    sessions_dir: Option<PathBuf>,

    /// Print one line of JSON per frame: session, and the keys of index.json
    #[arg(long, help_heading = "Output", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "yes", value_name = "yes|no", value_parser = key::JSON.parser())]
    json: Option<bool>,
}

/// Operation on frames.
#[derive(Debug, Clone, PartialEq)]
enum Order {
    List,
    Lease(Duration),
    Acknowledge(Vec<String>),
    Release(Vec<String>),
    Renew(Vec<String>, Option<Duration>),
}

impl FramesArgs {
    /// Resolves each option from the command line, the environment and the file.
    ///
    /// # Errors
    ///
    /// Returns an error if a value in effect is invalid.
    pub fn resolve(&self, layers: &Layers<'_>) -> Result<FramesConfig> {
        Ok(FramesConfig {
            session: self.session.clone(),
            sessions_dir: layers.required(self.sessions_dir.clone(), &key::SESSIONS_DIR)?,
            selection: Selection {
                unsent: layers.required(self.unsent, &key::UNSENT)?,
                since: layers.optional(self.since, &key::SINCE)?,
                limit: layers.optional(self.limit, &key::LIMIT)?,
            },
            lease: layers.optional(self.lease, &key::LEASE)?,
            follow: layers.required(self.follow, &key::FOLLOW)?,
            timeout: layers.required(self.timeout, &key::TIMEOUT)?,
            holder: layers.optional(self.holder.clone(), &key::HOLDER)?,
            json: layers.required(self.json, &key::JSON)?,
            lock_timeout: layers.required(None, &key::SHUTDOWN_TIMEOUT)?,
        })
    }

    fn into_order(self, lease: Option<Duration>) -> Order {
        match (lease, self.ack, self.release, self.renew) {
            (_, ack, _, _) if !ack.is_empty() => Order::Acknowledge(ack),
            (_, _, release, _) if !release.is_empty() => Order::Release(release),
            (lease, _, _, renew) if !renew.is_empty() => Order::Renew(renew, lease),
            (Some(length), ..) => Order::Lease(length),
            _ => Order::List,
        }
    }
}

/// Lists frames, leases them, or changes leases.
///
/// # Errors
///
/// Returns an error if the session does not exist, or its index or journal cannot be read or written;
/// or if an id is unknown, or leased to another holder.
pub fn run(args: FramesArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let config = args.resolve(&context.layers)?;
    let order = args.into_order(config.lease);
    tracing::debug!(?config, ?order, "resolved");
    let session = Session::find_stored(&config.sessions_dir, &config.session)?;
    if config.follow && matches!(order, Order::List | Order::Lease(_)) {
        return follow(session, &config, context);
    }
    let catalog =
        SharedCatalog::open(&session.frames_dir(), &session.index_copy(), config.lock_timeout)?;
    let is_recorded = session.is_recorded();
    let holder = config.holder.as_deref();
    let selection = &config.selection;
    let frames = match &order {
        Order::List => catalog.list(selection, &[], is_recorded)?,
        Order::Lease(length) => catalog.lease(selection, &[], *length, holder, is_recorded)?,
        Order::Acknowledge(ids) => {
            return catalog.acknowledge(ids, holder, is_recorded).map(|()| ExitStatus::Done);
        }
        Order::Release(ids) => {
            return catalog.release(ids, holder, is_recorded).map(|()| ExitStatus::Done);
        }
        Order::Renew(ids, length) => {
            return catalog.renew(ids, holder, *length, is_recorded).map(|()| ExitStatus::Done);
        }
    };
    let mut output = Output::new(context, config.json);
    for frame in &frames {
        output.write(&session, &frame.entry);
    }
    output.finish()
}

/// Follows the session, and prints each frame.
fn follow(
    session: Session,
    config: &FramesConfig,
    context: &CommandContext<'_>,
) -> Result<ExitStatus> {
    let holder = config.holder.clone();
    let options = FollowOptions {
        selection: config.selection,
        lease: config.lease.map(|length| LeaseOptions { length, holder }),
        timeout: config.timeout,
        lock_timeout: config.lock_timeout,
    };
    let mut output = Output::new(context, config.json);
    let stdout = std::io::stdout();
    let outlet = FrameOutlet {
        take: &mut |session, entry| output.write(session, entry) == WriteOutcome::Yes,
        output: Some(stdout.as_fd()),
        stop: &|| context.shutdown.is_requested(),
    };
    agent::follow(session, &options, outlet)?;
    output.finish()
}

/// stdout: a table, or one line of JSON per frame.
struct Output {
    lines: JsonLines<Stdout>,
    is_json: bool,
}

impl Output {
    fn new(context: &CommandContext<'_>, is_json: bool) -> Self {
        let mut lines = JsonLines::stdout(&context.terminal);
        if !is_json {
            lines.write_line(&table_head());
        }
        Output { lines, is_json }
    }

    fn write(&mut self, session: &Session, entry: &Entry) -> WriteOutcome {
        let line = if self.is_json { json_line(session, entry) } else { table_row(entry) };
        self.lines.write_line(&line)
    }

    fn finish(self) -> Result<ExitStatus> {
        self.lines.finish().map(|()| ExitStatus::Done)
    }
}

/// Returns the entry as JSON, with the session's id in front.
fn json_line(session: &Session, entry: &Entry) -> String {
    #[derive(Serialize)]
    struct FrameJson<'a> {
        session: &'a str,
        #[serde(flatten)]
        entry: &'a Entry,
    }
    let id = session.id();
    // Never fails, as for the entry itself.
    serde_json::to_string(&FrameJson { session: &id, entry }).unwrap_or_default()
}

fn table_head() -> String {
    format!("id     {}  state", frame_table::HEAD)
}

fn table_row(entry: &Entry) -> String {
    let state = match (&entry.leased_until, &entry.lease_holder) {
        _ if entry.sent_to_agent => "sent".to_owned(),
        (Some(until), Some(holder)) => format!("leased to {holder} until {until}"),
        (Some(until), None) => format!("leased until {until}"),
        (None, _) => String::new(),
    };
    let row = format!("{:<5}  {}  {state}", entry.id, frame_table::row(entry));
    row.trim_end().replace(char::is_control, "?")
}
