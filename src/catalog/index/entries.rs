//! The entries of the index in memory, and merging them with changes by other programs.
//!
//! An entry is kept as its text in the file. Writing the index is then a concatenation, and memory use
//! is about the size of the file. The text is parsed only if another program changes it.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::Value;

use super::entry::Entry;
use super::slot::{Adopted, ForeignItem, Slot, each_entry, each_item, item_id};
use crate::catalog::frames::frame_number;
use crate::catalog::handouts::Handouts;

/// Our entries in presentation order, with items of other programs between them.
///
/// The first `kept` entries are settled: kept in this run, or covered by the checkpoint.
/// The others were written by an earlier run and have not been found again yet.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Entries {
    own: Vec<Slot>,
    kept: usize,
    foreign: Vec<ForeignItem>,
    /// Numbers of quarantined entries: if another program still writes one, it is
    /// ignored.
    retired: HashSet<u64>,
    /// Number of times the index was written in this run.
    version: u64,
}

/// Result of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::catalog) struct Merged {
    /// The merged text contained something new.
    pub changed: bool,
    /// The merged text lacks some of our entries, or contradicts the journal of handouts.
    pub lacking: bool,
}

/// Result of [`Entries::restore`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::catalog) struct Restored {
    /// Number of entries that were missing.
    pub added: usize,
    /// Number of entries that described their picture differently.
    pub repaired: usize,
}

impl Entries {
    /// Returns the number of our entries, settled or not.
    pub fn len(&self) -> usize {
        self.own.len()
    }

    /// Returns our entries, settled or not, in presentation order.
    pub fn all(&self) -> &[Slot] {
        &self.own
    }

    /// Returns our settled entries, in presentation order.
    pub fn kept(&self) -> &[Slot] {
        &self.own[..self.kept]
    }

    /// Returns entries of an earlier run that have not been found again yet.
    pub fn earlier(&self) -> &[Slot] {
        &self.own[self.kept..]
    }

    /// Ignores entries with these numbers from now on.
    pub fn retire(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.retired.extend(numbers);
    }

    /// Returns whether this number belongs to an unsettled, foreign or retired entry.
    pub fn is_taken(&self, number: u64) -> bool {
        self.retired.contains(&number)
            || self.earlier().iter().any(|slot| slot.number == number)
            || self
                .foreign
                .iter()
                .any(|item| item.id.as_deref().and_then(frame_number) == Some(number))
    }

    /// Settles the first `count` of our entries.
    pub fn settle(&mut self, count: usize) {
        self.kept = count.min(self.own.len());
    }

    /// Loads the index left by an earlier run. Must be called first.
    ///
    /// # Errors
    ///
    /// Returns an error, and loads nothing, if `text` is not a JSON array.
    pub fn load(&mut self, text: &str) -> serde_json::Result<()> {
        let mut seen = HashSet::new();
        let mut own = Vec::new();
        each_entry(text, |entry, number| {
            if !self.retired.contains(&number) && seen.insert(number) {
                own.extend(Slot::new(&entry, Some(0)));
            }
        })?;
        self.own = own;
        // Merging the same text adds foreign items and the keys of duplicate entries.
        self.merge(text, false).map(|_| ())
    }

    /// Repairs the loaded entries with an older, trusted copy of the index. Restores missing entries,
    /// the description of each picture, and the order. Keeps `sent_to_agent` and the additions of other
    /// programs.
    ///
    /// # Errors
    ///
    /// Returns an error, and changes nothing, if `copy` is not a JSON array.
    pub fn restore(&mut self, copy: &str) -> serde_json::Result<Restored> {
        let mut trusted = Vec::new();
        each_entry(copy, |entry, number| {
            if !self.retired.contains(&number) {
                trusted.extend(Slot::new(&entry, None));
            }
        })?;
        let before: Vec<u64> = self.own.iter().map(|slot| slot.number).collect();
        let mut found: HashMap<u64, Slot> =
            self.own.drain(..).map(|slot| (slot.number, slot)).collect();
        let mut restored = Restored::default();
        for mut slot in trusted {
            match found.remove(&slot.number) {
                Some(theirs) => restored.repaired += usize::from(slot.take_over(theirs)),
                None => restored.added += 1,
            }
            self.own.push(slot);
        }
        let pictures: HashMap<_, usize> = self
            .own
            .iter()
            .enumerate()
            .filter_map(|(at, slot)| Some((slot.picture()?, at)))
            .collect();
        let mut rest = Vec::new();
        for slot in before.iter().filter_map(|number| found.remove(number)) {
            match slot.picture().and_then(|picture| pictures.get(&picture)) {
                Some(&at) => restored.repaired += usize::from(self.own[at].take_over(slot)),
                None => rest.push(slot),
            }
        }
        // Entries that the copy lacks are newer. They are inserted by time.
        for slot in rest {
            let at = self.own.iter().rposition(|other| other.micros <= slot.micros);
            self.own.insert(at.map_or(0, |at| at + 1), slot);
        }
        self.place_foreign(&before);
        Ok(restored)
    }

