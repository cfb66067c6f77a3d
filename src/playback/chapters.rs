//! Kept frames as chapters, which mpv marks on its seek bar.

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

/// Maximum number of chapters; the newest frames are used. A bar cannot show more, and each update
/// replaces the whole list in mpv.
const CHAPTERS_MAX: usize = 2000;

/// Time between two updates.
const INTERVAL: Duration = Duration::from_secs(1);

/// The chapters of the recording that a player has open.
#[derive(Default)]
pub struct Chapters {
    session: Option<Session>,
    catalog: Option<SharedCatalog>,
    /// Stamp of the frames that the player shows; `None` if it shows none.
    shown: Option<CatalogStamp>,
    /// Time of the last attempt to update the player.
    tried: Option<Instant>,
    /// Number of frames, from the first on, whose times are valid on the player's timeline.
    on_timeline: usize,
}

impl Chapters {
    /// Handles that the player has opened a file, which has no chapters yet.
    pub fn opened(&mut self, target: &Target) {
        *self = Chapters { session: target.session().cloned(), ..Chapters::default() };
    }

    /// Sends the current frames to the player, if they have changed.
    ///
    /// # Errors
    ///
    /// Returns an error if the index or the recording cannot be read, or the player does not respond.
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

/// Returns the number of `frames`, from the first on, whose times are valid on the player's timeline,
/// which differs after a restart of the sender's clock. `known` is a lower bound.
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
    // Usually, all of them are.
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
