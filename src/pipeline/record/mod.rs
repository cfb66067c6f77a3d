//! `record`: TCP → `recording.ts` on one side, `recording.ts` → frames on the other.
//!
//! ```text
//! thread      reads               writes                    waits for
//! (tokio)     the socket          chunks, 64 of 64 KiB      the disk, when they are full
//! writer      chunks              recording.ts, its length  nothing else
//! syncer      its length          fsync                     the disk
//! detection   recordings          runs the three of `live`, again where they fail
//! ```
//!
//! The file between writer and detection is the buffer: the writer never waits for detection, and
//! does not fail with it. At the end each is closed after the one before: socket, writer,
//! detection.
//!
//! ```text
//! sessions  which folder is recorded in, which is next, which are finished first
//! network   where senders connect, and what is logged and counted of them
//! writer    the thread that appends to the recording
//! sync      the thread that makes it durable
//! rotation  when a recording is long enough
//! cut       … and where it can be cut
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

use tokio::sync::{mpsc, watch};

pub use network::{Listening, listen};
pub use sessions::{Sessions, finished_job};

use super::{RecordOptions, join, live, spawn};
use crate::catalog::Entry;
use crate::error::Result;
use crate::host::shutdown::Shutdown;
use crate::ingest;
use crate::telemetry::Counters;
use health::Health;
use network::Network;
use rotation::Rotation;
use sessions::Started;
use writer::Writer;

/// Records until `shutdown`, or with `once` until the sender has left. `on_entry` is called with
/// each kept frame once the index names it. Detection first finishes the sessions that an earlier
/// process left unfinished.
///
/// # Errors
///
/// What keeps it from recording. Detection that fails is logged and retried; once the recording is
/// over, its failure is an error.
pub fn record(
    options: &RecordOptions,
    listening: Listening,
    sessions: Sessions,
    counters: &Arc<Counters>,
    shutdown: &Shutdown,
    on_entry: &mut (dyn FnMut(&Entry) + Send),
) -> Result<()> {
    let started = sessions.start(counters)?;
    let Started { rotation: handover, session, recording, earlier_bytes, jobs, unsynced } = started;
    let Listening { runtime, listener, bound, tls } = listening;
    let health = Health::begin(&runtime, &session, bound, counters, shutdown);
    network::log_listening(&options.network, bound);
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
                options.min_free_bytes,
            );
            move || writer.run(from_socket)
        })?;
        let syncer =
            spawn(scope, "recording-sync", move || sync::run(&unsynced, detect.sync_interval))?;
        let detection =
            spawn(scope, "detection", move || live::run(&jobs, detect, counters, on_entry))?;
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
        // The channel of chunks is closed now; then each ends behind the one before.
        health.while_ending(&runtime, || {
            let recorded = join("the writer", writer);
            let synced = join("the syncer of the recording", syncer);
            let detected = join("detection", detection);
            recorded.and(listened).and(synced).and(detected)
        })
    })
}
