//! Lists and hands out the frames of a folder that a recorder may own.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::clock::SystemClock;
use super::frames::{frame_number, jpeg_name};
use super::handouts::{Change, Event, Handout, Handouts, JOURNAL_NAME, Journal, Lease};
use super::index::entries::Entries;
use super::index::reading::Reader;
use super::index::slot::Slot;
use super::index::stamp::Stamp;
use super::index::{CORRUPT_GRACE, Entry, INDEX_NAME, IndexFile};
use super::pace::AT_ONCE_ENTRIES;
use super::quarantined_entries::quarantined_numbers;
use crate::disk::{EntryKind, Folder};
use crate::error::{Context, Error, Result, Stage};

/// A frame of the index, with its state in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedFrame {
    /// Number in the id.
    pub number: u64,
    /// The entry, updated from the journal.
    pub entry: Entry,
}

/// Where a selection of frames begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Since {
    /// After the frame with this number.
    Frame(u64),
    /// At this time, in seconds from the start of the recording.
    Seconds(f64),
}

/// Selects frames of an index.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Selection {
    /// Only frames that were not delivered.
    pub unsent: bool,
    /// Only frames after this position.
    pub since: Option<Since>,
    /// At most this many, the oldest first.
    pub limit: Option<usize>,
}

impl Selection {
    /// Returns whether the selection contains the frame, regardless of the limit.
    pub fn contains(&self, frame: &ListedFrame) -> bool {
        let is_since = match self.since {
            None => true,
            Some(Since::Frame(number)) => frame.number > number,
            Some(Since::Seconds(seconds)) => frame.entry.timestamp >= seconds,
        };
        is_since && !(self.unsent && frame.entry.sent_to_agent)
    }
}

/// The frames folder of a session. Any number of processes may open it in addition to its recorder.
#[derive(Debug)]
pub struct SharedCatalog {
    path: PathBuf,
    folder: Folder,
    index_copy: PathBuf,
    lock_timeout: Duration,
}

impl SharedCatalog {
    /// Opens the frames folder at `path`. `index_copy` is the synced copy of its index. `lock_timeout` is the
    /// time to wait for the lock on the index.
    ///
    /// # Errors
    ///
    /// Returns an error if `path` is not a folder.
    pub fn open(path: &Path, index_copy: &Path, lock_timeout: Duration) -> Result<SharedCatalog> {
        let folder = Folder::open(path).context(Stage::Catalog, path, "cannot open it")?;
        let (path, index_copy) = (path.to_owned(), index_copy.to_owned());
        Ok(SharedCatalog { path, folder, index_copy, lock_timeout })
    }

    /// Returns the selected frames in presentation order, followed by the frames of `reported` that the index
    /// does not list. Waits for no lock. Unless it `is_recorded`, restores entries that other programs have
    /// deleted; a recorder restores them itself.
    ///
    /// # Errors
    ///
    /// Returns an error if the index or the journal cannot be read.
    pub fn list(
        &self,
        selection: &Selection,
        reported: &[ListedFrame],
        is_recorded: bool,
    ) -> Result<Vec<ListedFrame>> {
        let mut entries = self.no_entries();
        Reader::new(CORRUPT_GRACE, Arc::new(SystemClock)).load_shared(
            &self.path.join(INDEX_NAME),
            self.copy(is_recorded),
            &mut entries,
        )?;
        let mut journal = Journal::new(&self.path);
        journal.refresh()?;
        let now = Timestamp::now();
        entries.show(journal.handouts(), now);
        let listed: HashSet<u64> = entries.all().iter().map(|slot| slot.number).collect();
        let reported = reported.iter().filter(|frame| !listed.contains(&frame.number)).cloned();
        let reported = reported.map(|mut frame| {
            frame.entry.show(&journal.handouts().shown(frame.number, now));
            frame
        });
        let frames = entries.all().iter().filter_map(ListedFrame::of).chain(reported);
        let selected = frames.filter(|frame| selection.contains(frame));
        Ok(selected.take(selection.limit.unwrap_or(usize::MAX)).collect())
    }

    /// Returns the copy from which missing entries are restored.
    fn copy(&self, is_recorded: bool) -> Option<&Path> {
        (!is_recorded).then_some(&self.index_copy)
    }

    /// Returns a stamp of the index and the journal.
    pub fn stamp(&self) -> CatalogStamp {
        CatalogStamp([INDEX_NAME, JOURNAL_NAME].map(|name| Stamp::at(&self.path.join(name))))
    }

