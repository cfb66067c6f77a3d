//! The entries of the index in memory: ready-made text, and merging with what others wrote.
//!
//! An entry is kept as the text that stands in the file, so that writing the
//! index is one concatenation and memory is about the size of the file. It is
//! parsed only when somebody else changed it.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::entry::{Entry, indent, micros_of_seconds};
use super::frames::frame_number;

/// An entry of ours.
#[derive(Debug)]
pub(super) struct Slot {
    /// The number in its id.
    pub number: u64,
    /// Its timestamp in microseconds.
    pub micros: i64,
    /// Where its picture starts, unless the old system wrote it.
    pub offset: Option<u64>,
    /// The version of the index in which it first stood; none if it was not written yet.
    published: Option<u64>,
    /// See [`Entries::merge_displaced`].
    guarded: Option<u64>,
    /// Its text, indented.
    text: Box<str>,
}

/// An item of the array that is not ours, kept as it is.
#[derive(Debug)]
struct Foreign {
    /// So many of our entries stand before it.
    after: usize,
    /// Its id, if it has one.
    id: Option<Box<str>>,
    text: Box<str>,
    /// See [`Entries::merge_displaced`].
    guarded: Option<u64>,
}

/// Our entries in presentation order, those of others between them.
///
/// The first `kept` are settled: kept in this life, or before what the
/// checkpoint says. The others were written by an earlier life and not yet found again.
#[derive(Debug, Default)]
pub(super) struct Entries {
    own: Vec<Slot>,
    kept: usize,
    foreign: Vec<Foreign>,
    /// Numbers of entries that were set aside: what others still write of them is passed over.
    retired: HashSet<u64>,
    /// How often the index was written in this life.
    version: u64,
}

/// What a merge found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merged {
    /// It brought something that we did not know.
    pub changed: bool,
    /// It lacks entries of ours.
    pub lacking: bool,
}

/// What [`Entries::restore`] did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Restored {
    /// Entries that were gone.
    pub came_back: usize,
    /// Entries that said something else of their picture.
    pub mended: usize,
}

impl Entries {
    /// Number of our entries, settled or not.
    pub fn len(&self) -> usize {
        self.own.len()
    }

    /// Our settled entries, in presentation order.
    pub fn kept(&self) -> &[Slot] {
        &self.own[..self.kept]
    }

    /// Entries of an earlier life that were not found again yet.
    pub fn earlier(&self) -> &[Slot] {
        &self.own[self.kept..]
    }

    /// Passes over, from now on, whatever has one of these numbers.
    pub fn retire(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.retired.extend(numbers);
    }

    /// Whether an entry that is not settled, or a foreign one, or a retired one, has this number.
    pub fn is_taken(&self, number: u64) -> bool {
        self.retired.contains(&number)
            || self.earlier().iter().any(|slot| slot.number == number)
            || self
                .foreign
                .iter()
                .any(|item| item.id.as_deref().and_then(frame_number) == Some(number))
    }

    /// Takes the first `count` of our entries as settled.
    pub fn settle(&mut self, count: usize) {
        self.kept = count.min(self.own.len());
    }

    /// Loads the index as an earlier life left it, before anything else is known.
    ///
    /// # Errors
    ///
    /// If `text` is not a JSON array. Nothing is loaded then.
    pub fn load(&mut self, text: &str) -> serde_json::Result<()> {
        let mut seen = HashSet::new();
        let mut own = Vec::new();
        each_entry(text, |entry, number| {
            if !self.retired.contains(&number) && seen.insert(number) {
                own.extend(Slot::new(&entry, Some(0)));
            }
        })?;
        self.own = own;
        // A second reading brings the items that are not ours, and every key of a doubled entry.
        self.merge(text, false).map(|_| ())
    }

    /// Mends what was loaded by an older copy of the index that is beyond doubt: entries
    /// that are gone come back, each says of its picture what it said, and they have
    /// their order. The flag stays, and what others added.
    ///
    /// # Errors
    ///
    /// If `copy` is not a JSON array. Nothing is mended then.
    pub fn restore(&mut self, copy: &str) -> serde_json::Result<Restored> {
        let mut truth = Vec::new();
        each_entry(copy, |entry, number| {
            if !self.retired.contains(&number) {
                truth.extend(Slot::new(&entry, None));
            }
        })?;
        let before: Vec<u64> = self.own.iter().map(|slot| slot.number).collect();
        let mut found: HashMap<u64, Slot> =
            self.own.drain(..).map(|slot| (slot.number, slot)).collect();
        let mut restored = Restored::default();
        for mut slot in truth {
            match found.remove(&slot.number) {
                Some(theirs) => restored.mended += usize::from(slot.take_over(theirs)),
                None => restored.came_back += 1,
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
                Some(&at) => restored.mended += usize::from(self.own[at].take_over(slot)),
                None => rest.push(slot),
            }
        }
        // What the copy lacks is later than it, if it is not of another time altogether.
        for slot in rest {
            let at = self.own.iter().rposition(|other| other.micros <= slot.micros);
            self.own.insert(at.map_or(0, |at| at + 1), slot);
        }
        self.place_foreign(&before);
        Ok(restored)
    }

