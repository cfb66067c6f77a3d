//! Keeps detection running: logs a failure once and retries, while recording continues.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::{DetectOptions, Detected, Job, Live, OnEntry};
use crate::error::{Error, Kind, Result};
use crate::media::Written;
use crate::pause;
use crate::telemetry::{Counters, DetectionState};

/// First retry interval of detection, doubled after each failure …
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Analyzes one recording after the other, each to its end, until the channel is closed.
///
/// # Errors
///
/// Returns an error if detection failed permanently: the recording was finished, and detection
/// still did not reach its end. Only the first of these errors is returned; later ones are logged.
pub fn run<'a>(
    jobs: &'a Receiver<Job>,
    options: &'a DetectOptions,
    counters: &'a Arc<Counters>,
    on_entry: OnEntry<'_>,
) -> Result<()> {
    let mut outcome = Ok(());
    let mut detected_before = Detected::default();
    let mut queue = RecordingQueue::new(jobs);
    while let Some(task) = queue.next() {
        let (mut live, is_new) = match task {
            Turn::New(job) => (Live::new(job, detected_before, options, counters), true),
            Turn::Deferred(live) => (*live, false),
        };
        let id = live.session_id();
        let written = live.written().clone();
        let detected = supervise(&written, &mut || {
            counters.set_detection(DetectionState::Running);
            let ended = live.run(on_entry);
            if ended.is_err() {
                counters.set_detection(DetectionState::Waiting);
            }
            ended
        });
        if is_new {
            detected_before = live.detected();
        }
        if let Err(error) = &detected {
            if matches!(error.kind(), Kind::Busy | Kind::NoSpace) && !queue.is_ending() {
                // Another program may hold the lock for long; other sessions have their own locks. A
                // full disk may have space again.
                tracing::error!("session {id}: {error}; retrying later");
                queue.defer(live);
                continue;
            }
            counters.set_detection(DetectionState::Failed);
            if outcome.is_err() {
                tracing::error!("session {id}: {error}");
            }
        }
        outcome = outcome.and(detected);
    }
    outcome
}

/// Recordings to analyze, in order. A recording whose index was locked or whose disk was full is
/// retried when no other is waiting.
struct RecordingQueue<'a> {
    jobs: &'a Receiver<Job>,
    /// Jobs already received from `jobs`.
    received: VecDeque<Job>,
    deferred: VecDeque<Live<'a>>,
}

enum Turn<'a> {
    New(Job),
    Deferred(Box<Live<'a>>),
}

impl<'a> RecordingQueue<'a> {
    fn new(jobs: &'a Receiver<Job>) -> Self {
        RecordingQueue { jobs, received: VecDeque::new(), deferred: VecDeque::new() }
    }

    /// Waits for the next recording. Returns `None` if the recorder is ending and no recording is
    /// left.
    fn next(&mut self) -> Option<Turn<'a>> {
        if let Some(job) = self.received.pop_front() {
            return Some(Turn::New(job));
        }
        let job = if self.deferred.is_empty() {
            self.jobs.recv().ok()
        } else {
            self.jobs.recv_timeout(pause::of(FIRST_PAUSE)).ok()
        };
        match job {
            Some(job) => Some(Turn::New(job)),
            None => self.deferred.pop_front().map(|live| Turn::Deferred(Box::new(live))),
        }
    }

    fn defer(&mut self, live: Live<'a>) {
        self.deferred.push_back(live);
    }

    /// Returns whether the recorder is ending and no new recording follows.
    fn is_ending(&mut self) -> bool {
        loop {
            match self.jobs.try_recv() {
                Ok(job) => self.received.push_back(job),
                Err(error) => return error.is_disconnected() && self.received.is_empty(),
            }
        }
    }
}

/// Repeats `attempt` until it reaches the end of the recording. Once the recording is
/// finished, a failure is permanent.
fn supervise(written: &Written, attempt: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    let mut last_logged = None;
    loop {
        let was_finished = written.is_finished();
        let started = Instant::now();
        let Err(error) = attempt() else { return Ok(()) };
        // At the end, the attempt has already waited for a lock held by another process.
        if was_finished || (error.kind() == Kind::Busy && written.is_finished()) {
            return Err(error);
        }
        if started.elapsed() > LONGEST_PAUSE {
            // The attempt has run for a while: this is a new problem.
            (pause, last_logged) = (FIRST_PAUSE, None);
        }
        log_failure(&error, &mut last_logged);
        written.wait_finished(pause::of(pause));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Logs an error. A repetition of the same error is logged at debug level.
fn log_failure(error: &Error, last_logged: &mut Option<String>) {
    let message = error.to_string();
    if last_logged.as_ref() == Some(&message) {
        tracing::debug!("{message}");
    } else {
        tracing::error!("{message}; recording continues, and detection will be retried");
        *last_logged = Some(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Stage;

    fn failed() -> Result<()> {
        Err(Error::new(Stage::Catalog, "disk on fire"))
    }

    #[test]
    fn what_fails_while_the_recording_grows_is_tried_again() {
        let written = Written::new(0);
        let mut attempts = 0;
        let ended = supervise(&written, &mut || {
            attempts += 1;
            match attempts {
                1 => failed(),
                2 => {
                    // The recording ends during the failing attempt: this failure is not permanent
                    // yet.
                    written.finish();
                    failed()
                }
                _ => Ok(()),
            }
        });
        assert!(ended.is_ok() && attempts == 3);
    }

    #[test]
    fn what_still_fails_when_the_recording_is_over_has_failed() {
        let written = Written::new(0);
        written.finish();
        let mut attempts = 0;
        let ended = supervise(&written, &mut || {
            attempts += 1;
            failed()
        });
        assert!(ended.is_err() && attempts == 1);
    }

    #[test]
    fn a_failure_that_stays_the_same_is_told_once() {
        let mut last_logged = None;
        log_failure(&Error::new(Stage::Catalog, "full"), &mut last_logged);
        assert_eq!(last_logged.as_deref(), Some("catalog: full"));
    }
}
