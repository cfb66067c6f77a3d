//! The thread that makes recordings durable, independently of detection.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::error::Result;
use crate::media::Written;
use crate::recording::SyncHandle;
use crate::telemetry::Counters;

/// A recording to sync until it is finished and durable.
pub struct UnsyncedRecording {
    /// Id of its session.
    pub session: String,
    /// Syncs the recording.
    pub sync: SyncHandle,
    /// Length of the recording, and whether it is finished.
    pub written: Written,
}

/// Syncs each recording once per `interval`, until the channel is closed.
///
/// # Errors
///
/// Returns an error if the last bytes could not be synced. Earlier failures are logged as warnings;
/// the first failure of each recording is stored permanently.
pub fn run(
    recordings: &Receiver<UnsyncedRecording>,
    interval: Duration,
    counters: &Counters,
) -> Result<()> {
    let mut open: Vec<UnsyncedRecording> = Vec::new();
    let mut next_sync = Instant::now() + interval;
    loop {
        let is_over = match recordings.recv_deadline(next_sync) {
            Ok(recording) => {
                open.push(recording);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        next_sync = Instant::now() + interval;
        let mut outcome = Ok(());
        open.retain(|recording| {
            // Read before the sync: bytes written meanwhile are synced the next time.
            let was_finished = recording.written.is_finished();
            let synced = recording.sync.sync();
            if let Some(from) = recording.sync.failed_from() {
                counters.set_sync_failure(&recording.session, from);
            }
            let is_done = synced.is_ok() && was_finished;
            outcome = std::mem::replace(&mut outcome, Ok(())).and(synced.map(drop));
            !is_done
        });
        if is_over {
            return outcome;
        }
        if let Err(error) = &outcome {
            tracing::error!("{error}");
        }
    }
}
