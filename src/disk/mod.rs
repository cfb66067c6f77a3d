//! All changes to the disk, in one place.
//!
//! The stages call these functions instead of `std::fs`, so that tests can kill the program before
//! each change or in the middle of a write, and can make each change fail (`fault`). A release
//! build adds nothing to the calls.
//!
//! ```text
//! replacement  a file that gets its name once it is complete
//! folder       files opened and removed by name, without following links
//! fault        faults for tests, in debug builds
//! ```

mod fault;
mod folder;
mod replacement;

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

pub use folder::{EntryKind, Folder};
pub use replacement::Replacement;

/// Creates a file, or truncates an existing one.
///
/// # Errors
///
/// Returns the errors of open(2).
pub fn create(path: &Path) -> io::Result<File> {
    fault::before()?;
    File::create(path)
}

/// Opens a file for reading and appending, and creates it if needed.
///
/// # Errors
///
/// Returns the errors of open(2).
pub fn open_to_append(path: &Path) -> io::Result<File> {
    fault::before()?;
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

/// Opens a lock file, and creates it if needed.
///
/// # Errors
///
/// Returns the errors of open(2).
pub fn open_lock(path: &Path) -> io::Result<File> {
    fault::before()?;
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

/// Writes the first bytes of `bytes` and returns their number.
///
/// # Errors
///
/// Returns the errors of write(2).
pub fn write(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    fault::before_write(bytes, |half| file.write_all(half))?;
    file.write(bytes)
}

/// Writes all of `bytes`.
///
/// # Errors
///
/// Returns the errors of write(2). Some of the bytes may have been written.
pub fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    fault::before_write(bytes, |half| file.write_all(half))?;
    file.write_all(bytes)
}

/// Adapts a file to [`std::io::Write`] through [`write()`].
#[derive(Debug)]
pub struct FileWriter<'a>(pub &'a File);

impl Write for FileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Truncates a file, or extends it with zeros.
///
/// # Errors
///
/// Returns the errors of ftruncate(2).
pub fn set_length(file: &File, bytes: u64) -> io::Result<()> {
    fault::before()?;
    file.set_len(bytes)
}

/// Sets the permissions of a file.
///
/// # Errors
///
/// Returns the errors of fchmod(2).
pub fn set_permissions(file: &File, permissions: Permissions) -> io::Result<()> {
    fault::before()?;
    file.set_permissions(permissions)
}

/// Sets the timestamps of a file.
///
/// # Errors
///
/// Returns the errors of futimens(2).
pub fn set_times(file: &File, times: FileTimes) -> io::Result<()> {
    fault::before()?;
    file.set_times(times)
}

/// Syncs a file to disk.
///
/// # Errors
///
/// Returns the errors of fsync(2).
pub fn sync(file: &File) -> io::Result<()> {
    fault::before()?;
    file.sync_all()
}

/// Syncs the data of a file to disk, without metadata such as its timestamps.
///
/// # Errors
///
/// Returns the errors of fdatasync(2).
pub fn sync_data(file: &File) -> io::Result<()> {
    fault::before()?;
    file.sync_data()
}

/// Syncs the entries of a folder to disk, if the file system supports it.
///
/// # Errors
///
/// Returns an error if the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match sync(&File::open(folder)?) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Syncs everything on the file system of `folder` to disk.
///
/// # Errors
///
/// Returns the errors of syncfs(2).
pub fn sync_file_system(folder: &Path) -> io::Result<()> {
    fault::before()?;
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

/// Returns the free bytes of the file system of `path`, for users other than root, and its size.
///
/// # Errors
///
/// Returns the errors of statvfs(3).
pub fn free_bytes(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok((bytes(stat.f_bavail), bytes(stat.f_blocks)))
}

/// Creates a folder and its parents.
///
/// # Errors
///
/// Returns the errors of mkdir(2), except that an existing folder is accepted.
pub fn create_folders(folder: &Path) -> io::Result<()> {
    fault::before()?;
    fs::create_dir_all(folder)
}

/// Creates a folder that must not exist.
///
/// # Errors
///
/// Returns the errors of mkdir(2).
pub fn create_folder(folder: &Path) -> io::Result<()> {
    fault::before()?;
    fs::create_dir(folder)
}

/// Removes a file.
///
/// # Errors
///
/// Returns the errors of unlink(2).
pub fn remove(path: &Path) -> io::Result<()> {
    fault::before()?;
    fs::remove_file(path)
}

/// Renames a file and replaces any file with the new name.
///
/// # Errors
///
/// Returns the errors of rename(2).
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fault::before()?;
    fs::rename(from, to)
}

/// Renames `from` to `to` unless `to` exists. Returns whether the file was renamed.
///
/// If the file system does not support this, checks for `to` first; a `to` created in between is
/// replaced.
///
/// # Errors
///
/// Returns the errors of renameat2(2).
pub fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    fault::before()?;
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

/// Creates a hard link, whose name must not exist.
///
/// # Errors
///
/// Returns the errors of link(2).
pub fn link(file: &Path, name: &Path) -> io::Result<()> {
    fault::before()?;
    fs::hard_link(file, name)
}

/// Result of exchanging two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// The names were exchanged, in one step.
    Done,
    /// One of the files does not exist.
    Missing,
    /// The file system does not support the exchange (NFS, some FUSE file systems).
    Unsupported,
}

/// Exchanges the names of two files. Both names exist at every moment.
///
/// # Errors
///
/// Returns the errors of renameat2(2), other than the cases of [`Exchange`].
pub fn exchange(one: &Path, other: &Path) -> io::Result<Exchange> {
    fault::before()?;
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(Exchange::Done),
        Err(Errno::NOENT) => Ok(Exchange::Missing),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(Exchange::Unsupported),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
}
