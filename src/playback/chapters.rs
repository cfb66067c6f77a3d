//! Kept frames as chapters, which mpv marks on its bar.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ipc::Ipc;
use super::osd;
use super::scenes::catalog;
use crate::catalog::Entry;
use crate::catalog::{CatalogStamp, Selection, SharedCatalog};
use crate::error::Result;
use crate::pipeline::evidence::{self, Moment, OpenRecording, Target, Way};
use crate::session::Session;

/// At most this many frames are chapters, the newest: a bar shows no more, and mpv takes the whole list
/// each time.
const CHAPTERS_MAX: usize = 2000;

/// Time between two updates.
const INTERVAL: Duration = Duration::from_secs(1);

/// The chapters of the recording that a player has open.
#[derive(Default)]
pub struct Chapters {
    session: Option<Session>,
    catalog: Option<SharedCatalog>,
    /// What the player shows; `None` if it shows nothing of ours.
    shown: Option<CatalogStamp>,
    /// When it was told last, or could not be.
    tried: Option<Instant>,
    /// Number of frames, from the first on, that the player finds by their time.
    on_timeline: usize,
}

impl Chapters {
    /// The player has opened a file: it has no chapters yet.
    pub fn opened(&mut self, target: &Target) {
        *self = Chapters { session: target.session().cloned(), ..Chapters::default() };
    }

    /// Tells the player of the frames that are kept by now, if that has changed.
    ///
    /// # Errors
    ///
    /// Returns an error if the index or the recording cannot be read, or the player does not answer.
    pub fn update(&mut self, ipc: &mut Ipc, stop: &dyn Fn() -> bool) -> Result<()> {
        let Some(session) = &self.session else { return Ok(()) };
        if self.tried.is_some_and(|tried| tried.elapsed() < INTERVAL) {
            return Ok(());
        }
        let catalog = match self.catalog.take() {
            Some(catalog) => catalog,
            None => catalog(session)?,
        };
        let stamp = catalog.stamp();
        if self.shown == Some(stamp) {
            self.catalog = Some(catalog);
            return Ok(());
        }
        self.tried = Some(Instant::now());
        let listed = catalog.list(&Selection::default(), &[], session.is_recorded())?;
        self.catalog = Some(catalog);
        let frames: Vec<Entry> = listed.into_iter().map(|frame| frame.entry).collect();
        self.on_timeline = on_timeline(session, &frames, self.on_timeline, stop)?;
        let frames = &frames[..self.on_timeline];
        let newest = &frames[frames.len().saturating_sub(CHAPTERS_MAX)..];
        let chapters: Vec<Value> = newest.iter().map(chapter).collect();
        ipc.command(json!(["set_property", "chapter-list", chapters]))?;
        self.shown = Some(stamp);
        Ok(())
    }
}

fn chapter(entry: &Entry) -> Value {
    json!({ "title": osd::frame_label(entry), "time": entry.timestamp })
}

/// Returns how many of `frames`, from the first on, a player finds by their time. After the sender's clock
/// has started again, its timeline is another one. `known` of them are.
fn on_timeline(
    session: &Session,
    frames: &[Entry],
    known: usize,
    stop: &dyn Fn() -> bool,
) -> Result<usize> {
    let recording = OpenRecording::open(&Target::Session(session.clone()), None)?;
    let is_on = |entry: &Entry| -> Result<bool> {
        let place = evidence::place(&recording, Moment::FromStart(entry.timestamp), stop)?;
        Ok(place.way != Way::Bytes)
    };
    let (mut low, mut high) = (known.min(frames.len()), frames.len());
    // As a rule, none is beyond.
    match frames.last() {
        Some(last) if low < high && is_on(last)? => return Ok(high),
        _ => {}
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if is_on(&frames[middle])? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
