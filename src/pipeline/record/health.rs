//! Answers status requests, and notifies the service manager that the recorder is alive. Runs on
//! the same runtime as the network.
//!
//! The watchdog is notified only while the runtime runs, because a task on it sends the
//! notification, and while the writer thread is not stuck in one operation. Waiting for disk space
//! does not count as stuck: a restart would not help.

use std::future::{Future, pending};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytesize::ByteSize;
use jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio::time::interval;

use crate::host::service::Manager;
use crate::host::shutdown::Shutdown;
use crate::pipeline::{rfc3339, spawn};
use crate::session::Session;
use crate::status::{FrameFeed, Listener, LoggedLine, Sender, Status};
use crate::telemetry::{self, Counters, Snapshot};

/// Interval at which `systemctl status` gets a new line.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Minimum interval between watchdog notifications.
const PING_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Reports the health of one recorder.
pub struct Health<'a> {
    counters: &'a Counters,
    shutdown: &'a Shutdown,
    manager: Manager,
    /// `None` if the socket could not be created; the status then cannot be queried.
    listener: Option<Listener>,
    feed: FrameFeed,
    /// The constant part of the status.
    fixed: Status,
    is_ending: AtomicBool,
}

impl<'a> Health<'a> {
    /// Binds the status socket, and notifies the service manager that the service is ready. Must
    /// be called once the port `bound` is open and the session exists.
    pub fn begin(
        runtime: &Runtime,
        session: &Session,
        bound: SocketAddr,
        counters: &'a Counters,
        shutdown: &'a Shutdown,
    ) -> Self {
        let _inside = runtime.enter();
        let listener = Listener::bind(session.folder())
            .inspect_err(|error| {
                tracing::warn!("{error}; scenetap status cannot query this recorder");
            })
            .ok();
        let feed = FrameFeed::bind(session.folder()).unwrap_or_else(|error| {
            tracing::warn!("{error}; frames --follow reads the index instead");
            FrameFeed::without_clients()
        });
        let fixed = Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            session: session.id(),
            folder: session.folder().to_string_lossy().into_owned(),
            listening: bound.to_string(),
            since: rfc3339(Timestamp::now()),
            ..Status::default()
        };
        let manager = Manager::from_environment(&|name| std::env::var_os(name));
        manager.ready();
        let is_ending = AtomicBool::new(false);
        Health { counters, shutdown, manager, listener, feed, fixed, is_ending }
    }

    /// Returns the feed of kept frames, which is served while the health is reported.
    pub fn feed(&self) -> FrameFeed {
        self.feed.clone()
    }

    /// Reports the health of the recorder while `work` runs.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let background = async {
            tokio::join!(
                self.answer(),
                self.feed.serve(),
                self.ping(),
                self.report_status(),
                self.report_stopping()
            );
            pending().await
        };
        tokio::select! {
            done = work => done,
            done = background => done,
        }
    }

    /// Reports the health of the recorder while `work` shuts it down, which may take long.
    pub fn while_ending<T>(&self, runtime: &Runtime, work: impl FnOnce() -> T) -> T {
        self.stopping();
        let finished = Shutdown::new();
        std::thread::scope(|scope| {
            let thread = spawn(scope, "health", || {
                runtime.block_on(self.during(finished.requested()));
                Ok(())
            });
            if let Err(error) = thread {
                tracing::warn!("{error}; the service manager may kill this process too early");
            }
            let done = work();
            finished.request();
            done
        })
    }

    /// Returns the current status.
    fn status(&self) -> Status {
        let snapshot = self.counters.snapshot();
        let troubles = self.counters.troubles();
        let folder = self.counters.session();
        let id = folder.as_deref().and_then(Path::file_name);
        Status {
            session: id
                .map_or_else(|| self.fixed.session.clone(), |id| id.to_string_lossy().into()),
            folder: folder.map_or_else(
                || self.fixed.folder.clone(),
                |folder| folder.to_string_lossy().into_owned(),
            ),
            sender: snapshot
                .sender
                .clone()
                .zip(snapshot.sender_since)
                .map(|(address, since)| Sender { address, since: rfc3339(since) }),
            recording: !snapshot.is_halted,
            write_seconds: to_millis(self.counters.recorder.busy_for().as_secs_f64()),
            ending: self.is_ending.load(SeqCst) || self.shutdown.is_requested(),
            bytes_received: snapshot.bytes_received,
            recorded_bytes: snapshot.recorded_bytes,
            recorded_seconds: to_millis(snapshot.recorded.seconds()),
            detection: snapshot.detection.as_str().into(),
            detected_seconds: to_millis(snapshot.detected.seconds()),
            lag_bytes: snapshot.lag.bytes,
            lag_seconds: to_millis(snapshot.lag.time.seconds()),
            undecided_seconds: to_millis(snapshot.undecided.as_secs_f64()),
            pictures: snapshot.pictures,
            frames_kept: snapshot.frames_kept,
            damage: snapshot.damage,
            refused: snapshot.refused,
            deleted_recordings: snapshot.deleted_recordings,
            deleted_bytes: snapshot.deleted_bytes,
            deleted_sessions: snapshot.deleted_sessions,
            sync_failures: self.counters.sync_failures(),
            last_error: troubles.last_error().map(logged_line),
            last_warning: troubles.last_warning().map(logged_line),
            ..self.fixed.clone()
        }
    }

    async fn answer(&self) {
        if let Some(listener) = &self.listener {
            listener.serve(&|| self.status()).await;
        }
    }

    /// Notifies the watchdog at half of its timeout, as sd_watchdog_enabled(3)
    /// recommends.
    async fn ping(&self) {
        let Some(limit) = self.manager.watchdog() else { return };
        let mut ticks = interval((limit / 2).max(PING_INTERVAL_MIN));
        let mut was_stuck = false;
        loop {
            ticks.tick().await;
            let busy_for = self.counters.recorder.busy_for();
            let is_stuck = busy_for >= limit;
            match (is_stuck, was_stuck) {
                (true, false) => tracing::error!(
                    "recording: the disk hangs: a write has been pending for {busy_for:.1?}; \
                     the watchdog is not notified"
                ),
                (false, true) => tracing::info!("recording: the disk responds again"),
                _ => {}
            }
            if !is_stuck {
                self.manager.alive();
            }
            was_stuck = is_stuck;
        }
    }

    async fn report_status(&self) {
        if !self.manager.listens() {
            return;
        }
        let mut ticks = interval(STATUS_INTERVAL);
        loop {
            ticks.tick().await;
            self.manager.status(&line(&self.counters.snapshot(), &self.fixed.listening));
        }
    }

    async fn report_stopping(&self) {
        self.shutdown.requested().await;
        self.stopping();
    }

    /// Notifies the service manager once that the recorder is shutting down.
    fn stopping(&self) {
        if !self.is_ending.swap(true, SeqCst) {
            self.manager.stopping();
        }
    }
}

