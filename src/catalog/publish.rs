//! Replacing files so that a reader never sees half of one.
//!
//! Every file of the catalog comes to be in the same way: a temporary file in
//! the same folder, then a rename. A temporary file is named `.NAME.tmp…`; one
//! that a crash left behind is removed by [`remove_left_overs`].

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

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
        .and_then(|()| fs::rename(&temp, path))
        // A power loss before the folder is synced brings back the old name, whole.
        .and_then(|()| match durable {
            Durable::Now => sync_folder(folder_of(path)),
            Durable::Later => Ok(()),
        });
    if written.is_err() {
        let _ = fs::remove_file(&temp);
    }
    written.context(Stage::Catalog, path, "cannot write it")
}

/// A crash within leaves a left-over that nobody reads.
fn write_temp(temp: &Path, bytes: &[u8], durable: Durable) -> io::Result<()> {
    let mut file = File::create(temp)?;
    file.write_all(bytes)?;
    // The bytes first, the name after: a name never stands for bytes that a power loss took.
    if durable == Durable::Now { file.sync_all() } else { Ok(()) }
}

/// How two files changed places, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Each has the other's name now, in one step.
    Done,
    /// One of them was not there.
    Missing,
    /// The file system cannot do it (NFS, some FUSE file systems).
    Unsupported,
}

/// Exchanges the names of two files: at no moment is either name without a file.
///
/// # Errors
///
/// Those of renameat2(2), other than the cases of [`Exchange`].
pub fn exchange(one: &Path, other: &Path) -> io::Result<Exchange> {
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(Exchange::Done),
        Err(Errno::NOENT) => Ok(Exchange::Missing),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(Exchange::Unsupported),
        Err(errno) => Err(errno.into()),
    }
}

/// Renames `from` to `to` unless there is a `to`; says whether it did.
///
/// Where the file system cannot refuse, it looks first, which leaves a moment
/// in which another's new `to` would be replaced.
///
/// # Errors
///
/// Those of renameat2(2).
pub fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            if to.try_exists()? {
                return Ok(false);
            }
            fs::rename(from, to).map(|()| true)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Makes the names in a folder outlive a power loss.
///
/// # Errors
///
/// If the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
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
    left_overs(folder, of).and_then(|found| found.iter().try_for_each(fs::remove_file)).context(
        Stage::Catalog,
        folder,
        "cannot remove what an earlier run left unfinished",
    )
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
    fn a_new_name_never_replaces_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "from").unwrap();
        fs::write(&to, "to").unwrap();
        assert!(!rename_new(&from, &to).unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"to");
        fs::remove_file(&to).unwrap();
        assert!(rename_new(&from, &to).unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"from");
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