    /// Moves each foreign item behind the entry that it followed when our entries were `before`.
    fn place_foreign(&mut self, before: &[u64]) {
        let now: HashMap<u64, usize> =
            self.own.iter().enumerate().map(|(at, slot)| (slot.number, at + 1)).collect();
        // Whether the item is one of our entries, so damaged that it was parsed as foreign.
        let is_ours = |item: &ForeignItem| {
            item.id
                .as_deref()
                .and_then(frame_number)
                .is_some_and(|number| now.contains_key(&number))
        };
        self.foreign.retain(|item| !is_ours(item));
        for item in &mut self.foreign {
            let earlier = before[..item.after.min(before.len())].iter().rev();
            item.after = earlier.filter_map(|number| now.get(number)).next().copied().unwrap_or(0);
        }
        self.foreign.sort_by_key(|item| item.after);
    }

    /// Merges changes by other programs: to our entries, and to their own items.
    ///
    /// `outdated` means that the text was made from an older state of the index; see
    /// [`Entry::adopt`]. This is also assumed if it lacks a published entry.
    ///
    /// # Errors
    ///
    /// Returns an error, and changes nothing, if `text` is not a JSON array.
    pub fn merge(&mut self, text: &str, outdated: bool) -> serde_json::Result<Merged> {
        self.merge_from(text, outdated, None)
    }

    /// [`Entries::merge`] for a file that was displaced when the index was written. For a moment, the
    /// index lacks the content of this file. Another program may read the index at that moment, and
    /// write it back much later. So the content of the file is guarded: for guarded parts, a text
    /// counts as outdated until it contains an entry that was published later.
    ///
    /// # Errors
    ///
    /// As [`Entries::merge`].
    pub fn merge_displaced(&mut self, text: &str) -> serde_json::Result<Merged> {
        self.merge_from(text, true, Some(self.version))
    }

    fn merge_from(
        &mut self,
        text: &str,
        outdated: bool,
        guard: Option<u64>,
    ) -> serde_json::Result<Merged> {
        let mut theirs = HashSet::new();
        each_item(text, |item| theirs.extend(item_id(&item).and_then(frame_number)))?;
        let has = |slot: &&Slot| theirs.contains(&slot.number);
        let mut lacking = !self.own.iter().all(|slot| has(&slot));
        let outdated =
            outdated || self.own.iter().any(|slot| slot.published.is_some() && !has(&slot));
        // The text was made from this version of the index, or a later one.
        let version = self.own.iter().filter(has).filter_map(|slot| slot.published).max();
        let is_outdated_for =
            |guarded: Option<u64>| outdated || guarded.is_some_and(|guard| version <= Some(guard));

        let at: HashMap<u64, usize> =
            self.own.iter().enumerate().map(|(at, slot)| (slot.number, at)).collect();
        let mut changed = false;
        let mut foreign = Vec::new();
        let mut after = 0;
        each_item(text, |item| {
            let number = item_id(&item).and_then(frame_number);
            if number.is_some_and(|number| self.retired.contains(&number)) {
                return;
            }
            match (number.and_then(|number| at.get(&number)), item) {
                (Some(&at), Value::Object(map)) => {
                    after = at + 1;
                    let slot = &mut self.own[at];
                    let outdated = is_outdated_for(slot.guarded);
                    let Adopted { changed: adopted, hides_handout } = slot.adopt(map, outdated);
                    changed |= adopted;
                    lacking |= hides_handout;
                    if adopted && guard.is_some() {
                        slot.guarded = guard;
                    } else if !outdated {
                        slot.guarded = None;
                    }
                }
                (_, item) => foreign.extend(ForeignItem::new(after, &item)),
            }
        })?;
        changed |= self.merge_foreign(foreign, guard, is_outdated_for);
        Ok(Merged { changed, lacking })
    }

