//! Replacing files so that a reader never sees half of one.
//!
//! Every file of the catalog comes to be in the same way: a temporary file in
//! the same folder, then a rename. A temporary file is named `.NAME.tmp…`; one
//! that a crash left behind is removed by [`remove_left_overs`].

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::{Context, Result, Stage};

/// When what was published has to be on the disk itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// Before the call returns: it outlives a power loss.
    Now,
    /// When the operating system or [`super::Syncer`] gets to it: until then it
    /// outlives a crash of this program, and nothing more.
    Later,
}

/// Replaces `path` by a file that holds `bytes`.
///
/// # Errors
///
/// If the folder cannot be written to. `path` is then what it was before.
pub fn publish(path: &Path, bytes: &[u8], durable: Durable) -> Result<()> {
    let temp = temp_path(path, &std::process::id().to_string());
    let written = write_temp(&temp, bytes, durable)
        // A crash before this rename leaves the old file and a left-over; after it, the new file.
        .and_then(|()| disk::rename(&temp, path))
        // A power loss before the folder is synced brings back the old name, whole.
        .and_then(|()| match durable {
            Durable::Now => disk::sync_folder(folder_of(path)),
            Durable::Later => Ok(()),
        });
    if written.is_err() {
        let _ = disk::remove(&temp);
    }
    written.context(Stage::Catalog, path, "cannot write it")
}

/// A crash within leaves a left-over that nobody reads.
fn write_temp(temp: &Path, bytes: &[u8], durable: Durable) -> io::Result<()> {
    let file = disk::create(temp)?;
    disk::write_all(&file, bytes)?;
    // The bytes first, the name after: a name never stands for bytes that a power loss took.
    if durable == Durable::Now { disk::sync(&file) } else { Ok(()) }
}

/// Gives a file that is not to be used the name `TARGET.LABEL-1`, or the next that is
/// free: nothing is destroyed. Gives that name, or none if the file is gone.
///
/// # Errors
///
/// If the folder cannot be written to.
pub fn set_aside(file: &Path, target: &Path, label: &str) -> io::Result<Option<PathBuf>> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    for number in 1_u64.. {
        let aside = target.with_file_name(format!("{name}.{label}-{number}"));
        match disk::rename_new(file, &aside) {
            Ok(true) => return Ok(Some(aside)),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The folder that a file is in: `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// `.NAME.tmp-MARK` beside `path`.
pub(super) fn temp_path(path: &Path, mark: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp-");
    name.push(mark);
    path.with_file_name(name)
}

/// The temporary files in `folder` whose target's name satisfies `of`.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn left_overs(folder: &Path, of: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let target = name.to_str().and_then(|name| name.strip_prefix('.')?.rsplit_once(".tmp"));
        if target.is_some_and(|(target, _)| of(target)) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes the temporary files that a crash left in `folder`, for targets that satisfy `of`.
///
/// Only for whoever owns those targets: another's unfinished file would go too.
///
/// # Errors
///
/// If the folder cannot be read or written to.
pub fn remove_left_overs(folder: &Path, of: impl Fn(&str) -> bool) -> Result<()> {
    left_overs(folder, of)
        .and_then(|found| found.iter().try_for_each(|path| disk::remove(path)))
        .context(Stage::Catalog, folder, "cannot remove what an earlier run left unfinished")
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
