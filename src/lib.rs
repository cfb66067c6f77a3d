//! scenetap records an MPEG-TS stream and detects its scene changes while it arrives.
//!
//! # The map
//!
//! ```text
//! async edge (tokio)    │        sync core (threads; no sockets)
//!                       │
//! TCP ─▶ ingest ─Chunk─▶ recording ═▶ recording.ts ═▶ tail ─TsPacket─▶ demux ─▶ framing
//!                           └── written length ──▲                                 │ AccessUnit
//!                                                                                  ▼
//!     catalog ◀─Verdict─ detect::cuts ◀─Score─ detect::score ◀─Frame─ decode ◀─ timeline
//!        └─▶ F0001.jpg ─▶ index.json ─▶ checkpoint.json    (always in this order)
//! ```
//!
//! Imports run one way: the base modules ← the stages ← [`pipeline`] ← [`config`] ← [`cli`] ←
//! `main`. Stages never import each other. Only the modules at the edge use tokio, and only `cli`
//! prints or has a user interface. `tests/it/architecture.rs` checks this.
//!
//! `docs/ARCHITECTURE.md` lists which file to open for which fault.

// Unsafe code is allowed only in `libav` and `decode`, as checked wrappers of FFmpeg's pointers, and
// in `host::descriptors`.
#![deny(unsafe_code, unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

// The base modules: errors, packets, the types that pass through the pipeline, the disk, FFmpeg's
// libraries, the host, the log.
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
pub mod keyframes;
pub mod recording;
pub mod session;
pub mod tail;

pub mod demux;
pub mod framing;
pub mod timeline;

pub mod decode;
pub mod detect;

pub mod catalog;

// Send a file; the status of recorders, and its clients.
pub mod send;
pub mod status;

// For agents: frames as they are kept.
pub mod agent;

// The wiring of the stages, the player, the configuration, and the command line.
pub mod pipeline;

pub mod playback;

pub mod config;

pub mod cli;