    /// Replaces the known foreign items by `theirs`. An item missing in `theirs` is kept if the author
    /// could not have seen it.
    fn merge_foreign(
        &mut self,
        mut theirs: Vec<ForeignItem>,
        guard: Option<u64>,
        is_outdated_for: impl Fn(Option<u64>) -> bool,
    ) -> bool {
        for new in &mut theirs {
            let known = self.foreign.iter().find(|old| old.text == new.text);
            new.guarded = match known {
                Some(old) => old.guarded.filter(|_| is_outdated_for(old.guarded)),
                None => guard,
            };
        }
        let stays = |old: &ForeignItem| {
            is_outdated_for(old.guarded) && !theirs.iter().any(|new| new.is_same_item(old))
        };
        let before: Vec<_> = self.foreign.iter().map(|old| (old.after, old.text.clone())).collect();
        let staying: Vec<_> = self.foreign.drain(..).filter(stays).collect();
        theirs.extend(staying);
        theirs.sort_by_key(|item| item.after);
        self.foreign = theirs;
        !self
            .foreign
            .iter()
            .map(|new| (new.after, &new.text))
            .eq(before.iter().map(|(after, text)| (*after, text)))
    }

    /// Appends a new settled entry.
    pub fn push(&mut self, entry: &Entry) {
        if let Some(slot) = Slot::new(entry, None) {
            self.insert(self.kept, slot);
            self.kept += 1;
        }
    }

    /// Settles the entry `at` of [`Entries::earlier`], updated to `entry`. Returns
    /// whether this changes the file.
    pub fn settle_earlier(&mut self, at: usize, entry: &Entry) -> bool {
        let Some(slot) = self.own.get_mut(self.kept + at) else { return false };
        let text = entry.render().ok().filter(|text| *text != slot.text);
        let same = text.is_none();
        if let Some(text) = text {
            (slot.offset, slot.text) = (entry.offset, text);
        }
        // Most entries are found in order, so nothing has to be moved.
        if at > 0 {
            let slot = self.remove(self.kept + at);
            self.insert(self.kept, slot);
        }
        self.kept += 1;
        !(same && at == 0)
    }

    /// Removes and retires our entries that satisfy `which`, and returns them. The first argument of
    /// `which` is true for a settled entry.
    pub fn take(&mut self, which: impl Fn(bool, &Slot) -> bool) -> Vec<Slot> {
        let kept = self.kept;
        let (mut stay, mut taken) = (Vec::with_capacity(self.own.len()), Vec::new());
        // For each n, the number of the first n entries that stay: the new positions of foreign items.
        let mut staying = Vec::with_capacity(self.own.len() + 1);
        for (at, slot) in self.own.drain(..).enumerate() {
            staying.push(stay.len());
            if which(at < kept, &slot) { taken.push(slot) } else { stay.push(slot) }
        }
        staying.push(stay.len());
        let position = |at: usize| staying.get(at).copied().unwrap_or(stay.len());
        self.kept = position(kept);
        self.foreign.iter_mut().for_each(|item| item.after = position(item.after));
        self.own = stay;
        self.retire(taken.iter().map(|slot| slot.number).collect::<Vec<_>>());
        taken
    }

    /// Updates the entries from the journal of handouts. Returns whether that changes the file.
    pub fn show(&mut self, handouts: &Handouts, now: Timestamp) -> bool {
        let mut changed = false;
        for slot in &mut self.own {
            changed |= slot.show(handouts.shown(slot.number, now));
        }
        changed
    }

    /// Writes the text of `index.json`.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut separator = "[\n";
        let mut foreign = self.foreign.iter().peekable();
        for at in 0..=self.own.len() {
            let before = std::iter::from_fn(|| foreign.next_if(|item| item.after <= at));
            for text in before.map(|item| &item.text).chain(self.own.get(at).map(|slot| &slot.text))
            {
                out.write_all(separator.as_bytes())?;
                out.write_all(text.as_bytes())?;
                separator = ",\n";
            }
        }
        out.write_all(if separator == "[\n" { b"[]\n" } else { b"\n]\n" })
    }

    /// Marks all entries as listed in the file.
    pub fn mark_published(&mut self) {
        self.version += 1;
        for slot in &mut self.own {
            slot.published.get_or_insert(self.version);
        }
    }

    fn insert(&mut self, at: usize, slot: Slot) {
        self.foreign.iter_mut().filter(|item| item.after > at).for_each(|item| item.after += 1);
        self.own.insert(at, slot);
    }

    fn remove(&mut self, at: usize) -> Slot {
        self.foreign.iter_mut().filter(|item| item.after > at).for_each(|item| item.after -= 1);
        if at < self.kept {
            self.kept -= 1;
        }
        self.own.remove(at)
    }
}
