//! Replaces files so that a reader never sees a partial file.
//!
//! Every file of the catalog is written to a temporary file in the same folder and then
//! renamed. A temporary file is named `.NAME.tmp…`; those left behind by a crash are
//! removed by [`remove_left_overs`].

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::{Context, Result, Stage};

/// When a published file has to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// Before the call returns.
    Now,
    /// When the operating system or [`super::Syncer`] syncs it. Until then it survives a
    /// crash of this program, but not a power loss.
    Later,
}

/// Replaces `path` with a file that contains `bytes`.
///
/// # Errors
///
/// Returns an error if the folder cannot be written. `path` is then unchanged.
pub fn publish(path: &Path, bytes: &[u8], durable: Durable) -> Result<()> {
    let temp = temp_path(path, &std::process::id().to_string());
    let written = write_temp(&temp, bytes, durable)
        // A crash before this rename leaves the old file and a left-over file; after it,
        // the new file.
        .and_then(|()| disk::rename(&temp, path))
        // A power loss before the folder is synced restores the old file, complete.
        .and_then(|()| match durable {
            Durable::Now => disk::sync_folder(folder_of(path)),
            Durable::Later => Ok(()),
        });
    if written.is_err() {
        let _ = disk::remove(&temp);
    }
    written.context(Stage::Catalog, path, "cannot write it")
}

/// Writes the temporary file. After a crash here, the file is never read.
fn write_temp(temp: &Path, bytes: &[u8], durable: Durable) -> io::Result<()> {
    let file = disk::create(temp)?;
    disk::write_all(&file, bytes)?;
    // Sync the bytes before the rename, so that the name never refers to lost bytes.
    if durable == Durable::Now { disk::sync(&file) } else { Ok(()) }
}

/// Quarantines a file by renaming it to `TARGET.LABEL-1`, or to the next free number, so that no
/// data is destroyed. Returns the new name, or `None` if the file does not exist.
///
/// # Errors
///
/// Returns an error if the folder cannot be written.
pub fn quarantine(file: &Path, target: &Path, label: &str) -> io::Result<Option<PathBuf>> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    for number in 1_u64.. {
        let quarantined_as = target.with_file_name(format!("{name}.{label}-{number}"));
        match disk::rename_new(file, &quarantined_as) {
            Ok(true) => return Ok(Some(quarantined_as)),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Gives a file that is about to be replaced a second name, as [`quarantine`] would.
///
/// # Errors
///
/// Returns an error if the folder cannot be written, or the file system has no hard links.
pub fn keep_copy(file: &Path, label: &str) -> io::Result<PathBuf> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    for number in 1_u64.. {
        let kept_as = file.with_file_name(format!("{name}.{label}-{number}"));
        match disk::link(file, &kept_as) {
            Ok(()) => return Ok(kept_as),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Returns the folder of a file: `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Returns `.NAME.tmp-MARK` in the folder of `path`.
pub(super) fn temp_path(path: &Path, mark: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp-");
    name.push(mark);
    path.with_file_name(name)
}

/// Returns the temporary files in `folder` for targets whose name satisfies `is_target`.
///
/// # Errors
///
/// Returns an error if the folder cannot be read.
pub fn left_overs(folder: &Path, is_target: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let target = name.to_str().and_then(|name| name.strip_prefix('.')?.rsplit_once(".tmp"));
        if target.is_some_and(|(target, _)| is_target(target)) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes the temporary files that a crash left in `folder`, for targets that satisfy
/// `is_target`.
///
/// Must be called only by the owner of these targets: unfinished files of other processes would be
/// removed too.
///
/// # Errors
///
/// Returns an error if the folder cannot be read or written.
pub fn remove_left_overs(folder: &Path, is_target: impl Fn(&str) -> bool) -> Result<()> {
    left_overs(folder, is_target)
        .and_then(|found| found.iter().try_for_each(|path| disk::remove(path)))
        .context(Stage::Catalog, folder, "cannot remove temporary files of an interrupted run")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn publishing_leaves_the_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.json");
        for (bytes, durable) in [(b"one", Durable::Later), (b"two", Durable::Now)] {
            publish(&path, bytes, durable).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(names(folder.path()), ["checkpoint.json"]);
    }

    #[test]
    fn a_failed_publication_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        let error = publish(&path, b"x", Durable::Later).unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(names(folder.path()), ["taken"]);
    }

    #[test]
    fn only_our_own_left_overs_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".index.json.tmp-12", ".notes.tmp-1", "index.json", ".index.json.swp"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_left_overs(folder.path(), |target| target == "index.json").unwrap();
        assert_eq!(names(folder.path()), [".index.json.swp", ".notes.tmp-1", "index.json"]);
    }
}
