//! `record`: TCP → `recording.ts` on one side, `recording.ts` → frames on the other.
//!
//! ```text
//! thread      reads               writes                    waits for
//! (tokio)     the socket          chunks, 64 of 64 KiB      the disk, when they are full
//! recorder    chunks              recording.ts, its length  nothing else
//! detector    recording.ts        kept frames, 8            the publisher, when they are full
//! publisher   kept frames         JPEG, index.json          the disk
//! syncer      the latest state    fsync, checkpoint.json    the disk
//! ```
//!
//! The file between recorder and detector is the buffer: the recorder never waits
//! for detection, and does not fail with it. At the end each is closed behind the
//! one before: socket, recorder, detector, publisher, syncer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::detection::{Detection, DetectionStart, Scored};
use super::detector::{self, Outlet};
use super::publisher::{self, Durability, Message};
use super::recorder::Recorder;
use super::watch::Watch;
use super::{checkpointing, choice_of, join, rule_of, spawn};
use crate::catalog::checkpoint::Checkpoint;
use crate::catalog::{Catalog, CatalogOptions, Entry, KeptFrame, publish};
use crate::config::RecordConfig;
use crate::error::{Error, Result, Stage};
use crate::ingest::{self, Leaving, Tls, TlsFiles};
use crate::media::{ByteOffset, TS_PACKET_BYTES, Written};
use crate::recording::Recording;
use crate::session::OwnedSession;
use crate::shutdown::Shutdown;
use crate::tail::{End, FileTail};
use crate::telemetry::{Counters, Report};

const GOES_ON: &str = "the recording goes on without detection";

/// Records in `session` until `shutdown`, or with `once` until the sender has left.
/// `on_entry` is told of each kept frame once the index names it.
///
/// # Errors
///
/// What keeps it from listening or from recording. Detection that fails is told in
/// the log, and as an error once the recording is over.
pub fn record(
    config: &RecordConfig,
    listening: Listening,
    session: &OwnedSession,
    counters: &Arc<Counters>,
    shutdown: &Shutdown,
    on_entry: &mut (dyn FnMut(&Entry) + Send),
) -> Result<()> {
    let (recording, opened) = Recording::open(&session.recording_ts())?;
    if opened.cut_bytes > 0 {
        let (bytes, at) = (opened.cut_bytes, opened.length);
        tracing::warn!("recording: cut {bytes} bytes of a torn packet off, at byte {at}");
    }
    counters.recorded_bytes.store(opened.length, Relaxed);
    let written = recording.written();
    let sync = recording.sync_handle()?;
    let checkpoint = load_checkpoint(session, opened.length)?;
    let catalog = open_catalog(config, session, checkpoint.as_ref(), opened.length)?;
    let durability = Durability {
        recording: sync,
        checkpoint: session.checkpoint_json(),
        interval: config.sync_interval,
    };
    let Listening { runtime, listener, bound, tls } = listening;
    tell_listening(config, bound);
    let (messages, queue) = publisher::queue();
    let (chunks, from_socket) = mpsc::channel(ingest::QUEUED_CHUNKS);
    std::thread::scope(|scope| {
        let (accepting, accepts) = watch::channel(true);
        let recorder = spawn(scope, "recorder", {
            let recorder = Recorder::new(
                recording,
                Arc::clone(counters),
                accepting,
                shutdown.clone(),
                config.min_free_bytes,
            );
            move || recorder.run(from_socket)
        })?;
        let publisher = spawn(scope, "publisher", move || {
            // Told at once: until the end of the recording it may be days.
            let published = publisher::run(&queue, catalog, Some(durability), on_entry);
            published.inspect_err(|error| tracing::error!("{error}; {GOES_ON}"))
        })?;
        let detector = spawn(scope, "detector", {
            let (written, counters) = (written.clone(), Arc::clone(counters));
            move || detect(config, session, checkpoint.as_ref(), &written, messages, &counters)
        })?;
        let mut network = Network { counters, refused: Report::default() };
        let options = ingest::Options {
            once: config.once,
            idle_timeout: config.idle_timeout,
            takeover: config.takeover,
            allow: config.allow.clone(),
            tls,
        };
        let listened = runtime.block_on(ingest::run(
            listener,
            chunks,
            options,
            &mut network,
            accepts,
            shutdown.requested(),
        ));
        // The channel of chunks is closed now; then each ends behind the one before.
        let recorded = join(recorder);
        written.finish();
        let detected = join(detector);
        let published = join(publisher);
        recorded.and(listened).and(published).and(detected)
    })
}

