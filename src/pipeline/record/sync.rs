//! The thread that makes recordings durable, independently of detection.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::error::Result;
use crate::media::Written;
use crate::recording::SyncHandle;

/// A recording to sync until it is finished and durable.
pub struct UnsyncedRecording {
    /// Syncs the recording.
    pub sync: SyncHandle,
    /// Length of the recording, and whether it is finished.
    pub written: Written,
}

/// Syncs each recording once per `interval`, until the channel is closed.
///
/// # Errors
///
/// Returns an error if the last bytes could not be synced. Earlier failures are logged as
/// warnings and retried.
pub fn run(recordings: &Receiver<UnsyncedRecording>, interval: Duration) -> Result<()> {
    let mut open: Vec<UnsyncedRecording> = Vec::new();
    let mut failing = false;
    loop {
        let is_over = match recordings.recv_timeout(interval) {
            Ok(recording) => {
                open.push(recording);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let mut outcome = Ok(());
        open.retain(|recording| {
            // Checked before the sync: bytes written meanwhile are synced the next time.
            let was_finished = recording.written.is_finished();
            let synced = recording.sync.sync();
            let is_done = synced.is_ok() && was_finished;
            outcome = std::mem::replace(&mut outcome, Ok(())).and(synced.map(drop));
            !is_done
        });
        if is_over {
            return outcome;
        }
        if let (Err(error), false) = (&outcome, failing) {
            tracing::warn!("received bytes are not synced to disk yet: {error}");
        }
        failing = outcome.is_err();
    }
}
