//! scenetap records an MPEG-TS stream and detects its scene changes while it arrives.
//!
//! # The map
//!
//! ```text
//! async edge (tokio)    │        sync core (threads; no sockets, no clock)
//!                       │
//! TCP ─▶ ingest ─Chunk─▶ recording ═▶ recording.ts ═▶ tail ─TsPacket─▶ demux ─▶ framing
//!                           └── written length ──▲                                 │ AccessUnit
//!                                                                                  ▼
//!     catalog ◀─Verdict─ detect::cuts ◀─Score─ detect::score ◀─Frame─ decode ◀─ timeline
//!        └─▶ F0001.jpg ─▶ index.json ─▶ checkpoint.json    (always in this order)
//! ```
//!
//! Imports run one way: the ground floor ← the stages ← [`pipeline`] ← [`config`] ← [`cli`] ←
//! `main`. Stages never import each other. tokio stays at the edge; printing and the user
//! interface stay in `cli`. `tests/it/architecture.rs` checks this.
//!
//! Which file to open for which fault: `docs/ARCHITECTURE.md`.

// Only `libav` and `decode` contain unsafe code: a checked wrapper for each of FFmpeg's pointers.
#![deny(unsafe_code, unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

// The ground floor: errors, packets, the data that travels, the disk, FFmpeg's libraries, the
// machine, the log.
pub mod byte_offset;
pub mod disk;
pub mod error;
pub mod host;
pub mod libav;
pub mod media;
pub mod pause;
pub mod telemetry;
pub mod ts;

// The stages, in pipeline order.
pub mod ingest;
pub mod recording;
pub mod session;
pub mod tail;

pub mod demux;
pub mod framing;
pub mod timeline;

pub mod decode;
pub mod detect;

pub mod catalog;

// The other side: sending a file, watching a recording, asking a recorder for its status.
pub mod playback;
pub mod send;
pub mod status;

// The wiring, what configures it, and the command line.
pub mod pipeline;

pub mod config;

pub mod cli;
