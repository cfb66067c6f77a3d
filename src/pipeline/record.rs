//! `record`: TCP → `recording.ts` on one side, `recording.ts` → frames on the other.
//!
//! ```text
//! thread      reads               writes                    waits for
//! (tokio)     the socket          chunks, 64 of 64 KiB      the disk, when they are full
//! recorder    chunks              recording.ts, its length  nothing else
//! detection   recordings          runs the three of live.rs, again where they fail
//! ```
//!
//! The file between recorder and detection is the buffer: the recorder never waits
//! for detection, and does not fail with it. At the end each is closed behind the
//! one before: socket, recorder, detection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::live::Job;
use super::recorder::Recorder;
use super::supervision::Supervision;
use super::{join, spawn, supervisor};
use crate::catalog::Entry;
use crate::config::RecordConfig;
use crate::error::{Error, Result, Stage};
use crate::ingest::{self, Leaving};
use crate::recording::Recording;
use crate::session::OwnedSession;
use crate::shutdown::Shutdown;
use crate::telemetry::{Counters, Report};

/// Recordings whose detection has not begun yet, at most: beyond that a recorder
/// that rotates would wait.
const QUEUED_JOBS: usize = 64;

/// Records in `session` until `shutdown`, or with `once` until the sender has left.
/// `on_entry` is told of each kept frame once the index names it.
///
/// # Errors
///
/// What keeps it from listening or from recording. Detection that fails is told in
/// the log and tried again; once the recording is over it is an error.
pub fn record(
    config: &RecordConfig,
    listening: Listening,
    session: OwnedSession,
    counters: &Arc<Counters>,
    shutdown: &Shutdown,
    on_entry: &mut (dyn FnMut(&Entry) + Send),
) -> Result<()> {
    let (recording, job) = open(session)?;
    let session = Arc::clone(&job.session);
    counters.recorded_bytes.store(job.opened_bytes, Relaxed);
    let Listening { runtime, listener, bound } = listening;
    let supervision = Supervision::begin(&runtime, &session, bound, counters, shutdown);
    tracing::info!("listening on {bound}");
    let (to_detect, jobs) = crossbeam_channel::bounded(QUEUED_JOBS);
    let _ = to_detect.try_send(job);
    let (chunks, from_socket) = mpsc::channel(ingest::QUEUED_CHUNKS);
    std::thread::scope(|scope| {
        let (accepting, accepts) = watch::channel(true);
        let recorder = spawn(scope, "recorder", {
            let recorder = Recorder::new(
                recording,
                Arc::clone(counters),
                accepting,
                shutdown.clone(),
                config.min_free_bytes,
            );
            move || recorder.run(from_socket)
        })?;
        drop(to_detect);
        let detection =
            spawn(scope, "detection", move || supervisor::run(&jobs, config, counters, on_entry))?;
        let mut network = Network { counters, refused: Report::default() };
        let options = ingest::Options {
            once: config.once,
            idle_timeout: config.idle_timeout,
            takeover: config.takeover,
            allow: config.allow.clone(),
        };
        let listened = runtime.block_on(supervision.during(ingest::run(
            listener,
            chunks,
            options,
            &mut network,
            accepts,
            shutdown.requested(),
        )));
        // The channel of chunks is closed now; then each ends behind the one before.
        supervision.while_ending(&runtime, || {
            let recorded = join("the recorder", recorder);
            let detected = join("detection", detection);
            recorded.and(listened).and(detected)
        })
    })
}

/// Opens a session's recording, and gives what detection needs to follow it.
fn open(session: OwnedSession) -> Result<(Recording, Job)> {
    let (recording, opened) = Recording::open(&session.recording_ts())?;
    if opened.cut_bytes > 0 {
        let (bytes, at) = (opened.cut_bytes, opened.length);
        tracing::warn!("recording: cut {bytes} bytes of a torn packet off, at byte {at}");
    }
    let job = Job {
        session: Arc::new(session),
        written: recording.written(),
        sync: recording.sync_handle()?,
        opened_bytes: opened.length,
    };
    Ok((recording, job))
}

/// A socket that listens already; nobody is accepted yet.
pub struct Listening {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    bound: SocketAddr,
}

/// Listens. To be called before a session is made: one that nobody can send to
/// would be an empty folder.
///
/// # Errors
///
/// If the address is taken, or not this machine's.
pub fn listen(config: &RecordConfig) -> Result<Listening> {
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
    Ok(Listening { runtime, listener, bound })
}

/// Counts and tells what happens on the network.
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
                tracing::warn!("{sender} has sent nothing for {limit:?}: turned away");
            }
            Leaving::TakenOver(newer) => tracing::info!("{sender} gives way to {newer}"),
            Leaving::NotRecorded => tracing::warn!("{sender} was turned away"),
            Leaving::Shutdown => tracing::info!("{sender} is disconnected"),
        }
    }

    fn refused(&mut self, sender: SocketAddr, why: &str) {
        self.counters.refused.fetch_add(1, Relaxed);
        if let Some(times) = self.refused.hit(Instant::now()) {
            tracing::warn!("refused {sender}: {why} ({times} refused)");
        }
    }
}
