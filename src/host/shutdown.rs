//! The request to shut down, awaited by tasks and polled by threads.
//!
//! The first SIGINT, SIGTERM or SIGHUP requests a shutdown: the program flushes all data and exits with
//! status 0. A later SIGINT exits immediately with status 130. A SIGHUP that was ignored when the program
//! started (`nohup`) stays ignored. A request by the program itself (`--once`) does not count as a signal.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Error, Result, Stage};

/// Exit status after a second SIGINT: 128 + SIGINT, as in shells.
pub const SECOND_INTERRUPT_STATUS: u8 = 130;

/// A request to shut down, shared by all threads and tasks. It cannot be withdrawn.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// For threads that poll.
    is_requested: AtomicBool,
    /// For threads that sleep. The lock only ensures that a request between checking the flag and going to
    /// sleep is not missed.
    sleepers: Mutex<()>,
    changed: Condvar,
    /// For tasks that await the request.
    announced: watch::Sender<bool>,
}

impl Shutdown {
    /// Creates a handle without a request and without signal handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests the shutdown.
    pub fn request(&self) {
        let guard = self.inner.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.is_requested.store(true, SeqCst);
        drop(guard);
        self.inner.changed.notify_all();
        self.inner.announced.send_replace(true);
    }

    /// Returns whether the shutdown was requested.
    pub fn is_requested(&self) -> bool {
        self.inner.is_requested.load(SeqCst)
    }

    /// Returns the request as a flag, for code that polls.
    pub fn flag(&self) -> &AtomicBool {
        &self.inner.is_requested
    }

    /// Sleeps until the shutdown is requested, at most `timeout`. Returns whether it was
    /// requested.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let guard = self.inner.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |_: &mut ()| !self.is_requested();
        drop(self.inner.changed.wait_timeout_while(guard, timeout, waits));
        self.is_requested()
    }

    /// Completes once the shutdown is requested. Cancel safe.
    pub async fn requested(&self) {
        // `wait_for` fails only if the sender is dropped, and `self` holds it.
        let _ = self.inner.announced.subscribe().wait_for(|requested| *requested).await;
    }

    /// Makes SIGINT, SIGTERM and SIGHUP request the shutdown, from a separate thread. After this call, none
    /// of these signals terminates the process directly.
    ///
    /// # Errors
    ///
    /// Returns an error if a thread or a handler cannot be created.
    pub fn install_signal_handlers(&self) -> Result<()> {
        self.listen_for_signals().map_err(|cause| {
            Error::new(Stage::Pipeline, "cannot listen for signals").because(cause)
        })
    }

    fn listen_for_signals(&self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _inside = runtime.enter();
            let hangup = if is_hangup_ignored() { None } else { Some(SignalKind::hangup()) };
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                hangup.map(signal).transpose()?,
            )
        };
        let shutdown = self.clone();
        let listen = async move {
            let mut was_requested = false;
            loop {
                tokio::select! {
                    Some(()) = interrupt.recv() => {
                        if was_requested {
                            std::process::exit(SECOND_INTERRUPT_STATUS.into());
                        }
                    }
                    Some(()) = terminate.recv() => {}
                    Some(()) = received(&mut hangup) => {}
                    else => return,
                }
                was_requested = true;
                shutdown.request();
            }
        };
        thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(listen))?;
        Ok(())
    }
}

/// Completes with the next signal. Pending forever without a handler.
async fn received(signal: &mut Option<Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Returns whether SIGHUP is ignored: proc_pid_status(5), `SigIgn`.
fn is_hangup_ignored() -> bool {
    /// The lowest bit is signal 1, SIGHUP.
    const SIGHUP_BIT: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & SIGHUP_BIT != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_thread_that_waits_is_woken() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.wait_timeout(Duration::ZERO));
        let waiting = thread::spawn({
            let shutdown = shutdown.clone();
            move || shutdown.wait_timeout(LONG)
        });
        shutdown.request();
        assert!(waiting.join().unwrap());
        assert!(shutdown.is_requested() && shutdown.wait_timeout(LONG));
    }

    #[tokio::test]
    async fn tasks_are_woken_before_and_after_the_request() {
        let shutdown = Shutdown::new();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.requested().await }
        });
        tokio::task::yield_now().await;
        shutdown.request();
        waiting.await.unwrap();
        shutdown.requested().await;
    }
}
