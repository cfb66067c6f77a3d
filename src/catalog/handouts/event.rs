//! One line of the journal.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Handout, Handouts, Lease};
use crate::catalog::frames::{frame_id, frame_number};

/// Maximum number of ids in one line of a compacted journal.
const IDS_PER_LINE: usize = 256;

/// A change to one or more frames. Serialized as one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Kind of the change.
    #[serde(flatten)]
    pub change: Change,
    /// Ids of the frames.
    pub ids: Vec<String>,
    /// Name of the client, if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

/// Kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Change {
    /// The frames were leased.
    Lease {
        /// When the lease ends.
        until: Timestamp,
        /// Requested length of the lease.
        seconds: f64,
    },
    /// The frames were acknowledged.
    Ack,
    /// The leases were released.
    Release,
}

impl Event {
    /// Returns the event of a new lease.
    pub fn lease(ids: Vec<String>, lease: &Lease) -> Event {
        let change = Change::Lease { until: lease.until, seconds: lease.length.as_secs_f64() };
        Event { change, ids, holder: lease.holder.clone() }
    }

    /// Returns the line of the journal, with its line feed.
    pub fn to_line(&self) -> String {
        // Times, numbers and strings can always be serialized.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

impl Handouts {
    /// Applies the change. Invalid ids are ignored.
    pub fn apply(&mut self, event: &Event) {
        for number in event.ids.iter().filter_map(|id| frame_number(id)) {
            if self.is_acknowledged(number) {
                // The frame was delivered: an acknowledgement is final.
                continue;
            }
            match event.change {
                Change::Lease { until, seconds } => {
                    let length = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                    let lease = Lease { until, length, holder: event.holder.clone() };
                    self.0.insert(number, Handout::Leased(lease));
                }
                Change::Ack => {
                    self.0.insert(number, Handout::Acknowledged(event.holder.clone()));
                }
                Change::Release => {
                    self.0.remove(&number);
                }
            }
        }
    }

    /// Returns the minimal list of events with the same result.
    pub fn to_events(&self) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        // For each kind of change and holder, the event to which ids can still be added.
        let mut open: HashMap<(String, Option<String>), usize> = HashMap::new();
        for (number, handout) in self.iter() {
            let (change, holder) = match handout {
                Handout::Acknowledged(holder) => (Change::Ack, holder),
                Handout::Leased(lease) => {
                    let seconds = lease.length.as_secs_f64();
                    (Change::Lease { until: lease.until, seconds }, &lease.holder)
                }
            };
            let key = (format!("{change:?}"), holder.clone());
            let id = frame_id(number);
            let event = open.get(&key).and_then(|at| events.get_mut(*at));
            match event.filter(|event| event.ids.len() < IDS_PER_LINE) {
                Some(event) => event.ids.push(id),
                None => {
                    open.insert(key, events.len());
                    events.push(Event { change, ids: vec![id], holder: holder.clone() });
                }
            }
        }
        events
    }
}
