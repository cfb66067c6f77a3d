//! `record --on-frame`: runs a command for each kept frame, beside the recorder.
//!
//! ```text
//! run      one run of the command: its input, its output, its time limit
//! ```
//!
//! The recorder never waits for the command: frames go through a queue. If the queue is full, its
//! oldest frame is dropped.

mod run;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::catalog::Entry;
use crate::error::{Error, Kind, Result, Stage};
use crate::session::Session;
use crate::telemetry::RateLimit;
use run::RunEnd;

/// Maximum number of frames that wait for the command.
const MAX_QUEUED: usize = 64;

/// The command that is run for each frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameCommand {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Time after which a run is terminated.
    pub timeout: Duration,
    /// Number of simultaneous runs.
    pub jobs: NonZeroUsize,
    /// Number of times that a failed run is repeated.
    pub retries: u32,
}

/// A frame for the command.
#[derive(Debug)]
struct FrameTask {
    id: String,
    /// Environment variables of the command.
    variables: [(&'static str, String); 4],
    /// The entry as one line of JSON.
    input: String,
}

/// Runs the command on its own threads.
#[derive(Debug)]
pub struct FrameRunner {
    shared: Arc<RunnerState>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct RunnerState {
    command: FrameCommand,
    queue: Mutex<FrameQueue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct FrameQueue {
    tasks: VecDeque<FrameTask>,
    running: usize,
    dropped: RateLimit,
    /// No more frames follow.
    is_closed: bool,
    /// Runs are terminated, and no more begin.
    is_stopped: bool,
}

impl FrameRunner {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// Returns an error if a thread cannot be started.
    pub fn start(command: FrameCommand) -> Result<Self> {
        let jobs = command.jobs.get();
        let (queue, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(RunnerState { command, queue, changed });
        let threads = (0..jobs)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::Builder::new().name("on-frame".into()).spawn(move || shared.work())
            })
            .collect::<std::io::Result<_>>()
            .map_err(|cause| Error::new(Stage::Pipeline, "cannot start a thread").because(cause))?;
        Ok(FrameRunner { shared, threads })
    }

    /// Queues a frame without waiting.
    pub fn push(&self, session: &Session, entry: &Entry) {
        let task = FrameTask {
            id: entry.id.clone(),
            variables: [
                ("SCENETAP_FRAME_ID", entry.id.clone()),
                ("SCENETAP_FRAME_PATH", entry.path.clone().unwrap_or_default()),
                ("SCENETAP_FRAME_TIME", entry.timestamp.to_string()),
                ("SCENETAP_FRAME_SESSION_DIR", session.folder().to_string_lossy().into_owned()),
            ],
            input: entry.to_json() + "\n",
        };
        let dropped = {
            let mut queue = self.shared.lock();
            queue.tasks.push_back(task);
            let oldest =
                if queue.tasks.len() > MAX_QUEUED { queue.tasks.pop_front() } else { None };
            oldest.and_then(|oldest| Some((oldest.id, queue.dropped.hit(Instant::now())?)))
        };
        self.shared.changed.notify_one();
        if let Some((id, count)) = dropped {
            tracing::warn!(
                "on-frame: {MAX_QUEUED} frames wait for the command; dropped {count}, the last is {id}"
            );
        }
    }

    /// Waits until the command has run for every frame, at most `timeout`. Then terminates it.
    ///
    /// # Errors
    ///
    /// Returns an error of [`Kind::Busy`] if the command did not run, or not to its end, for some
    /// frames.
    pub fn finish(self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut queue = self.shared.lock();
        queue.is_closed = true;
        self.shared.changed.notify_all();
        while !queue.tasks.is_empty() || queue.running > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let unfinished = queue.tasks.len() + queue.running;
        queue.is_stopped = true;
        let dropped = queue.dropped.rest();
        drop(queue);
        if let Some(count) = dropped {
            tracing::warn!("on-frame: dropped {count} more frames");
        }
        self.shared.changed.notify_all();
        for thread in self.threads {
            // No input makes it panic; the frames are in the index.
            let _ = thread.join();
        }
        if unfinished == 0 {
            return Ok(());
        }
        let what = format!(
            "on-frame: the command has not ended within {timeout:?}; it has not run for {unfinished} \
             frames, or not to its end"
        );
        Err(Error::new(Stage::Pipeline, what).of_kind(Kind::Busy))
    }
}

impl RunnerState {
    fn lock(&self) -> MutexGuard<'_, FrameQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    /// Runs the command for one frame after the other.
    fn work(&self) {
        while let Some(task) = self.next() {
            self.run(&task);
            self.lock().running -= 1;
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<FrameTask> {
        let mut queue = self.lock();
        loop {
            if queue.is_stopped {
                return None;
            }
            if let Some(task) = queue.tasks.pop_front() {
                queue.running += 1;
                return Some(task);
            }
            if queue.is_closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(&self, task: &FrameTask) {
        for attempt in 0..=self.command.retries {
            let what = match run::run(&self.command, task, &|| self.is_stopped()) {
                Ok(RunEnd::Successfully) => return,
                // Reported by `finish`.
                Ok(RunEnd::Stopped) => return,
                Ok(RunEnd::Failed(status)) => status,
                Ok(RunEnd::TimedOut) => format!("ended after {:?}", self.command.timeout),
                Err(error) => format!("cannot run {}: {error}", self.command.words[0]),
            };
            if self.is_stopped() {
                return;
            }
            let left = self.command.retries - attempt;
            let again = if left > 0 { "; it is run again" } else { "" };
            tracing::warn!("on-frame {}: {what}{again}", task.id);
        }
    }
}
