//! Where a stream may be cut into pieces that are decoded apart.

use std::collections::VecDeque;

use crate::decode::parameter_sets;
use crate::media::{AccessUnit, ByteOffset, RandomAccess};

/// Minimum number of undamaged random access intervals in front of a cut, and of access units in
/// them: the concealment of damage depends on earlier pictures.
pub const SOUND_INTERVALS: usize = 2;
pub const SOUND_UNITS: usize = 48;

/// Maximum number of random access points to skip before the next cut, after pieces that did not fit.
const MAX_WAIT: u32 = 64;

/// Finds the random access points in front of which the stream may be cut.
#[derive(Debug, Default)]
pub struct CutPoints {
    /// The last random access points, each with the number of access units up to it. Oldest first.
    access_points: VecDeque<(ByteOffset, usize)>,
    units: usize,
    /// Offset of the last damage.
    damage: Option<ByteOffset>,
    /// Number of random access points still to skip before the next cut; `waited` is the number at
    /// the start of the last wait.
    wait: u32,
    waited: u32,
}

impl CutPoints {
    /// Records damage at or in front of `at`.
    pub fn damaged(&mut self, at: ByteOffset) {
        self.damage = self.damage.max(Some(at));
    }

    /// Returns whether there has been damage.
    pub fn has_damage(&self) -> bool {
        self.damage.is_some()
    }

    /// Records that pieces did not fit, and delays the next cut, longer each time.
    pub fn refused(&mut self) {
        self.waited = (2 * self.waited).clamp(4, MAX_WAIT);
        self.wait = self.waited;
    }

    /// Passes the next access unit. Returns whether the stream may be cut in front of it.
    ///
    /// The access unit must contain its parameter sets. Otherwise, a decoder that begins here would
    /// use the sets from the beginning of the stream, which may have been replaced since.
    pub fn pass(&mut self, unit: &AccessUnit) -> bool {
        self.units += 1;
        if unit.random_access == RandomAccess::None {
            return false;
        }
        self.wait = self.wait.saturating_sub(1);
        while self.is_enough(1) {
            self.access_points.pop_front();
        }
        let is_sound = self.damage.is_none_or(|damage| {
            self.is_enough(0) && self.access_points.front().is_some_and(|(at, _)| damage < *at)
        });
        self.access_points.push_back((unit.at, self.units));
        unit.random_access == RandomAccess::Closed
            && is_sound
            && self.wait == 0
            && !parameter_sets(unit.codec, &unit.data).is_empty()
    }

    /// Returns whether enough intervals and access units follow the random access point with this
    /// index.
    fn is_enough(&self, index: usize) -> bool {
        self.access_points.get(index).is_some_and(|(_, units)| {
            self.access_points.len() - index >= SOUND_INTERVALS && self.units - units >= SOUND_UNITS
        })
    }

    /// Returns the number of bytes from the oldest remembered random access point to `at`.
    pub fn bytes_since(&self, at: ByteOffset) -> u64 {
        self.access_points.front().map_or(0, |(first, _)| at.0.saturating_sub(first.0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::media::{Times, VideoCodec};

    const PARAMETER_SETS: [u8; 12] = [0, 0, 1, 0x67, 0x64, 0, 0, 1, 0x68, 0xee, 0, 0];

    fn pass(points: &mut CutPoints, at: u64, random_access: RandomAccess) -> bool {
        pass_with(points, at, random_access, &PARAMETER_SETS)
    }

    fn pass_with(
        points: &mut CutPoints,
        at: u64,
        random_access: RandomAccess,
        data: &[u8],
    ) -> bool {
        points.pass(&AccessUnit {
            at: ByteOffset(at),
            skip_bytes: 0,
            codec: VideoCodec::H264,
            pts: None,
            dts: None,
            ended_by: Times::default(),
            random_access,
            damaged: false,
            data: data.to_vec(),
        })
    }

    #[test]
    fn only_closed_random_access_points_are_cut_points() {
        let mut points = CutPoints::default();
        assert!(pass(&mut points, 0, RandomAccess::Closed));
        assert!(!pass(&mut points, 1, RandomAccess::None));
        assert!(!pass(&mut points, 2, RandomAccess::Open));
        assert!(!pass(&mut points, 3, RandomAccess::Gradual(9)));
        assert!(pass(&mut points, 4, RandomAccess::Closed));
    }

    #[test]
    fn a_random_access_point_without_its_parameter_sets_is_no_cut_point() {
        let mut points = CutPoints::default();
        let mut closed = |at, data: &[u8]| pass_with(&mut points, at, RandomAccess::Closed, data);
        assert!(closed(0, &PARAMETER_SETS));
        assert!(!closed(1, &[0, 0, 1, 0x65, 0x88]), "no sets");
        assert!(!closed(2, &PARAMETER_SETS[5..]), "a PPS alone");
        assert!(closed(3, &PARAMETER_SETS));
    }

    #[test]
    fn two_intervals_without_damage_come_before_a_cut() {
        let mut points = CutPoints::default();
        let closed = |points: &mut CutPoints, at| pass(points, at, RandomAccess::Closed);
        assert!(closed(&mut points, 0));
        points.damaged(ByteOffset(5));
        let pictures = |points: &mut CutPoints| {
            (0..30).for_each(|_| assert!(!pass(points, 9, RandomAccess::None)));
        };
        let mut found = Vec::new();
        for n in 1..5 {
            pictures(&mut points);
            found.push(closed(&mut points, 10 * n));
        }
        assert_eq!(found, [false, false, true, true]);
        // Many more intervals, if they are short.
        points.damaged(ByteOffset(55));
        let first = (60..).find(|at| closed(&mut points, *at)).unwrap();
        assert_eq!(first, 60 + SOUND_UNITS as u64);
        // Older damage that becomes known late changes nothing.
        points.damaged(ByteOffset(1));
        assert!(closed(&mut points, first + 1));
    }

    #[test]
    fn pieces_that_do_not_fit_are_tried_less_and_less_often() {
        let mut points = CutPoints::default();
        let mut waits = Vec::new();
        for _ in 0..6 {
            points.refused();
            waits.push((1..).find(|n| pass(&mut points, *n, RandomAccess::Closed)).unwrap());
        }
        assert_eq!(waits, [4, 8, 16, 32, 64, 64]);
    }
}
