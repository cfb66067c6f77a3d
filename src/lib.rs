//! scenetap records an MPEG-TS stream and finds its scene changes while it arrives.
//!
//! # The map
//!
//! ```text
//!     async edge (tokio)    │        sync core (threads; no sockets, no clock)
//!                           │
//!     TCP ─▶ ingest ─Chunk─▶ recording ═▶ recording.ts ═▶ tail ─TsPacket─▶ demux
//!                                └── written length ──▲                    │ AccessUnit
//!                                                                          ▼
//!                                                                       timeline
//!                                                                          │ AccessUnit, its
//!                                                                          ▼ times from the start
//!         catalog ◀─Verdict─ detect::cuts ◀─Score─ detect::score (rayon) ◀─Frame─ decode
//!            └─▶ F0001.jpg ─▶ index.json ─▶ checkpoint.json    (always in this order)
//! ```
//!
//! Imports run one way: [`media`] and [`error`] ← the stages ← [`pipeline`] ←
//! [`cli`] ← `main`. Stages never import each other. tokio stays at the edge, and
//! so do printing and the command line. `tests/it/architecture.rs` holds these lines.

// Only `decode` allows it: for each pointer of FFmpeg's there is a checked wrapper.
#![deny(unsafe_code, unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

// What travels, what goes wrong, and how it gets to the disk.
pub mod byte_offset;
pub mod disk;
pub mod error;
pub mod media;
pub mod pause;
pub mod ts;

// The stages, in pipeline order.
pub mod ingest;
pub mod recording;
pub mod session;
pub mod tail;

pub mod demux;
pub mod timeline;

pub mod decode;
pub mod detect;

pub mod catalog;

// The other side: sending a file, watching a recording, asking a recorder.
pub mod playback;
pub mod send;
pub mod status;

// What holds it together.
pub mod config;
pub mod pipeline;
pub mod runtime_folder;
pub mod service;
pub mod shutdown;
pub mod telemetry;

pub mod cli;