    /// Leases the oldest selected frames that have a picture and are neither sent nor leased, and returns
    /// them. `reported` contains further frames, which the index may not list yet. `is_recorded` states that a
    /// recorder has the session open: in a long index, the recorder then shows the leases at its next write.
    ///
    /// # Errors
    ///
    /// Returns an error if the index or the journal cannot be read or written; of
    /// [`Kind::Busy`](crate::error::Kind::Busy) if another process holds the lock on the index. In both
    /// cases, no frame is leased.
    pub fn lease(
        &self,
        selection: &Selection,
        reported: &[ListedFrame],
        length: Duration,
        holder: Option<&str>,
        is_recorded: bool,
    ) -> Result<Vec<ListedFrame>> {
        let mut leased = Vec::new();
        let events = self.hand_out(is_recorded, |entries, handouts| {
            let now = Timestamp::now();
            let lease = Lease::begin(now, length, holder);
            let is_free = |frame: &ListedFrame| {
                !frame.entry.sent_to_agent
                    && !handouts.is_acknowledged(frame.number)
                    && handouts.live_lease(frame.number, now).is_none()
            };
            let listed: HashSet<u64> = entries.all().iter().map(|slot| slot.number).collect();
            let reported = reported.iter().filter(|frame| !listed.contains(&frame.number)).cloned();
            let frames = entries.all().iter().filter_map(ListedFrame::of).chain(reported);
            let free = frames.filter(|frame| {
                is_free(frame) && selection.contains(frame) && self.has_picture(&frame.entry.id)
            });
            leased = free.take(selection.limit.unwrap_or(usize::MAX)).collect();
            let ids: Vec<_> = leased.iter().map(|frame| frame.entry.id.clone()).collect();
            let is_any = !ids.is_empty();
            Ok(is_any.then(|| Event::lease(ids, &lease)).into_iter().collect())
        })?;
        let mut handouts = Handouts::default();
        events.iter().for_each(|event| handouts.apply(event));
        for frame in &mut leased {
            frame.entry.show(&handouts.shown(frame.number, Timestamp::UNIX_EPOCH));
        }
        Ok(leased)
    }

    /// Acknowledges frames. If `holder` is given, each frame must be leased to it, or acknowledged by it.
    ///
    /// # Errors
    ///
    /// Returns an error, and acknowledges nothing, if an id is unknown, or its frame is leased to or
    /// acknowledged by another holder; otherwise as [`SharedCatalog::lease`].
    pub fn acknowledge(
        &self,
        ids: &[String],
        holder: Option<&str>,
        is_recorded: bool,
    ) -> Result<()> {
        self.change(ids, is_recorded, |id, number, handouts, now| {
            match (handouts.get(number), holder) {
                (Some(Handout::Acknowledged(Some(by))), Some(holder)) if by != holder => {
                    Err(format!("{id} was acknowledged by {by}"))
                }
                (Some(Handout::Acknowledged(_)), _) => Ok(None),
                _ => {
                    check_holder(id, number, handouts, holder, now)?;
                    Ok(Some((Change::Ack, holder.map(str::to_owned))))
                }
            }
        })
    }

    /// Releases leases: the frames may be leased again immediately. If `holder` is given, each
    /// frame must be leased to it.
    ///
    /// # Errors
    ///
    /// As [`SharedCatalog::acknowledge`].
    pub fn release(&self, ids: &[String], holder: Option<&str>, is_recorded: bool) -> Result<()> {
        self.change(ids, is_recorded, |id, number, handouts, now| {
            check_holder(id, number, handouts, holder, now)?;
            match handouts.get(number) {
                Some(Handout::Leased(lease)) => Ok(Some((Change::Release, lease.holder.clone()))),
                _ => Ok(None),
            }
        })
    }

    /// Renews leases, by `length` or by the length requested first. If `holder` is given, each
    /// frame must currently be leased to it.
    ///
    /// # Errors
    ///
    /// As [`SharedCatalog::acknowledge`]; also if a frame is not leased, or is acknowledged.
    pub fn renew(
        &self,
        ids: &[String],
        holder: Option<&str>,
        length: Option<Duration>,
        is_recorded: bool,
    ) -> Result<()> {
        self.change(ids, is_recorded, |id, number, handouts, now| {
            check_holder(id, number, handouts, holder, now)?;
            match handouts.get(number) {
                Some(Handout::Leased(lease)) => {
                    let length = length.unwrap_or(lease.length);
                    let Lease { until, length, holder } =
                        Lease::begin(now, length, lease.holder.as_deref());
                    let seconds = length.as_secs_f64();
                    Ok(Some((Change::Lease { until, seconds }, holder)))
                }
                Some(Handout::Acknowledged(_)) => Err(format!("{id} is acknowledged")),
                None => Err(format!("{id} is not leased")),
            }
        })
    }

