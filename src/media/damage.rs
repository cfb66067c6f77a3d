//! Counters of damage to a stream.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Counters of damage to a stream. Damage is only counted: recording and detection continue.
///
/// The keys are those of `scenetap status --json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Damage {
    /// Number of times that bytes between packets were skipped.
    pub lost_sync: u64,
    /// Gaps in the video stream's continuity counter.
    pub continuity_gaps: u64,
    /// Packets of the video stream with `transport_error_indicator`.
    pub transport_errors: u64,
    /// Access units and pictures that could not be decoded.
    pub undecodable: u64,
    /// Scrambled packets of the video stream.
    pub scrambled: u64,
    /// Pictures whose headers state an implausible duration.
    pub implausible: u64,
}

impl Damage {
    /// Returns the sum of both, counter by counter.
    #[must_use]
    pub fn plus(&self, other: Damage) -> Damage {
        self.combined(other, u64::saturating_add)
    }

    /// Returns the maximum of both, counter by counter.
    #[must_use]
    pub fn at_least(&self, other: Damage) -> Damage {
        self.combined(other, u64::max)
    }

    fn combined(&self, other: Damage, combine: impl Fn(u64, u64) -> u64) -> Damage {
        Damage {
            lost_sync: combine(self.lost_sync, other.lost_sync),
            continuity_gaps: combine(self.continuity_gaps, other.continuity_gaps),
            transport_errors: combine(self.transport_errors, other.transport_errors),
            undecodable: combine(self.undecodable, other.undecodable),
            scrambled: combine(self.scrambled, other.scrambled),
            implausible: combine(self.implausible, other.implausible),
        }
    }

    /// Returns whether there was no damage.
    pub fn is_none(&self) -> bool {
        *self == Damage::default()
    }
}

/// Lists the kinds of damage that occurred: `3 gaps in the packets, 1 undecodable picture`. Empty
/// if there was no damage.
impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.lost_sync, "loss of sync", "losses of sync"),
            (self.continuity_gaps, "gap in the packets", "gaps in the packets"),
            (self.transport_errors, "packet received with errors", "packets received with errors"),
            (self.undecodable, "undecodable picture", "undecodable pictures"),
            (self.scrambled, "scrambled packet", "scrambled packets"),
            (self.implausible, "implausible duration", "implausible durations"),
        ];
        let mut separator = "";
        for (count, one, many) in kinds.into_iter().filter(|(count, ..)| *count > 0) {
            write!(f, "{separator}{count} {}", if count == 1 { one } else { many })?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_without_what_did_not_occur() {
        assert_eq!(Damage::default().to_string(), "");
        let damaged = Damage { continuity_gaps: 3, undecodable: 1, ..Damage::default() };
        assert_eq!(damaged.to_string(), "3 gaps in the packets, 1 undecodable picture");
    }
}
