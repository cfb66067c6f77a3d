//! `record`: TCP → `recording.ts` on one side, `recording.ts` → frames on the other.
//!
//! ```text
//! thread      reads               writes                    waits for
//! (tokio)     the socket          chunks, 64 of 64 KiB      the disk, when they are full
//! recorder    chunks              recording.ts, its length  nothing else
//! syncer      its length          fsync                     the disk
//! detection   recordings          runs the three threads of live.rs, and retries them
//! ```
//!
//! The file between the writer and detection is the buffer: the writer never waits for detection,
//! and a failure of detection does not affect it. At the end, each is closed after the one before:
//! socket, writer, detection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::live::Job;
use super::recorder::Recorder;
use super::recording_sync::{self, Durable};
use super::rotation::{Limits, Rotation};
use super::supervision::Supervision;
use super::trust::{self, Found};
use super::{choice_of, join, spawn, supervisor};
use crate::catalog::Entry;
use crate::config::RecordConfig;
use crate::error::{Error, Result, Stage};
use crate::ingest::{self, Leaving, Tls, TlsFiles};
use crate::recording::Recording;
use crate::session::{OwnedSession, Session};
use crate::shutdown::Shutdown;
use crate::telemetry::{Counters, Report};

/// Maximum number of recordings that wait for detection. Beyond that, rotation fails and
/// is retried later.
const QUEUED_JOBS: usize = 64;

const BEHIND: &str = "detection is too many recordings behind";

/// Records in `session` until `shutdown`, or with `once` until the sender disconnects.
/// Calls `on_entry` for each kept frame once the index lists it. Detection first
/// completes the sessions that an earlier run has left `unfinished`.
///
/// # Errors
///
/// Returns the error that prevents listening or recording. Failures of detection are
/// logged and retried; if detection still fails once the recording is over, that is
/// returned.
pub fn record(
    config: &RecordConfig,
    listening: Listening,
    session: OwnedSession,
    unfinished: Vec<OwnedSession>,
    counters: &Arc<Counters>,
    shutdown: &Shutdown,
    on_entry: &mut (dyn FnMut(&Entry) + Send),
) -> Result<()> {
    let (recording, job) = open(session)?;
    let session = Arc::clone(&job.session);
    counters.recorded_bytes.store(job.opened_bytes, Relaxed);
    let Listening { runtime, listener, bound, tls } = listening;
    let supervision = Supervision::begin(&runtime, &session, bound, counters, shutdown);
    tell_listening(config, bound);
    let (handover, jobs, recordings) = Handover::new();
    let mut before = 0;
    for earlier in unfinished.into_iter().map(finished_job) {
        let earlier = earlier?;
        before += earlier.opened_bytes;
        handover.give(earlier)?;
    }
    handover.give(job)?;
    let detect = config.detection();
    let (chunks, from_socket) = mpsc::channel(ingest::QUEUED_CHUNKS);
    std::thread::scope(|scope| {
        let (accepting, accepts) = watch::channel(true);
        let limits = Limits { every: config.rotate_every, bytes: config.rotate_bytes };
        let next = Box::new(move || open_next(config, counters, &handover));
        let rotation = Rotation::new(limits, choice_of(config.program), next);
        let recorder = spawn(scope, "recorder", {
            let recorder = Recorder::new(
                recording,
                before,
                rotation,
                Arc::clone(counters),
                accepting,
                shutdown.clone(),
                config.min_free_bytes,
            );
            move || recorder.run(from_socket)
        })?;
        let syncer = spawn(scope, "recording-sync", move || {
            recording_sync::run(&recordings, config.sync_interval)
        })?;
        let detection =
            spawn(scope, "detection", move || supervisor::run(&jobs, &detect, counters, on_entry))?;
        let mut network = Network { counters, refused: Report::default() };
        let options = ingest::Options {
            once: config.once,
            idle_timeout: config.idle_timeout,
            takeover: config.takeover,
            allow: config.allow.clone(),
            tls,
        };
        let listened = runtime.block_on(supervision.during(ingest::run(
            listener,
            chunks,
            options,
            &mut network,
            accepts,
            shutdown.requested(),
        )));
        // The channel of chunks is closed now, so the threads end one after the other.
        supervision.while_ending(&runtime, || {
            let recorded = join("the writer", recorder);
            let synced = join("the sync thread", syncer);
            let detected = join("detection", detection);
            recorded.and(listened).and(synced).and(detected)
        })
    })
}