    /// Calls `decide` for each frame, and applies the returned changes: all of them or none.
    fn change(
        &self,
        ids: &[String],
        is_recorded: bool,
        decide: impl Fn(&str, u64, &Handouts, Timestamp) -> Result<Option<Decision>, String>,
    ) -> Result<()> {
        let failed = |what: String| Error::new(Stage::Catalog, what).path(&self.path);
        let retired = quarantined_numbers(&self.path);
        let now = Timestamp::now();
        self.hand_out(is_recorded, |entries, handouts| {
            let listed: HashSet<u64> = entries.all().iter().map(|slot| slot.number).collect();
            let mut events: Vec<Event> = Vec::new();
            for id in ids {
                let number =
                    frame_number(id).ok_or_else(|| failed(format!("{id:?} is not a frame id")))?;
                // The JPEG may exist before the index of a long recording lists the frame.
                let is_known = listed.contains(&number)
                    || handouts.get(number).is_some()
                    || (!retired.contains(&number) && self.has_picture(id));
                if !is_known {
                    return Err(failed(format!("there is no frame {id}")));
                }
                let Some((change, holder)) = decide(id, number, handouts, now).map_err(failed)?
                else {
                    continue;
                };
                match events.last_mut() {
                    Some(last) if last.change == change && last.holder == holder => {
                        last.ids.push(id.clone());
                    }
                    _ => events.push(Event { change, ids: vec![id.clone()], holder }),
                }
            }
            Ok(events)
        })
        .map(drop)
    }

    fn hand_out(
        &self,
        is_recorded: bool,
        decide: impl FnOnce(&Entries, &Handouts) -> Result<Vec<Event>>,
    ) -> Result<Vec<Event>> {
        let clock = Arc::new(SystemClock);
        let mut index = IndexFile::new(&self.path, CORRUPT_GRACE, self.lock_timeout, clock)?;
        let shows = |entries: usize| !is_recorded || entries <= AT_ONCE_ENTRIES;
        index.hand_out(&mut self.no_entries(), self.copy(is_recorded), &shows, decide)
    }

    /// Returns empty entries, into which the index can be loaded.
    fn no_entries(&self) -> Entries {
        let mut entries = Entries::default();
        entries.retire(quarantined_numbers(&self.path));
        entries
    }

    /// Returns whether the JPEG of a frame exists in this folder, regardless of the path in its entry.
    pub fn has_picture(&self, id: &str) -> bool {
        matches!(self.folder.kind(jpeg_name(id).as_ref()), Ok(Some(EntryKind::File)))
    }
}

/// The change to a frame, and the holder to store in the journal.
type Decision = (Change, Option<String>);

/// Checks that the holder, if given, currently leases the frame.
fn check_holder(
    id: &str,
    number: u64,
    handouts: &Handouts,
    holder: Option<&str>,
    now: Timestamp,
) -> Result<(), String> {
    let Some(holder) = holder else { return Ok(()) };
    match handouts.get(number) {
        Some(Handout::Leased(lease)) if lease.holder.as_deref() != Some(holder) => {
            let other = lease.holder.as_deref().unwrap_or("a program without a name");
            Err(format!("{id} was leased to {other}, not to {holder}"))
        }
        Some(Handout::Leased(lease)) if !lease.is_live(now) => {
            Err(format!("the lease of {id} has ended at {:.3}", lease.until))
        }
        Some(Handout::Leased(_)) => Ok(()),
        Some(Handout::Acknowledged(_)) => Err(format!("{id} is acknowledged")),
        None => Err(format!("{id} is not leased to {holder}")),
    }
}

/// Stamp that changes with the index and the journal of a folder. Two changes of a file within one tick of
/// the system's clock may have the same stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogStamp([Option<Stamp>; 2]);

impl ListedFrame {
    /// Parses an entry; `None` if the value is not a frame.
    pub fn parse(entry: Value) -> Option<ListedFrame> {
        let Value::Object(map) = entry else { return None };
        let entry = Entry::from_map(map)?;
        Some(ListedFrame { number: frame_number(&entry.id)?, entry })
    }

    fn of(slot: &Slot) -> Option<ListedFrame> {
        Some(ListedFrame { number: slot.number, entry: slot.entry()? })
    }
}
