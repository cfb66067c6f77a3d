//! Leases and acknowledgements of frames.
//!
//! ```text
//! event    one line of the journal
//! journal  frames/handouts.jsonl: appended to, synced, compacted
//! ```
//!
//! The journal is authoritative. The index only shows its state (`sent_to_agent`, `leased_until`,
//! `lease_holder`), so a program that writes back a stale index cannot undo a change.

mod event;
mod journal;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub(super) use event::Change;
pub use event::Event;
pub use journal::JOURNAL_NAME;

pub(super) use journal::Journal;

/// A lease of a frame, until the frame is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// System time at which the lease ends.
    pub until: Timestamp,
    /// Requested length.
    pub length: Duration,
    /// Name of the client, if given.
    pub holder: Option<String>,
}

/// State of a frame in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handout {
    /// The frame was leased. The lease may have expired.
    Leased(Lease),
    /// The frame was acknowledged, by this holder.
    Acknowledged(Option<String>),
}

/// State of all frames in the journal, by the numbers in their ids. A frame that is missing was
/// never handed out, or was released.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handouts(BTreeMap<u64, Handout>);

/// State of a handout as shown by an entry of the index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum ShownHandout {
    /// No handout: `sent_to_agent` is as set by another program.
    #[default]
    Nothing,
    /// `leased_until` and `lease_holder`.
    Leased(Box<(String, Option<String>)>),
    /// `"sent_to_agent": true`.
    Sent,
}

impl Lease {
    /// Returns a lease that begins now.
    pub fn begin(now: Timestamp, length: Duration, holder: Option<&str>) -> Lease {
        // A length beyond the range of the clock ends at the latest possible time.
        let length_signed = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        let until = now.checked_add(length_signed).unwrap_or(Timestamp::MAX);
        // The index shows milliseconds: round, so that both agree on the end of the lease.
        let until = Timestamp::from_millisecond(until.as_millisecond()).unwrap_or(until);
        Lease { until, length, holder: holder.map(str::to_owned) }
    }

    /// Returns whether the lease has not expired.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl Handouts {
    /// Returns the state of a frame; `None` if the frame is not handed out.
    pub fn get(&self, number: u64) -> Option<&Handout> {
        self.0.get(&number)
    }

    /// Returns the lease of a frame, if it has not expired.
    pub fn live_lease(&self, number: u64, now: Timestamp) -> Option<&Lease> {
        match self.get(number) {
            Some(Handout::Leased(lease)) if lease.is_live(now) => Some(lease),
            _ => None,
        }
    }

    /// Returns whether a frame was acknowledged.
    pub fn is_acknowledged(&self, number: u64) -> bool {
        matches!(self.get(number), Some(Handout::Acknowledged(_)))
    }

    /// Returns all frames that were handed out, and their states.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Handout)> {
        self.0.iter().map(|(number, handout)| (*number, handout))
    }

    /// Returns what the index shows for a frame.
    pub(super) fn shown(&self, number: u64, now: Timestamp) -> ShownHandout {
        match self.get(number) {
            Some(Handout::Acknowledged(_)) => ShownHandout::Sent,
            Some(Handout::Leased(lease)) if lease.is_live(now) => ShownHandout::Leased(Box::new((
                format!("{:.3}", lease.until),
                lease.holder.clone(),
            ))),
            _ => ShownHandout::Nothing,
        }
    }
}
