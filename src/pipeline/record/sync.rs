//! The thread that makes recordings durable, whatever becomes of their detection.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::error::Result;
use crate::media::Written;
use crate::recording::SyncHandle;

/// A recording to be looked after until it is finished and on the disk.
pub struct UnsyncedRecording {
    /// Syncs it.
    pub sync: SyncHandle,
    /// Says whether more will come.
    pub written: Written,
}

/// Syncs each recording once in `interval`, until there are no more to come.
///
/// # Errors
///
/// If what was written last could not be synced. Earlier failures are told as warnings,
/// and tried again.
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
            // Looked at before: what is written meanwhile is synced the next time.
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
            tracing::warn!("what was received is not on the disk yet: {error}");
        }
        failing = outcome.is_err();
    }
}
