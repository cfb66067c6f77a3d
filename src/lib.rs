//! scenetap records an MPEG-TS stream and detects its scene changes while it arrives.
//!
//! # Overview
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
//! so do printing and the command line. `tests/it/architecture.rs` checks this.

// Only `decode` allows unsafe code: it has a checked wrapper for each of FFmpeg's
// pointers.
#![deny(unsafe_code, unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

// Data types, errors, and access to the disk.
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
pub mod framing;
pub mod timeline;

pub mod libav;

pub mod decode;
pub mod detect;

pub mod catalog;

// The other side: sending a file, watching a recording, asking a recorder for its status.
pub mod playback;
pub mod send;
pub mod status;

// Configuration, threads and everything around the stages.
pub mod config;
pub mod pipeline;
pub mod runtime_folder;
pub mod service;
pub mod shutdown;
pub mod telemetry;

pub mod cli;