    /// Puts the items of others behind those of our entries that they stood behind
    /// when our entries were those `before`.
    fn place_foreign(&mut self, before: &[u64]) {
        let now: HashMap<u64, usize> =
            self.own.iter().enumerate().map(|(at, slot)| (slot.number, at + 1)).collect();
        // One that was ours, and so spoiled that it was taken for another's.
        let is_ours = |item: &Foreign| {
            item.id.as_deref().and_then(frame_number).is_some_and(|it| now.contains_key(&it))
        };
        self.foreign.retain(|item| !is_ours(item));
        for item in &mut self.foreign {
            let behind = before[..item.after.min(before.len())].iter().rev();
            item.after = behind.filter_map(|number| now.get(number)).next().copied().unwrap_or(0);
        }
        self.foreign.sort_by_key(|item| item.after);
    }

    /// Takes over what others wrote: their flags and keys on our entries, and their own items.
    ///
    /// `behind` says that it cannot know all that we know; see [`Entry::adopt`]. So
    /// it is as well if it lacks an entry that was published.
    ///
    /// # Errors
    ///
    /// If `text` is not a JSON array. Nothing is taken over then.
    pub fn merge(&mut self, text: &str, behind: bool) -> serde_json::Result<Merged> {
        self.merge_from(text, behind, None)
    }

