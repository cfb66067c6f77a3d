//! One signal to end, awaited by tasks and polled by threads.
//!
//! The first SIGINT or SIGTERM asks the program to flush everything and end with
//! status 0. A SIGINT after that ends the process at once, status 130, for who
//! does not want to wait. A request that the program makes itself (`--once`)
//! does not count as a signal.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Error, Result, Stage};

/// The exit status after a second SIGINT: 128 + SIGINT, as shells have it.
pub const SECOND_INTERRUPT_STATUS: u8 = 130;

/// A request to end, shared by everything that runs. It is never taken back.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Polled.
    is_requested: AtomicBool,
    /// Slept on by threads. The lock guards nothing but the order of "it is not
    /// requested" and "I sleep".
    sleepers: Mutex<()>,
    changed: Condvar,
    /// Awaited by tasks.
    announced: watch::Sender<bool>,
}

impl Shutdown {
    /// A request that nobody has made yet, and that no signal makes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything to end.
    pub fn request(&self) {
        let awake = self.inner.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.is_requested.store(true, SeqCst);
        drop(awake);
        self.inner.changed.notify_all();
        self.inner.announced.send_replace(true);
    }

    /// Whether the end was asked for.
    pub fn is_requested(&self) -> bool {
        self.inner.is_requested.load(SeqCst)
    }

    /// The same as a flag, for what polls one and knows nothing of us.
    pub fn flag(&self) -> &AtomicBool {
        &self.inner.is_requested
    }

    /// Sleeps until the end is asked for, at most `timeout`. True if it was.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let sleeper = self.inner.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |_: &mut ()| !self.is_requested();
        drop(self.inner.changed.wait_timeout_while(sleeper, timeout, waits));
        self.is_requested()
    }

    /// Returns once the end is asked for. Can be dropped and awaited again.
    pub async fn requested(&self) {
        // It fails only if the sender is gone, and `self` holds it.
        let _ = self.inner.announced.subscribe().wait_for(|asked| *asked).await;
    }

    /// Lets SIGINT and SIGTERM make the request, from a small thread of their own.
    /// When it returns, neither signal ends the process any more.
    ///
    /// # Errors
    ///
    /// If the system gives no thread or no handler.
    pub fn install_signal_handlers(&self) -> Result<()> {
        self.listen_for_signals().map_err(|cause| {
            Error::new(Stage::Pipeline, "cannot listen for SIGINT and SIGTERM").because(cause)
        })
    }

    fn listen_for_signals(&self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let shutdown = self.clone();
        let listen = async move {
            let mut was_told = false;
            loop {
                tokio::select! {
                    Some(()) = interrupt.recv() => {
                        if was_told {
                            std::process::exit(SECOND_INTERRUPT_STATUS.into());
                        }
                    }
                    Some(()) = terminate.recv() => {}
                    else => return,
                }
                was_told = true;
                shutdown.request();
            }
        };
        thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(listen))?;
        Ok(())
    }
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
