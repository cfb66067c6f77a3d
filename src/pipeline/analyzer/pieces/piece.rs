//! One piece of a stream, how long it may be, and the threads that decode pieces.

use std::num::NonZeroUsize;
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::lane::Lane;
use crate::decode::{RawDecoder, Settings};
use crate::detect::Comparer;
use crate::error::{Error, Result, Stage};
use crate::media::{AccessUnit, ByteOffset, Ticks, VideoCodec};
use crate::pipeline::analyzer::restart::PassedUnit;

/// Length of pieces. The first pictures of each piece are decoded twice, which costs relatively less
/// the longer the piece is.
#[derive(Debug, Clone, Copy)]
pub struct PieceLength {
    /// Minimum number of access units.
    pub min_units: usize,
    /// Number of access units at which a piece is long enough, whatever the backlog.
    pub good_units: usize,
    /// Minimum number of bytes of a backlog that is cut into pieces.
    pub min_backlog: u64,
}

impl Default for PieceLength {
    fn default() -> Self {
        PieceLength { min_units: 48, good_units: 256, min_backlog: 1 << 20 }
    }
}

impl PieceLength {
    /// In debug builds, the environment variable `SCENETAP_PIECE_UNITS` sets the number of access
    /// units, so that tests can cut short streams.
    pub fn configured() -> Self {
        #[cfg(debug_assertions)]
        if let Some(units) =
            std::env::var("SCENETAP_PIECE_UNITS").ok().and_then(|units| units.parse().ok())
        {
            return PieceLength { min_units: units, good_units: units, min_backlog: 0 };
        }
        PieceLength::default()
    }
}

/// A stretch of access units that is decoded by itself.
#[derive(Debug)]
pub struct StreamPiece {
    /// Codec of the stream.
    pub codec: VideoCodec,
    /// Settings of a decoder that begins here.
    pub settings: Settings,
    /// Whether nothing comes before it in the stream.
    pub is_first: bool,
    /// Whether packets are missing in the piece or after it.
    pub is_damaged: bool,
    /// Number of random access points.
    pub intervals: usize,
    /// Access units of the piece.
    pub units: Vec<Arc<AccessUnit>>,
    /// Number of bytes in the access units.
    pub bytes: usize,
    /// Times of the pictures, sorted once the piece is complete.
    pub times: Vec<Ticks>,
    /// Data for a restart at the random access points of the piece.
    pub passed: Vec<PassedUnit>,
}

impl StreamPiece {
    /// Returns the offset of the piece's first access unit.
    pub fn start(&self) -> ByteOffset {
        self.units.first().map_or(ByteOffset(0), |unit| unit.at)
    }

    /// Returns the number of access units after which a decoder of the piece before has returned the
    /// first picture of this one. The two fields of a picture may be two access units.
    pub fn overlap(&self) -> usize {
        2 * self.settings.reorder as usize + 4
    }

    /// Opens a decoder for the piece.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn open_lane(&self) -> Result<Lane> {
        let decoder = RawDecoder::open(self.codec, &self.settings)?;
        Ok(Lane { decoder, comparer: Comparer::default() })
    }
}

/// Threads that decode pieces.
pub struct Workers {
    /// The threads.
    pub pool: ThreadPool,
    /// Number of threads.
    pub jobs: NonZeroUsize,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("jobs", &self.jobs).finish()
    }
}

impl Workers {
    /// Starts `jobs` threads.
    ///
    /// # Errors
    ///
    /// Returns an error if the system cannot start a thread.
    pub fn start(jobs: NonZeroUsize) -> Result<Self> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(jobs.get())
            .thread_name(|number| format!("piece {number}"))
            // A panic drops the sender of the result, which the receiver notices.
            .panic_handler(|_| {})
            .build()
            .map_err(|cause| Error::new(Stage::Pipeline, "cannot start a thread").because(cause))?;
        Ok(Workers { pool, jobs })
    }
}