    /// [`Entries::merge`] for a file that stood where the index was written. For a
    /// moment the index lacks what it brings, and somebody may read it just then,
    /// and write a file without it much later. So what it brings is guarded: a file
    /// counts as behind in this until it has an entry that was published after.
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
        behind: bool,
        guard: Option<u64>,
    ) -> serde_json::Result<Merged> {
        let mut theirs = HashSet::new();
        each_item(text, |item| theirs.extend(item_id(&item).and_then(frame_number)))?;
        let has = |slot: &&Slot| theirs.contains(&slot.number);
        let lacking = !self.own.iter().all(|slot| has(&slot));
        let behind = behind || self.own.iter().any(|slot| slot.published.is_some() && !has(&slot));
        // It was made from this version of the index, or from a later one.
        let version = self.own.iter().filter(has).filter_map(|slot| slot.published).max();
        let is_behind_in =
            |guarded: Option<u64>| behind || guarded.is_some_and(|it| version <= Some(it));

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
                    let behind = is_behind_in(slot.guarded);
                    let adopted = slot.adopt(map, behind);
                    changed |= adopted;
                    if adopted && guard.is_some() {
                        slot.guarded = guard;
                    } else if !behind {
                        slot.guarded = None;
                    }
                }
                (_, item) => foreign.extend(Foreign::new(after, &item)),
            }
        })?;
        changed |= self.merge_foreign(foreign, guard, is_behind_in);
        Ok(Merged { changed, lacking })
    }

    /// Puts their items in the place of those known. One that they lack stays if they
    /// could not know it.
    fn merge_foreign(
        &mut self,
        mut theirs: Vec<Foreign>,
        guard: Option<u64>,
        is_behind_in: impl Fn(Option<u64>) -> bool,
    ) -> bool {
        for new in &mut theirs {
            let known = self.foreign.iter().find(|old| old.text == new.text);
            new.guarded = match known {
                Some(old) => old.guarded.filter(|_| is_behind_in(old.guarded)),
                None => guard,
            };
        }
        let stays = |old: &Foreign| {
            is_behind_in(old.guarded) && !theirs.iter().any(|new| new.is_same_item(old))
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

    /// Settles the entry `at` of [`Entries::earlier`], as `entry` has it now. Says
    /// whether that differs from what is in the file.
    pub fn settle_earlier(&mut self, at: usize, entry: &Entry) -> bool {
        let Some(slot) = self.own.get_mut(self.kept + at) else { return false };
        let text = entry.render().ok().filter(|text| *text != slot.text);
        let same = text.is_none();
        if let Some(text) = text {
            (slot.offset, slot.text) = (entry.offset, text);
        }
        // Most are found in their order: nothing is moved then.
        if at > 0 {
            let slot = self.remove(self.kept + at);
            self.insert(self.kept, slot);
        }
        self.kept += 1;
        !(same && at == 0)
    }

    /// Removes our entries that satisfy `which`, for good, and returns them. `which` is told
    /// whether the entry is settled.
    pub fn take(&mut self, which: impl Fn(bool, &Slot) -> bool) -> Vec<Slot> {
        let kept = self.kept;
        let (mut stay, mut taken) = (Vec::with_capacity(self.own.len()), Vec::new());
        // How many of the first n stay: the places of foreign items follow from it.
        let mut staying = Vec::with_capacity(self.own.len() + 1);
        for (at, slot) in self.own.drain(..).enumerate() {
            staying.push(stay.len());
            if which(at < kept, &slot) { taken.push(slot) } else { stay.push(slot) }
        }
        staying.push(stay.len());
        let place = |at: usize| staying.get(at).copied().unwrap_or(stay.len());
        self.kept = place(kept);
        self.foreign.iter_mut().for_each(|item| item.after = place(item.after));
        self.own = stay;
        self.retire(taken.iter().map(|slot| slot.number).collect::<Vec<_>>());
        taken
    }

    /// Writes `index.json`.
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

    /// Takes note that the file holds every entry.
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

impl Slot {
    fn new(entry: &Entry, published: Option<u64>) -> Option<Slot> {
        Some(Slot {
            number: frame_number(&entry.id)?,
            micros: micros_of_seconds(entry.timestamp),
            offset: entry.offset,
            published,
            guarded: None,
            text: entry.render().ok()?,
        })
    }

    /// The entry; `None` cannot happen, as the text was made from one.
    pub fn entry(&self) -> Option<Entry> {
        Entry::from_map(serde_json::from_str(&self.text).ok()?)
    }

    /// What tells its picture from all others, unless the old system wrote it.
    fn picture(&self) -> Option<(u64, i64)> {
        Some((self.offset?, self.micros))
    }

    /// Takes the place of the entry that was in the index, with what others may write:
    /// the flag, and keys of their own. Says whether anything else in it was different.
    fn take_over(&mut self, theirs: Slot) -> bool {
        let (Some(mut ours), Some(theirs_now)) = (self.entry(), theirs.entry()) else {
            return false;
        };
        ours.sent_to_agent = theirs_now.sent_to_agent;
        ours.other.clone_from(&theirs_now.other);
        if let Ok(text) = ours.render() {
            self.text = text;
        }
        self.published = theirs.published;
        ours != theirs_now
    }

    /// Says whether anything changed by it.
    fn adopt(&mut self, theirs: Map<String, Value>, behind: bool) -> bool {
        let as_they_have_it = Entry::from_map(theirs.clone()).and_then(|it| it.render().ok());
        if as_they_have_it.is_some_and(|text| text == self.text) {
            return false;
        }
        let Some(mut entry) = self.entry() else { return false };
        entry.adopt(theirs, behind);
        match entry.render() {
            Ok(text) if text != self.text => {
                self.text = text;
                true
            }
            _ => false,
        }
    }
}

impl Foreign {
    fn new(after: usize, item: &Value) -> Option<Foreign> {
        let text = indent(&serde_json::to_string_pretty(item).ok()?);
        Some(Foreign { after, id: item_id(item).map(Into::into), text, guarded: None })
    }

    fn is_same_item(&self, other: &Foreign) -> bool {
        match (&self.id, &other.id) {
            (None, None) => self.text == other.text,
            (one, another) => one == another,
        }
    }
}

/// Visits the items that are entries of ours, with the number in their id.
fn each_entry(text: &str, mut visit: impl FnMut(Entry, u64)) -> serde_json::Result<()> {
    each_item(text, |item| {
        if let Value::Object(map) = item
            && let Some(entry) = Entry::from_map(map)
            && let Some(number) = frame_number(&entry.id)
        {
            visit(entry, number);
        }
    })
}

fn item_id(item: &Value) -> Option<&str> {
    item.get("id")?.as_str()
}

/// Parses a JSON array item by item, so that a long index never stands in memory as a tree.
pub(super) fn each_item(text: &str, visit: impl FnMut(Value)) -> serde_json::Result<()> {
    struct Items<F>(F);
    impl<'de, F: FnMut(Value)> Visitor<'de> for Items<F> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array of entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
            while let Some(item) = items.next_element()? {
                (self.0)(item);
            }
            Ok(())
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    (&mut json).deserialize_seq(Items(visit))?;
    json.end()
}
