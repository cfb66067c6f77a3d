//! `scan`: runs the analyzer of live detection on a finished file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::Sender;

use super::analyzer::{Analyzer, Outlet, PacketRead, Scored, StreamLog, drive};
use super::live::{self, PublisherMessage};
use super::{ScanOptions, join, spawn};
use crate::catalog::{Catalog, CatalogOptions, EncodedFrame, Entry, KeptFrame};
use crate::demux::NoVideo;
use crate::error::{Context, Error, Result, Stage};
use crate::host::shutdown::Shutdown;
use crate::media::{ByteOffset, Verdict};
use crate::tail::{End, FileTail, probe_file};
use crate::telemetry::Counters;
use crate::ts::Aligner;

/// Scans a file to its end, or until `shutdown`. Calls `on_entry` for each kept frame. If
/// frames are written to a folder, calls it after the index lists the frame.
///
/// # Errors
///
/// Returns an error if the file cannot be read, is not MPEG-TS, or a result cannot be
/// written.
pub fn scan(
    options: &ScanOptions,
    counters: &Arc<Counters>,
    shutdown: &Shutdown,
    on_entry: &mut (dyn FnMut(&Entry) + Send),
) -> Result<()> {
    let (length, packet_size) = probe_file(&options.file)?;
    // Fails only if the pool already exists; in that case, the pool keeps its size.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(options.jobs.get()).build_global();
    counters.recorded_bytes.store(length, Relaxed);
    let end = End::Finished(length);
    let aligner = Aligner::begin(ByteOffset(0), packet_size);
    let tail = FileTail::open(&options.file, aligner, end)?;
    let scores = options.scores.as_deref().map(Scores::create).transpose()?;
    let Some(frames_dir) = &options.frames_dir else {
        let frames = Frames::Reported { on_entry, next: 1 };
        let outlet = ScanOutlet { frames, scores, counters, stream_log: StreamLog::default() };
        return detect(options, tail, outlet, shutdown);
    };
    let catalog =
        Catalog::open(CatalogOptions { jpeg: options.jpeg, ..CatalogOptions::new(frames_dir) })?;
    let (messages, queue) = live::queue();
    std::thread::scope(|scope| {
        let publisher = spawn(scope, "publisher", move || {
            live::publish_frames(&queue, catalog, None, on_entry)
        })?;
        let frames = Frames::Published(messages);
        let outlet = ScanOutlet { frames, scores, counters, stream_log: StreamLog::default() };
        // Dropping the outlet closes the publisher's queue, which ends the publisher.
        let detected = detect(options, tail, outlet, shutdown);
        join("the publisher", publisher).and(detected)
    })
}

fn detect(
    options: &ScanOptions,
    mut tail: FileTail,
    mut outlet: ScanOutlet<'_>,
    shutdown: &Shutdown,
) -> Result<()> {
    let mut analyzer = Analyzer::new(options.rule, options.program).with_jobs(options.jobs);
    analyzer.set_backlog(tail.length());
    drive(&mut tail, &mut analyzer, &mut outlet, &|| shutdown.is_requested())?;
    if let Some(why @ NoVideo::NoSuchProgram { .. }) = analyzer.no_video() {
        return Err(Error::new(Stage::Tail, why.to_string()).path(&options.file));
    }
    outlet.scores.map_or(Ok(()), Scores::finish)?;
    // The frames found so far are published, but a result that lacks pictures is a failure.
    analyzer.take_unusable().map_or(Ok(()), |error| Err(error.path(&options.file)))
}

/// Destination of kept frames.
enum Frames<'a> {
    /// The publisher, which writes them.
    Published(Sender<PublisherMessage>),
    /// Only the callback.
    Reported { on_entry: &'a mut (dyn FnMut(&Entry) + Send), next: u64 },
}

fn publisher_gone<T>(_: T) -> Error {
    Error::new(Stage::Pipeline, "the publisher has ended")
}

struct ScanOutlet<'a> {
    frames: Frames<'a>,
    scores: Option<Scores<'a>>,
    counters: &'a Counters,
    stream_log: StreamLog,
}

impl Outlet for ScanOutlet<'_> {
    fn scored(&mut self, scored: Scored, _: PacketRead) -> Result<()> {
        let Scored { verdict, kept, .. } = scored;
        self.counters.pictures.fetch_add(1, Relaxed);
        self.counters.detected_ticks.store(verdict.pts.0, Relaxed);
        if let Some(scores) = &mut self.scores {
            scores.write(&verdict)?;
        }
        let (Some(reason), Some(frame)) = (verdict.kept, kept) else { return Ok(()) };
        self.counters.frames_kept.fetch_add(1, Relaxed);
        let kept = KeptFrame { verdict, frame, captured_at: None };
        match &mut self.frames {
            Frames::Published(messages) => {
                messages.send(PublisherMessage::Keep(Box::new(kept), None)).map_err(publisher_gone)
            }
            Frames::Reported { on_entry, next } => {
                on_entry(&Entry::new(*next, &EncodedFrame::without_jpeg(&kept), reason, None));
                *next += 1;
                Ok(())
            }
        }
    }

    fn progress(&mut self, analyzer: &Analyzer, read: ByteOffset, finished: bool) -> Result<()> {
        self.counters.detected_bytes.store(read.0, Relaxed);
        self.stream_log.update(analyzer, self.counters);
        if finished {
            self.stream_log.finish(read);
        }
        match &self.frames {
            Frames::Published(messages) if finished => {
                messages.send(PublisherMessage::Finished).map_err(publisher_gone)
            }
            _ => Ok(()),
        }
    }

    fn sync_lost(&mut self, at: ByteOffset, skipped_bytes: u64) {
        self.stream_log.sync_lost(at, skipped_bytes, self.counters);
    }
}

/// `--scores`: writes the time and score of every picture.
struct Scores<'a> {
    path: &'a Path,
    file: BufWriter<File>,
}

impl<'a> Scores<'a> {
    fn create(path: &'a Path) -> Result<Self> {
        let file = File::create(path).context(Stage::Pipeline, path, "cannot create")?;
        let mut scores = Scores { path, file: BufWriter::new(file) };
        scores.line(format_args!("pts_time,score"))?;
        Ok(scores)
    }

    fn write(&mut self, verdict: &Verdict) -> Result<()> {
        self.line(format_args!("{:.6},{:.6}", verdict.pts.seconds(), verdict.score))
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) -> Result<()> {
        writeln!(self.file, "{line}").context(Stage::Pipeline, self.path, "cannot write")
    }

    fn finish(mut self) -> Result<()> {
        self.file.flush().context(Stage::Pipeline, self.path, "cannot write")
    }
}