/// Formats the line for `systemctl status`.
fn line(snapshot: &Snapshot, listening: &str) -> String {
    let sender = match &snapshot.sender {
        _ if snapshot.is_halted => "cannot write, waiting for the disk".to_owned(),
        Some(sender) => format!("receiving from {sender}"),
        None => format!("waiting for a sender on {listening}"),
    };
    let (recorded, behind) = (ByteSize(snapshot.recorded_bytes), ByteSize(snapshot.lag.bytes));
    let detection = snapshot.detection.as_str();
    let seconds = snapshot.lag.time.seconds();
    format!(
        "{sender}; {recorded} recorded; detection {detection}, {behind} ({seconds:.1} s) behind"
    )
}

fn logged_line(trouble: telemetry::Trouble) -> LoggedLine {
    LoggedLine { message: trouble.message, at: rfc3339(trouble.at) }
}

/// Rounds seconds to milliseconds: more digits would be noise.
fn to_millis(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::Arc;

    use super::*;

    /// Returns a service manager with a watchdog of 40 ms, and the health check that it supervises.
    fn watched<'a>(
        folder: &tempfile::TempDir,
        counters: &'a Counters,
        shutdown: &'a Shutdown,
    ) -> (UnixDatagram, Health<'a>) {
        let path = folder.path().join("notify");
        let server = UnixDatagram::bind(&path).unwrap();
        server.set_nonblocking(true).unwrap();
        let manager = Manager::from_environment(&|name| match name {
            "NOTIFY_SOCKET" => Some(path.clone().into()),
            "WATCHDOG_USEC" => Some("40000".into()),
            _ => None,
        });
        let fixed = Status { listening: "127.0.0.1:1".into(), ..Status::default() };
        let is_ending = AtomicBool::new(false);
        let feed = FrameFeed::without_clients();
        let health = Health { counters, shutdown, manager, listener: None, feed, fixed, is_ending };
        (server, health)
    }

    /// Returns the notifications received by the service manager so far.
    fn messages(server: &UnixDatagram) -> Vec<String> {
        let mut received = Vec::new();
        let mut buffer = [0; 1024];
        while let Ok(length) = server.recv(&mut buffer) {
            received.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        received
    }

    fn pings(server: &UnixDatagram) -> usize {
        messages(server).iter().filter(|message| *message == "WATCHDOG=1").count()
    }

    #[tokio::test]
    async fn a_recorder_that_is_stuck_is_not_told_to_be_alive_until_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (counters, shutdown) = (Arc::new(Counters::new()), Shutdown::new());
        let (server, health) = watched(&folder, &counters, &shutdown);
        let for_long = || tokio::time::sleep(Duration::from_millis(200));

        health.during(for_long()).await;
        assert!(pings(&server) >= 2, "an idle recorder is alive");

        let (release, stuck) = std::sync::mpsc::channel::<()>();
        let recorder = std::thread::spawn({
            let counters = Arc::clone(&counters);
            move || counters.recorder.during(|| stuck.recv())
        });
        while counters.recorder.busy_for() < Duration::from_millis(40) {
            tokio::task::yield_now().await;
        }
        pings(&server);
        health.during(for_long()).await;
        assert_eq!(pings(&server), 0, "a stuck one is not");

        release.send(()).unwrap();
        recorder.join().unwrap().unwrap();
        health.during(for_long()).await;
        assert!(pings(&server) >= 2, "one that goes on is again");
    }

    #[test]
    fn it_is_alive_while_it_ends_and_says_so_once() {
        let folder = tempfile::tempdir().unwrap();
        let (counters, shutdown) = (Counters::new(), Shutdown::new());
        let (server, health) = watched(&folder, &counters, &shutdown);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        shutdown.request();
        runtime.block_on(health.during(tokio::task::yield_now()));
        health.while_ending(&runtime, || std::thread::sleep(Duration::from_millis(200)));
        let received = messages(&server);
        assert_eq!(
            received.iter().filter(|message| *message == "STOPPING=1").count(),
            1,
            "{received:?}"
        );
        assert!(
            received.iter().filter(|message| *message == "WATCHDOG=1").count() >= 2,
            "{received:?}"
        );
        assert!(health.status().ending);
    }

    #[test]
    fn the_line_for_the_service_manager_says_who_sends_and_what_is_behind() {
        let idle = line(&Snapshot::default(), "[::]:4444");
        assert_eq!(
            idle,
            "waiting for a sender on [::]:4444; 0 B recorded; detection running, 0 B (0.0 s) behind"
        );
        let halted = Snapshot { is_halted: true, sender: Some("a".into()), ..Snapshot::default() };
        assert!(line(&halted, "").starts_with("cannot write"));
    }
}
