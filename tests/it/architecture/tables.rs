//! Allowed imports, and the modules that may use each crate.

/// Every top-level module, and the modules that it may import. A module is listed after
/// those that it imports, so there are no cycles.
#[rustfmt::skip]
pub(super) const MAY_IMPORT: [(&str, &[&str]); 27] = [
    // Base modules.
    ("byte_offset", &[]),
    ("error", &["byte_offset"]),
    ("ts", &["byte_offset"]),
    ("media", &["byte_offset", "error"]),
    ("pause", &[]),
    ("disk", &[]),
    ("libav", &["media"]),
    ("host", &["error"]),
    ("telemetry", &["error", "media"]),
    // Stages never import each other.
    ("ingest", &["error", "ts"]),
    ("keyframes", &["disk", "error", "media"]),
    ("recording", &["disk", "error", "media", "ts"]),
    ("session", &["disk", "error"]),
    ("tail", &["error", "media", "ts"]),
    ("demux", &["media", "ts"]),
    ("framing", &["libav", "media"]),
    ("timeline", &["media"]),
    ("decode", &["error", "libav", "media"]),
    ("detect", &["media"]),
    ("catalog", &["disk", "error", "media", "pause", "ts"]),
    // Players, senders and clients.
    ("send", &["error", "media", "ts"]),
    ("status", &["error", "host", "media"]),
    ("agent", &["catalog", "error", "pause", "session", "status", "telemetry"]),
    // The pipeline, its configuration, and the command line.
    ("pipeline", &[
        "catalog", "decode", "demux", "detect", "disk", "error", "framing", "host", "ingest", "keyframes",
        "media", "pause", "recording", "session", "status", "tail", "telemetry", "timeline", "ts",
    ]),
    ("playback", &["catalog", "disk", "error", "host", "media", "pipeline", "session"]),
    ("config", &["agent", "catalog", "error", "pipeline", "send", "telemetry"]),
    ("cli", &[
        "agent", "catalog", "config", "demux", "detect", "disk", "error", "host", "ingest", "libav", "media", "pipeline",
        "playback", "send", "session", "status", "telemetry",
    ]),
];

/// The modules of `pipeline`, each with those that it may import, in the same order.
#[rustfmt::skip]
pub(super) const PIPELINE: [(&str, &[&str]); 10] = [
    ("options", &[]),
    ("analyzer", &[]),
    ("keyframes", &["analyzer"]),
    ("live", &["analyzer"]),
    ("evidence", &["analyzer", "keyframes", "live"]),
    ("housekeeping", &["list", "live"]),
    ("record", &["analyzer", "housekeeping", "live"]),
    ("scan", &["analyzer", "live"]),
    ("check", &["keyframes", "list", "live", "record"]),
    ("list", &[]),
];

/// The crates that the program depends on, and the modules that may use each of them.
#[rustfmt::skip]
pub(super) const CRATES: [(&str, &[&str]); 28] = [
    ("mpeg2ts", &["demux"]),
    ("ffmpeg_next", &["decode", "libav"]),
    ("image", &["catalog", "pipeline"]),
    ("turbojpeg", &["catalog"]),
    ("multiversion", &["decode", "detect"]),
    ("rayon", &["detect", "pipeline"]),
    // Only modules at the asynchronous edge use tokio.
    ("tokio", &["host", "ingest", "pipeline", "status"]),
    ("tokio_rustls", &["ingest"]),
    ("ipnet", &["cli", "config", "ingest"]),
    ("serde", &[
        "byte_offset", "catalog", "cli", "decode", "demux", "detect", "framing", "media", "pipeline",
        "recording", "session", "status", "timeline", "ts",
    ]),
    ("serde_json", &["catalog", "cli", "pipeline", "playback", "session", "status"]),
    ("clap", &["cli", "config"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("toml", &["config"]),
    ("indicatif", &["cli"]),
    ("tracing", &[
        "agent", "catalog", "cli", "disk", "host", "ingest", "pipeline", "playback", "recording", "send",
        "session", "telemetry",
    ]),
    ("tracing_subscriber", &["cli", "config", "telemetry"]),
    ("bytesize", &["cli", "config", "pipeline"]),
    ("crc", &["ts"]),
    ("hex", &["pipeline"]),
    ("shlex", &["config"]),
    ("strsim", &["config"]),
    ("crc32fast", &["catalog", "decode", "keyframes", "recording"]),
    ("crossbeam_channel", &["cli", "pipeline"]),
    ("jiff", &["agent", "catalog", "cli", "config", "pipeline", "session", "telemetry"]),
    ("memchr", &["decode", "demux", "framing", "ingest", "playback", "send", "status", "ts"]),
    ("rustix", &["agent", "catalog", "cli", "disk", "host", "ingest", "playback", "recording", "status", "telemetry"]),
];
