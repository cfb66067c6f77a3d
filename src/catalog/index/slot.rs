//! One item of the index in memory: an entry of ours, or an item of another program.

use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::entry::{Entry, indent, micros_of_seconds};
use crate::catalog::frames::frame_number;
use crate::catalog::handouts::ShownHandout;

/// An entry written by scenetap.
#[derive(Debug)]
pub(in crate::catalog) struct Slot {
    /// Number in the id.
    pub number: u64,
    /// Timestamp in microseconds.
    pub micros: i64,
    /// Offset at which the picture starts; `None` if the older system wrote the entry.
    pub offset: Option<u64>,
    /// Version of the index that first contained the entry; `None` if not written yet.
    pub published: Option<u64>,
    /// Version of the index: for this part, a text without an entry published after it counts as
    /// outdated (see [`super::entries::Entries::merge_displaced`]).
    pub guarded: Option<u64>,
    /// Handout that the entry shows, from the journal.
    pub shown: ShownHandout,
    /// The entry as indented text.
    pub text: Box<str>,
}

/// An item of the array that is not one of our entries; kept unchanged.
#[derive(Debug)]
pub(super) struct ForeignItem {
    /// Number of our entries before it.
    pub after: usize,
    /// Frame id, if the item has one.
    pub id: Option<Box<str>>,
    pub text: Box<str>,
    /// Version of the index: for this part, a text without an entry published after it counts as
    /// outdated (see [`super::entries::Entries::merge_displaced`]).
    pub guarded: Option<u64>,
}

/// Result of [`Slot::adopt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Adopted {
    /// The entry has changed.
    pub changed: bool,
    /// The other program's text contradicts the journal.
    pub hides_handout: bool,
}

impl Slot {
    pub fn new(entry: &Entry, published: Option<u64>) -> Option<Slot> {
        Some(Slot {
            number: frame_number(&entry.id)?,
            micros: micros_of_seconds(entry.timestamp),
            offset: entry.offset,
            published,
            guarded: None,
            shown: entry.shown_lease(),
            text: entry.render().ok()?,
        })
    }

    /// Returns the entry. `None` does not occur, because the text was made from an entry.
    pub fn entry(&self) -> Option<Entry> {
        Entry::from_map(serde_json::from_str(&self.text).ok()?)
    }

    /// Returns offset and time, which identify the picture; `None` if the older system wrote the
    /// entry.
    pub fn picture(&self) -> Option<(u64, i64)> {
        Some((self.offset?, self.micros))
    }

    /// Takes the place of the entry in the index. Keeps the parts that other programs may write:
    /// `sent_to_agent` and their own keys. Returns whether any other part differed.
    pub fn take_over(&mut self, theirs: Slot) -> bool {
        let (Some(mut ours), Some(their_entry)) = (self.entry(), theirs.entry()) else {
            return false;
        };
        ours.sent_to_agent = their_entry.sent_to_agent;
        ours.leased_until.clone_from(&their_entry.leased_until);
        ours.lease_holder.clone_from(&their_entry.lease_holder);
        ours.other.clone_from(&their_entry.other);
        if let Ok(text) = ours.render() {
            self.text = text;
        }
        self.published = theirs.published;
        self.shown = theirs.shown;
        ours != their_entry
    }

    /// Merges changes by another program, except those that contradict the journal of handouts.
    pub(super) fn adopt(&mut self, theirs: Map<String, Value>, outdated: bool) -> Adopted {
        let nothing = Adopted { changed: false, hides_handout: false };
        let their_entry = Entry::from_map(theirs.clone());
        let their_text = their_entry.as_ref().and_then(|entry| entry.render().ok());
        if their_text.is_some_and(|text| text == self.text) {
            return nothing;
        }
        let Some(mut entry) = self.entry() else { return nothing };
        entry.adopt(theirs, outdated);
        entry.sent_to_agent |= self.shown == ShownHandout::Sent;
        let hides_handout = their_entry.is_some_and(|theirs| {
            theirs.shown_lease() != entry.shown_lease()
                || (self.shown == ShownHandout::Sent && !theirs.sent_to_agent)
        });
        match entry.render() {
            Ok(text) if text != self.text => {
                self.text = text;
                Adopted { changed: true, hides_handout }
            }
            _ => Adopted { changed: false, hides_handout },
        }
    }

    /// Shows a handout of the journal. Returns whether that changes the entry.
    pub fn show(&mut self, handout: ShownHandout) -> bool {
        if self.shown == handout {
            return false;
        }
        let Some(mut entry) = self.entry() else { return false };
        entry.show(&handout);
        self.shown = handout;
        match entry.render() {
            Ok(text) if text != self.text => {
                self.text = text;
                true
            }
            _ => false,
        }
    }
}

impl ForeignItem {
    pub fn new(after: usize, item: &Value) -> Option<ForeignItem> {
        let text = indent(&serde_json::to_string_pretty(item).ok()?);
        Some(ForeignItem { after, id: item_id(item).map(Into::into), text, guarded: None })
    }

    pub fn is_same_item(&self, other: &ForeignItem) -> bool {
        match (&self.id, &other.id) {
            (None, None) => self.text == other.text,
            (one, another) => one == another,
        }
    }
}

/// Visits the items that are our entries, with the number in their id.
pub(super) fn each_entry(text: &str, mut visit: impl FnMut(Entry, u64)) -> serde_json::Result<()> {
    each_item(text, |item| {
        if let Value::Object(map) = item
            && let Some(entry) = Entry::from_map(map)
            && let Some(number) = frame_number(&entry.id)
        {
            visit(entry, number);
        }
    })
}

pub(super) fn item_id(item: &Value) -> Option<&str> {
    item.get("id")?.as_str()
}

/// Parses a JSON array item by item, so that a long index is never held in memory as a
/// tree.
pub(in crate::catalog) fn each_item(
    text: &str,
    visit: impl FnMut(Value),
) -> serde_json::Result<()> {
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
