//! The network side of a recorder: where it listens, and what is logged and counted of senders.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tokio::net::TcpListener;

use crate::config::RecordConfig;
use crate::error::{Error, Result, Stage};
use crate::ingest::{self, Leaving, Tls, TlsFiles};
use crate::telemetry::{Counters, Report};

/// A socket that listens already; nobody is accepted yet.
pub struct Listening {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) listener: TcpListener,
    pub(super) bound: SocketAddr,
    pub(super) tls: Option<Tls>,
}

/// Listens. To be called before a session is made: one that nobody can send to
/// would be an empty folder.
///
/// # Errors
///
/// If the address is taken, or not this machine's, or the certificates are no good.
pub fn listen(config: &RecordConfig) -> Result<Listening> {
    let files = config.tls.as_ref().map(|tls| TlsFiles {
        certificate: &tls.cert,
        key: &tls.key,
        client_ca: tls.client_ca.as_deref(),
    });
    let tls = files.map(Tls::load).transpose()?;
    let failed =
        |what: String, cause: std::io::Error| Error::new(Stage::Ingest, what).because(cause);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| failed("cannot start tokio".into(), cause))?;
    let address = config.listen.to_string();
    let listener = runtime
        .block_on(TcpListener::bind(&address))
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (bound, listener) =
        listener.map_err(|cause| failed(format!("cannot listen on {address}"), cause))?;
    Ok(Listening { runtime, listener, bound, tls })
}

/// Logs where senders connect, as a URL for ffmpeg, and warns if anybody may.
pub fn log_listening(config: &RecordConfig, bound: SocketAddr) {
    let scheme = if config.tls.is_some() { "tls://" } else { "" };
    tracing::info!("listening on {scheme}{bound}");
    let knows_senders = config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if !bound.ip().to_canonical().is_loopback() && config.allow.is_empty() && !knows_senders {
        tracing::warn!(
            "whoever can reach {bound} may send: say with --allow from where senders come, \
             or listen on 127.0.0.1"
        );
    }
}

/// Counts and logs what happens on the network.
pub struct Network<'a> {
    counters: &'a Counters,
    refused: Report,
}

impl<'a> Network<'a> {
    /// Nothing has happened yet.
    pub fn new(counters: &'a Counters) -> Self {
        Network { counters, refused: Report::default() }
    }
}

impl ingest::Observer for Network<'_> {
    fn accepted(&mut self, sender: SocketAddr) {
        self.counters.set_sender(Some(sender.to_string()));
        tracing::info!("{sender} is connected");
    }

    fn received(&mut self, bytes: u64) {
        self.counters.bytes_received.fetch_add(bytes, Relaxed);
    }

    fn left(&mut self, sender: SocketAddr, why: &Leaving) {
        self.counters.set_sender(None);
        match why {
            Leaving::Left => tracing::info!("{sender} has left"),
            Leaving::Broke(error) => tracing::warn!("the connection of {sender} broke: {error}"),
            Leaving::Silent(limit) => {
                tracing::warn!("{sender} has sent nothing for {limit:?}: turned away");
            }
            Leaving::TakenOver(newer) => tracing::info!("{sender} gives way to {newer}"),
            Leaving::NotRecorded => tracing::warn!("{sender} was turned away"),
            Leaving::Shutdown => tracing::info!("{sender} is disconnected"),
        }
    }

    fn refused(&mut self, sender: SocketAddr, why: &str) {
        self.counters.refused.fetch_add(1, Relaxed);
        match self.refused.hit(Instant::now()) {
            Some(times) => tracing::warn!("refused {sender}: {why} ({times} refused)"),
            None => tracing::debug!("refused {sender}: {why}"),
        }
    }
}
