//! Which frames were handed out: leases and acknowledgements.
//!
//! ```text
//! event    one line of the journal
//! journal  frames/handouts.jsonl: appended to, synced, compacted
//! ```
//!
//! The journal is the truth. The index only shows it (`sent_to_agent`, `leased_until`,
//! `lease_holder`): a program that writes back a stale index undoes nothing.

pub(super) mod event;
mod journal;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use event::Event;
pub use journal::JOURNAL_NAME;

pub(super) use journal::Journal;

/// A frame that was handed out, until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// When it ends, by the clock of the system.
    pub until: Timestamp,
    /// For how long it was asked.
    pub length: Duration,
    /// To whom, if a name was given.
    pub holder: Option<String>,
}

/// What the journal says about a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handout {
    /// It was leased. The lease may have ended.
    Leased(Lease),
    /// It was acknowledged, by this holder.
    Acknowledged(Option<String>),
}

/// What the journal says about all frames, by the numbers in their ids. A frame that is not in it
/// was never handed out, or was released.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handouts(BTreeMap<u64, Handout>);

/// What an entry of the index shows of its handout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum ShownHandout {
    /// Nothing: `sent_to_agent` is as another program has set it.
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
        // A length that no clock can hold ends with the calendar.
        let length_signed = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        let until = now.checked_add(length_signed).unwrap_or(Timestamp::MAX);
        // The index shows milliseconds: both must agree on when the lease ends.
        let until = Timestamp::from_millisecond(until.as_millisecond()).unwrap_or(until);
        Lease { until, length, holder: holder.map(str::to_owned) }
    }

    /// Returns whether it has not ended.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl Handouts {
    /// Returns what is known of a frame.
    pub fn get(&self, number: u64) -> Option<&Handout> {
        self.0.get(&number)
    }

    /// Returns the lease of a frame, if it has not ended.
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

    /// Returns the frames and what is known of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Handout)> {
        self.0.iter().map(|(number, handout)| (*number, handout))
    }

    /// Returns what the index shows of a frame.
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