/// A socket that listens already; nobody is accepted yet.
pub struct Listening {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    bound: SocketAddr,
    tls: Option<Tls>,
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

/// Says where senders connect, as ffmpeg wants it, and whether anybody may.
fn tell_listening(config: &RecordConfig, bound: SocketAddr) {
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

/// The checkpoint, if there is one that can be trusted. Otherwise detection begins
/// at the beginning, and finds the same frames again.
fn load_checkpoint(session: &OwnedSession, recording_bytes: u64) -> Result<Option<Checkpoint>> {
    let path = session.checkpoint_json();
    publish::remove_left_overs(publish::folder_of(&path), |name| name == "checkpoint.json")?;
    let why = match Checkpoint::load(&path) {
        Ok(None) => return Ok(None),
        Ok(Some(checkpoint)) if checkpoint.recording_bytes <= recording_bytes => {
            return Ok(Some(checkpoint));
        }
        Ok(Some(checkpoint)) => format!(
            "catalog: {}: the recording has {recording_bytes} bytes, not {}",
            path.display(),
            checkpoint.recording_bytes
        ),
        Err(error) => error.to_string(),
    };
    let aside = path.with_extension("json.set-aside");
    tracing::warn!("{why}; set aside as {}, detection begins anew", aside.display());
    std::fs::rename(&path, &aside).map_err(|cause| {
        Error::new(Stage::Catalog, "cannot set it aside").path(&path).because(cause)
    })?;
    Ok(None)
}

fn open_catalog(
    config: &RecordConfig,
    session: &OwnedSession,
    checkpoint: Option<&Checkpoint>,
    recording_bytes: u64,
) -> Result<Catalog> {
    let mut catalog = Catalog::open(CatalogOptions {
        jpeg_quality: config.jpeg.quality,
        frame_width: config.jpeg.max_width_px,
        next_ordinal: checkpoint.map_or(0, |checkpoint| checkpoint.frames_kept),
        index_copy: Some(session.index_copy_json()),
        ..CatalogOptions::new(session.frames_dir())
    })?;
    catalog.set_aside_past(ByteOffset(recording_bytes))?;
    Ok(catalog)
}

/// The detector's thread.
fn detect(
    config: &RecordConfig,
    session: &OwnedSession,
    checkpoint: Option<&Checkpoint>,
    written: &Written,
    messages: Sender<Message>,
    counters: &Counters,
) -> Result<()> {
    let (rule, choice) = (rule_of(config.rule), choice_of(config.program));
    let start = checkpoint.and_then(checkpointing::from_checkpoint);
    let from = start.as_ref().map_or(ByteOffset(0), |start| start.demux.from);
    let mut detection = match start.clone() {
        Some(start) => {
            tracing::info!("detection goes on from byte {from}");
            Detection::resume(rule, choice, start)
        }
        None => Detection::new(rule, choice),
    };
    let path = session.recording_ts();
    let mut tail = FileTail::open(&path, from, TS_PACKET_BYTES, End::Growing(written.clone()))?;
    let mut outlet = LiveOutlet {
        written,
        messages,
        counters,
        interval: config.sync_interval,
        told: Instant::now(),
        last_start: start,
        watch: Watch::default(),
    };
    let ended = detector::run(&mut tail, &mut detection, &mut outlet, &|| false);
    if let Err(error) = &ended {
        // Where the publisher has ended it has said why.
        if error.stage() != Stage::Pipeline {
            tracing::error!("{error}; {GOES_ON}");
        }
    }
    ended.map(|_| ())
}

/// Hands live verdicts to the publisher.
struct LiveOutlet<'a> {
    written: &'a Written,
    messages: Sender<Message>,
    counters: &'a Counters,
    interval: Duration,
    told: Instant,
    last_start: Option<DetectionStart>,
    watch: Watch,
}

impl LiveOutlet<'_> {
    fn tell(&self, message: Message) -> Result<()> {
        let gone = |_| Error::new(Stage::Pipeline, "the publisher has ended");
        self.messages.send(message).map_err(gone)
    }
}

impl Outlet for LiveOutlet<'_> {
    fn scored(&mut self, scored: Scored) -> Result<()> {
        let Scored { verdict, kept } = scored;
        self.counters.pictures.fetch_add(1, Relaxed);
        self.counters.detected_ticks.store(verdict.pts.0, Relaxed);
        if let Some(frame) = kept {
            self.counters.frames_kept.fetch_add(1, Relaxed);
            let captured_at = self.written.arrival(verdict.at);
            self.tell(Message::Keep(Box::new(KeptFrame { verdict, frame, captured_at })))?;
        }
        Ok(())
    }

    fn progress(&mut self, detection: &Detection, read: ByteOffset, over: bool) -> Result<()> {
        self.counters.detected_bytes.store(read.0, Relaxed);
        self.watch.look(detection, self.counters);
        if !over && self.told.elapsed() < self.interval {
            return Ok(());
        }
        self.told = Instant::now();
        if let Some(start) =
            detection.start().filter(|start| self.last_start.as_ref() != Some(start))
        {
            self.last_start = Some(start.clone());
            self.tell(Message::Decided { start: Box::new(start), read })?;
        }
        if over {
            self.watch.over(read);
            self.tell(Message::Over)?;
        }
        Ok(())
    }

    fn sync_lost(&mut self, at: ByteOffset, skipped_bytes: u64) {
        self.watch.sync_lost(at, skipped_bytes, self.counters);
    }
}

/// Counts and tells what happens on the network.
struct Network<'a> {
    counters: &'a Counters,
    refused: Report,
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
