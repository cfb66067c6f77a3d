//! `record`: TCP → `recording.ts` on one side, `recording.ts` → frames on the other.
//!
//! ```text
//! thread      reads               writes                    waits for
//! (tokio)     the socket          chunks, 64 of 64 KiB      the writer, when the queue is full
//! writer      chunks              recording.ts, its length  the disk
//! recording-sync  its length      fsync                     the disk
//! detection   recordings          runs the threads of `live`, and restarts them after a failure
//! retention   what is stored      deletes old recordings    the disk
//! state       counters            state.json                the disk
//! ```
//!
//! The file between writer and detection is the buffer: the writer never waits for detection, and
//! does not fail if detection fails. At the end, each thread ends after the one before it: socket,
//! writer, detection.
//!
//! ```text
//! sessions  the current session, the next one, and unfinished ones of an earlier process
//! network   the listening socket; counts and logs what senders do
//! writer    the thread that appends to the recording
//! sync      the thread that makes the recording durable
//! rotation  when a recording ends
//! cut       where a recording can be cut
//! health    the status socket and the service manager
//! ```

mod cut;
mod health;
mod network;
mod rotation;
mod sessions;
mod sync;
mod writer;

use std::sync::Arc;

use crossbeam_channel::bounded;
use tokio::sync::{mpsc, watch};

pub use network::{Listening, listen};
pub use sessions::{Sessions, finished_job};

use super::live::{OnEntry, StateWriter};
use super::{RecordOptions, join, live, spawn};
use crate::catalog::Entry;
use crate::error::Result;
use crate::host::shutdown::Shutdown;
use crate::ingest;
use crate::session::Session;
use crate::telemetry::Counters;
use health::Health;
use network::Network;
use rotation::Rotation;
use sessions::Started;
use writer::Writer;

/// Records until `shutdown`, or with `once` until the sender disconnects. Calls `on_entry` for each
/// kept frame once the index lists it. Detection first finishes the sessions that an earlier process
/// left unfinished.
///
/// # Errors
///
/// Returns an error if recording is not possible. A failure of detection is logged and retried; it
/// is only returned if it persists once the recording has ended.
pub fn record(
    options: &RecordOptions,
    listening: Listening,
    sessions: Sessions<'_>,
    counters: &Arc<Counters>,
    shutdown: &Shutdown,
    on_entry: OnEntry<'_>,
) -> Result<()> {
    let Sessions { series, opened, retention } = sessions;
    let states = StateWriter::new(counters);
    let started = Sessions::start(series, opened, counters, &retention, &states)?;
    let Started { handover, session, recording, first, jobs, unsynced, nudges } = started;
    let Listening { runtime, listener, bound, tls } = listening;
    let health = Health::begin(&runtime, &session, bound, counters, shutdown);
    let feed = health.feed();
    let on_entry = &mut move |session: &Session, entry: &Entry| {
        feed.send(session.folder(), &entry.to_json());
        on_entry(session, entry);
    };
    // From here on, the retention holds the session until the next one is recorded.
    drop(session);
    network::log_listening(&options.network, bound);
    let earlier_bytes = handover.submit_first(first)?;
    let detect = &options.detect;
    let (chunks, from_socket) = mpsc::channel(ingest::QUEUED_CHUNKS);
    std::thread::scope(|scope| {
        let (accepting, accepts) = watch::channel(true);
        let next = Box::new(move || handover.open_next());
        let rotation = Rotation::new(options.rotation, detect.program, next);
        let writer = spawn(scope, "writer", {
            let writer = Writer::new(
                recording,
                earlier_bytes,
                rotation,
                Arc::clone(counters),
                accepting,
                shutdown.clone(),
                &retention,
            );
            move || writer.run(from_socket)
        })?;
        let syncer = spawn(scope, "recording-sync", move || {
            sync::run(&unsynced, detect.sync_interval, counters)
        })?;
        let detection =
            spawn(scope, "detection", move || live::run(&jobs, detect, counters, on_entry))?;
        // Ends after the writer, whose handover sends the nudges.
        let tidying = spawn(scope, "retention", || {
            retention.run(&nudges);
            Ok(())
        })?;
        let (stop_states, states_stop) = bounded(0);
        let states = &states;
        let state_writer = spawn(scope, "state", move || states.run(&states_stop))?;
        let mut network = Network::new(counters);
        let listened = runtime.block_on(health.during(ingest::run(
            listener,
            tls,
            chunks,
            &options.network,
            &mut network,
            accepts,
            shutdown.requested(),
        )));
        // The channel of chunks is closed here; each thread then ends after the one before it.
        health.while_ending(&runtime, || {
            let recorded = join("the writer", writer);
            let synced = join("recording-sync", syncer);
            let detected = join("detection", detection);
            drop(stop_states);
            let states_written = join("the writer of state.json", state_writer);
            let tidied = join("the retention", tidying);
            // Recordings whose detection has just finished may be deleted now.
            retention.tidy();
            recorded.and(listened).and(synced).and(detected).and(states_written).and(tidied)
        })
    })
}