/// Returns the session to record in, and earlier sessions of its series whose detection
/// is not complete.
///
/// # Errors
///
/// Returns an error if the folders cannot be created, or another process is recording the
/// session.
pub fn own_sessions(config: &RecordConfig) -> Result<(OwnedSession, Vec<OwnedSession>)> {
    let (dir, now) = (&config.sessions_dir, jiff::Zoned::now());
    let rotates = config.rotate_every.is_some() || config.rotate_bytes.is_some();
    let Some(id) = config.session.as_deref().filter(|_| rotates) else {
        return Ok((Session::own(dir, config.session.as_deref(), &now)?, Vec::new()));
    };
    let mut series = Session::series(dir, id);
    let last = series.pop().unwrap_or_else(|| id.to_owned());
    let session = Session::own(dir, Some(&last), &now)?;
    let mut unfinished = Vec::new();
    // The checkpoint of the previous session may refer to an earlier end.
    for (n, id) in series.iter().rev().take(QUEUED_JOBS / 2).enumerate() {
        // If another process has locked the session, that process completes it.
        if let Ok(earlier) = Session::own(dir, Some(id), &now)
            && (n == 0 || !is_finished(&earlier))
        {
            unfinished.insert(0, earlier);
        }
    }
    Ok((session, unfinished))
}

/// Whether detection has reached the end of a recording that is no longer recorded.
fn is_finished(session: &Session) -> bool {
    let recording = session.recording_ts();
    let Ok(metadata) = std::fs::metadata(&recording) else { return false };
    let found = trust::look(&session.checkpoint_json(), &recording, metadata.len());
    matches!(found, Ok(Found::Trusted(it)) if it.checkpoint.is_final(metadata.len()))
}

/// Passes recordings to the threads that read them.
struct Handover {
    to_detect: Sender<Job>,
    to_sync: Sender<Durable>,
}

impl Handover {
    fn new() -> (Self, Receiver<Job>, Receiver<Durable>) {
        let (to_detect, jobs) = bounded(QUEUED_JOBS);
        let (to_sync, recordings) = bounded(QUEUED_JOBS);
        (Handover { to_detect, to_sync }, jobs, recordings)
    }

    fn give(&self, job: Job) -> Result<()> {
        let durable = Durable { sync: job.sync.clone(), written: job.written.clone() };
        let full = |_| Error::new(Stage::Pipeline, BEHIND);
        self.to_detect.try_send(job).map_err(full)?;
        self.to_sync
            .send(durable)
            .map_err(|_| Error::new(Stage::Pipeline, "the sync thread is gone"))
    }
}

/// Opens the next session of a series, and its recording.
fn open_next(config: &RecordConfig, counters: &Counters, handover: &Handover) -> Result<Recording> {
    if handover.to_detect.is_full() {
        return Err(Error::new(Stage::Pipeline, BEHIND));
    }
    let now = jiff::Zoned::now();
    let session = Session::own_next(&config.sessions_dir, config.session.as_deref(), &now)?;
    tracing::info!("session {}", session.folder().display());
    counters.set_session(session.folder());
    let (recording, job) = open(session)?;
    handover.give(job)?;
    Ok(recording)
}

/// Opens a recording of an earlier run that will not grow any more.
pub(super) fn finished_job(session: OwnedSession) -> Result<Job> {
    let (recording, job) = open(session)?;
    drop(recording);
    Ok(job)
}

