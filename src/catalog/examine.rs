//! Checks a frames folder without changing it, for `check`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::INDEX_NAME;
use super::frames::{frame_number, is_whole_jpeg, jpeg_name};
use super::index::entry::Entry;
use super::index::slot::each_item;
use super::publish::{left_overs, quarantine};
use crate::error::{Context, Error, Result, Stage};
use crate::ts::SYNC_BYTE;

/// Result of the examination.
#[derive(Debug, Default)]
pub struct Examined {
    /// The problems found, each with its file.
    pub problems: Vec<Error>,
    /// Length of the recording in bytes.
    pub recording_bytes: u64,
    /// Number of packets in the recording. Set by the caller, who knows their size.
    pub packets: u64,
    /// Number of entries in the index.
    pub entries: u64,
    /// Number of entries whose JPEG exists and is complete.
    pub frames: u64,
    /// Whether a frame or an entry is missing, which only detection can restore.
    pub lacks_frames: bool,
}

/// Maximum step back of the timestamps. Where a sender restarts, pictures still in the decoder have
/// later times than the first pictures after them, also in ffmpeg: by the depth of reordering.
const MAX_STEP_BACK_S: f64 = 1.0;

impl Examined {
    fn problem(&mut self, path: &Path, what: impl Into<String>) {
        self.problems.push(Error::new(Stage::Catalog, what).path(path));
    }
}

/// Compares the frames folder `folder` with the recording, which has `recording_bytes`. If it
/// `is_recorded` at the moment, temporary files are not problems.
///
/// # Errors
///
/// Returns an error if the folder or the recording cannot be read.
pub fn examine(
    folder: &Path,
    recording: &Path,
    recording_bytes: u64,
    is_recorded: bool,
) -> Result<Examined> {
    let mut found = Examined::default();
    // A recorder writes the index before the first frame, when it starts detection.
    let needs_index = recording_bytes > 0 && (!is_recorded || has_jpegs(folder)?);
    let entries = read_entries(folder, needs_index, &mut found)?;
    let file = File::open(recording).context(Stage::Catalog, recording, "cannot open")?;
    let recording_bytes = if is_recorded {
        // Both the recording and the index may have grown meanwhile.
        file.metadata().context(Stage::Catalog, recording, "cannot read")?.len()
    } else {
        recording_bytes
    };
    let mut ids = HashSet::new();
    let mut last = f64::NEG_INFINITY;
    let index = folder.join(INDEX_NAME);
    for entry in &entries {
        if !ids.insert(entry.id.as_str()) {
            found.problem(&index, format!("duplicate entry {}", entry.id));
        }
        if entry.timestamp + MAX_STEP_BACK_S < last {
            found.problem(&index, format!("{} follows a later frame", entry.id));
        }
        last = entry.timestamp;
        match entry.offset.map(|at| (at, begins_packet(&file, at))) {
            Some((at, _)) if at >= recording_bytes => {
                found.problem(
                    &index,
                    format!("{} is at byte {at}, past the end of the recording", entry.id),
                );
            }
            Some((at, false)) => {
                found.problem(
                    &index,
                    format!("{} is at byte {at}, which is not the start of a packet", entry.id),
                );
            }
            _ => {}
        }
        let jpeg = folder.join(jpeg_name(&entry.id));
        if entry.path.is_some() && is_whole_jpeg(&jpeg) {
            found.frames += 1;
        } else if entry.path.is_some() {
            let what = match fs::symlink_metadata(&jpeg) {
                Ok(found) if found.is_symlink() => "a symbolic link, which is not followed",
                Ok(_) => "incomplete JPEG",
                Err(_) => "it is missing",
            };
            found.problem(&jpeg, what);
            found.lacks_frames = true;
        }
    }
    found.entries = entries.len() as u64;
    found.recording_bytes = recording_bytes;
    if !is_recorded {
        report_strays(folder, &ids, &mut found)?;
    }
    Ok(found)
}

fn read_entries(folder: &Path, needs_index: bool, found: &mut Examined) -> Result<Vec<Entry>> {
    let index = folder.join(INDEX_NAME);
    let text = match fs::read(&index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if needs_index {
                found.problem(&index, "it is missing");
                found.lacks_frames = true;
            }
            return Ok(Vec::new());
        }
        text => text.context(Stage::Catalog, &index, "cannot read")?,
    };
    let mut entries = Vec::new();
    let read = std::str::from_utf8(&text).map_err(|error| error.to_string()).and_then(|text| {
        each_item(text, |item| {
            if let serde_json::Value::Object(map) = item {
                entries.extend(Entry::from_map(map));
            }
        })
        .map_err(|error| error.to_string())
    });
    if let Err(error) = read {
        found.problem(&index, format!("not a JSON array: {error}"));
        found.lacks_frames = true;
    }
    Ok(entries)
}

fn has_jpegs(folder: &Path) -> Result<bool> {
    let entries = fs::read_dir(folder).context(Stage::Catalog, folder, "cannot read")?;
    Ok(entries
        .flatten()
        .any(|entry| entry.path().extension().is_some_and(|extension| extension == "jpg")))
}

fn begins_packet(recording: &File, at: u64) -> bool {
    let mut byte = [0];
    recording.read_exact_at(&mut byte, at).is_ok() && byte == [SYNC_BYTE]
}

/// Reports JPEGs that no entry refers to, and temporary files.
fn report_strays(folder: &Path, ids: &HashSet<&str>, found: &mut Examined) -> Result<()> {
    for path in strays(folder, |id| ids.contains(id))? {
        found.problem(&path, "not listed in the index");
    }
    let temp_files = left_overs(folder, |_| true).context(Stage::Catalog, folder, "cannot read")?;
    for path in temp_files {
        found.problem(&path, "temporary file of an interrupted run");
    }
    Ok(())
}

/// Returns JPEGs whose id is not `is_known`.
fn strays(folder: &Path, is_known: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let listed = fs::read_dir(folder).context(Stage::Catalog, folder, "cannot read")?;
    for entry in listed {
        let path = entry.context(Stage::Catalog, folder, "cannot read")?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let id = name.and_then(|name| name.strip_suffix(".jpg"));
        if id.is_some_and(|id| frame_number(id).is_some() && !is_known(id)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Quarantines JPEGs that no entry refers to. Returns their number.
///
/// # Errors
///
/// Returns an error if the folder cannot be read or written.
pub fn quarantine_strays(folder: &Path) -> Result<usize> {
    let entries = read_entries(folder, false, &mut Examined::default())?;
    let ids: HashSet<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
    let found = strays(folder, |id| ids.contains(id))?;
    for path in &found {
        quarantine(path, path, "set-aside").context(
            Stage::Catalog,
            path,
            "cannot quarantine it",
        )?;
    }
    Ok(found.len())
}
