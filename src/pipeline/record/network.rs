//! The network side of a recorder: opens the listening socket, and counts and logs what senders do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tokio::net::TcpListener;

use crate::error::{Error, Result, Stage};
use crate::ingest::{self, Leaving, Tls};
use crate::telemetry::{Counters, RateLimit};

/// A listening socket on which no connection has been accepted yet.
pub struct Listening {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) listener: TcpListener,
    pub(super) bound: SocketAddr,
    pub(super) tls: Option<Tls>,
}

/// Opens the listening socket. Must be called before a session is created: otherwise a
/// failure would leave an empty session folder.
///
/// # Errors
///
/// Returns an error if the address is in use or not local, or the certificates are
/// invalid.
pub fn listen(options: &ingest::Options) -> Result<Listening> {
    let tls = options.tls.as_ref().map(Tls::load).transpose()?;
    let failed =
        |what: String, cause: std::io::Error| Error::new(Stage::Ingest, what).because(cause);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| failed("cannot start tokio".into(), cause))?;
    let address = &options.listen;
    let listener = runtime
        .block_on(TcpListener::bind(address))
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (bound, listener) =
        listener.map_err(|cause| failed(format!("cannot listen on {address}"), cause))?;
    Ok(Listening { runtime, listener, bound, tls })
}

/// Logs the address in the form that ffmpeg expects. Logs a warning if any client may send.
pub fn log_listening(options: &ingest::Options, bound: SocketAddr) {
    let scheme = if options.tls.is_some() { "tls://" } else { "" };
    tracing::info!("listening on {scheme}{bound}");
    let authenticates_senders = options.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if !bound.ip().to_canonical().is_loopback()
        && options.allow.is_empty()
        && !authenticates_senders
    {
        tracing::warn!(
            "any host that can reach {bound} may send: restrict senders with --allow, \
             or listen on 127.0.0.1"
        );
    }
}

/// Counts and logs network events.
pub struct Network<'a> {
    counters: &'a Counters,
    /// Reports by reason for refusal: each reason is logged separately.
    refused: HashMap<String, RateLimit>,
}

/// Maximum number of reasons that are distinguished.
const MAX_REASONS: usize = 32;

impl<'a> Network<'a> {
    /// Returns an observer that updates `counters`.
    pub fn new(counters: &'a Counters) -> Self {
        Network { counters, refused: HashMap::new() }
    }
}

impl ingest::Observer for Network<'_> {
    fn accepted(&mut self, sender: SocketAddr, discarded_bytes: usize) {
        self.counters.set_sender(Some(sender.to_string()));
        tracing::info!("{sender} is connected");
        if discarded_bytes > 0 {
            tracing::warn!("{sender}: discarded {discarded_bytes} bytes before the first packet");
        }
    }

    fn received(&mut self, bytes: u64) {
        self.counters.received(bytes);
    }

    fn left(&mut self, sender: SocketAddr, why: &Leaving) {
        self.counters.set_sender(None);
        match why {
            Leaving::Left => tracing::info!("{sender} has left"),
            Leaving::Broke(error) => tracing::warn!("the connection of {sender} broke: {error}"),
            Leaving::Silent(limit) => {
                tracing::warn!("{sender} has sent nothing for {limit:?}: disconnected");
            }
            Leaving::TakenOver(newer) => tracing::info!("{sender} was replaced by {newer}"),
            Leaving::NotRecorded => {
                tracing::warn!("disconnected {sender}: cannot write the recording");
            }
            Leaving::Shutdown => tracing::info!("disconnected {sender}"),
        }
    }

    fn refused(&mut self, sender: SocketAddr, why: &str) {
        self.counters.refused.fetch_add(1, Relaxed);
        // Ignore digits: reasons that differ only in numbers are the same.
        let mut reason: String = why.chars().filter(|char| !char.is_ascii_digit()).collect();
        if self.refused.len() >= MAX_REASONS && !self.refused.contains_key(&reason) {
            reason.clear();
        }
        match self.refused.entry(reason).or_default().hit(Instant::now()) {
            Some(times) => tracing::warn!("refused {sender}: {why} ({times} refused)"),
            None => tracing::debug!("refused {sender}: {why}"),
        }
    }
}