/// Opens a session's recording, and returns it with what detection needs to follow it.
fn open(session: OwnedSession) -> Result<(Recording, Job)> {
    let (recording, opened) = Recording::open(&session.recording_ts())?;
    if opened.cut_bytes > 0 {
        let (bytes, at) = (opened.cut_bytes, opened.length);
        tracing::warn!("recording: discarded {bytes} bytes of a torn packet at byte {at}");
    }
    let job = Job {
        session: Arc::new(session),
        written: recording.written(),
        sync: recording.sync_handle()?,
        opened_bytes: opened.length,
    };
    Ok((recording, job))
}

/// A listening socket that does not accept connections yet.
pub struct Listening {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    bound: SocketAddr,
    tls: Option<Tls>,
}

/// Opens the listening socket. Must be called before a session is created: otherwise a
/// failure would leave an empty session folder.
///
/// # Errors
///
/// Returns an error if the address is in use or not local, or the certificates are
/// invalid.
pub fn listen(config: &RecordConfig) -> Result<Listening> {
    let files = config.tls.as_ref().map(|tls| TlsFiles {
        certificate: &tls.cert,
        key: &tls.key,
        client_ca: tls.client_ca.as_deref(),
    });
    let tls = files.map(Tls::load).transpose()?;
    let failed =
        |what: String, cause: std::io::Error| Error::new(Stage::Ingest, what).because(cause);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| failed("cannot start tokio".into(), cause))?;
    let address = config.listen.to_string();
    let listener = runtime
        .block_on(TcpListener::bind(&address))
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (bound, listener) =
        listener.map_err(|cause| failed(format!("cannot listen on {address}"), cause))?;
    Ok(Listening { runtime, listener, bound, tls })
}

/// Logs the address in the form that ffmpeg expects, and a warning if everyone may send.
fn tell_listening(config: &RecordConfig, bound: SocketAddr) {
    let scheme = if config.tls.is_some() { "tls://" } else { "" };
    tracing::info!("listening on {scheme}{bound}");
    let knows_senders = config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if !bound.ip().to_canonical().is_loopback() && config.allow.is_empty() && !knows_senders {
        tracing::warn!(
            "everyone who can reach {bound} may send: restrict senders with --allow, \
             or listen on 127.0.0.1"
        );
    }
}

/// Counts and logs network events.
struct Network<'a> {
    counters: &'a Counters,
    refused: Report,
}

impl ingest::Observer for Network<'_> {
    fn accepted(&mut self, sender: SocketAddr) {
        self.counters.set_sender(Some(sender.to_string()));
        tracing::info!("{sender} is connected");
    }

    fn received(&mut self, bytes: u64) {
        self.counters.bytes_received.fetch_add(bytes, Relaxed);
    }

    fn left(&mut self, sender: SocketAddr, why: &Leaving) {
        self.counters.set_sender(None);
        match why {
            Leaving::Left => tracing::info!("{sender} has left"),
            Leaving::Broke(error) => tracing::warn!("the connection of {sender} broke: {error}"),
            Leaving::Silent(limit) => {
                tracing::warn!("{sender} has sent nothing for {limit:?}: disconnected");
            }
            Leaving::TakenOver(newer) => tracing::info!("{sender} was replaced by {newer}"),
            Leaving::NotRecorded => {
                tracing::warn!("disconnected {sender}: cannot write the recording")
            }
            Leaving::Shutdown => tracing::info!("disconnected {sender}"),
        }
    }

    fn refused(&mut self, sender: SocketAddr, why: &str) {
        self.counters.refused.fetch_add(1, Relaxed);
        match self.refused.hit(Instant::now()) {
            Some(times) => tracing::warn!("refused {sender}: {why} ({times} refused)"),
            None => tracing::debug!("refused {sender}: {why}"),
        }
    }
}
