//! `stream/keyframes.idx`: the random access points of a recording.
//!
//! A header and records of a fixed size, in the order of the recording, so that a time or an offset is found
//! without reading the whole file. The file is only appended to, and each record has a checksum. A record
//! that a crash has torn, and all later ones, are removed by the next writer and ignored by readers.
//!
//! ```text
//! header  magic  8 bytes  "scenekey"      record  offset  u64  of the TS packet in which the access unit starts
//!         version    u32  1                       time    i64  of its picture, ticks of 90 kHz from the start
//!         record     u32  32, its bytes           tables  u64  offset of the packet with the PAT before it
//!         from       u64  complete from           kind    u8   1 closed, 2 open, 3 gradual
//!         reserved   u32  0                       flags   u8   1 lacks parameter sets, 2 damaged
//!         crc32      u32  of the above            pictures u16 after which pictures are complete again
//!                                                 crc32   u32  of the above
//! ```
//!
//! All numbers are little endian. If there are no tables, `tables` has all bits set.
//!
//! ```text
//! record  bytes of the header and of a record
//! index   reader
//! writer  appends, and removes torn records
//! ```

mod index;
mod record;
#[cfg(test)]
mod tests;
mod writer;

pub use index::KeyframeIndex;
pub use record::{Keyframe, to_bytes};
pub use writer::KeyframeWriter;
