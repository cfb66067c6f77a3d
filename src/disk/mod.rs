//! Every change to the disk, in one place.
//!
//! The stages that write call these instead of `std::fs`. So tests can have the
//! program killed before each of them, or in the middle of a write, and can make
//! each of them fail (`fault`); in a release build there is nothing but the call.

mod fault;

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Makes a file, or empties the one that is there.
///
/// # Errors
///
/// Those of open(2).
pub fn create(path: &Path) -> io::Result<File> {
    fault::before()?;
    File::create(path)
}

/// Opens a file to read it and to append to it, and makes it if need be.
///
/// # Errors
///
/// Those of open(2).
pub fn open_to_append(path: &Path) -> io::Result<File> {
    fault::before()?;
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

/// Opens a file that is there to be locked, and makes it if need be.
///
/// # Errors
///
/// Those of open(2).
pub fn open_lock(path: &Path) -> io::Result<File> {
    fault::before()?;
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

/// Writes from the front of `bytes`; says how many.
///
/// # Errors
///
/// Those of write(2).
pub fn write(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    fault::before_write(bytes, |half| file.write_all(half))?;
    file.write(bytes)
}

/// Writes all of `bytes`.
///
/// # Errors
///
/// Those of write(2). Some of the bytes may be written then.
pub fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    fault::before_write(bytes, |half| file.write_all(half))?;
    file.write_all(bytes)
}

/// What has to be given something to write to writes through this.
#[derive(Debug)]
pub struct Writer<'a>(pub &'a File);

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cuts a file, or fills it up with zeros.
///
/// # Errors
///
/// Those of ftruncate(2).
pub fn set_length(file: &File, bytes: u64) -> io::Result<()> {
    fault::before()?;
    file.set_len(bytes)
}

/// Gives a file these permissions.
///
/// # Errors
///
/// Those of fchmod(2).
pub fn set_permissions(file: &File, permissions: Permissions) -> io::Result<()> {
    fault::before()?;
    file.set_permissions(permissions)
}

/// Gives a file these times.
///
/// # Errors
///
/// Those of futimens(2).
pub fn set_times(file: &File, times: FileTimes) -> io::Result<()> {
    fault::before()?;
    file.set_times(times)
}

/// Brings a file to the disk itself.
///
/// # Errors
///
/// Those of fsync(2).
pub fn sync(file: &File) -> io::Result<()> {
    fault::before()?;
    file.sync_all()
}

/// Brings a file's bytes to the disk itself, and its times perhaps not.
///
/// # Errors
///
/// Those of fdatasync(2).
pub fn sync_data(file: &File) -> io::Result<()> {
    fault::before()?;
    file.sync_data()
}

/// Brings the names in a folder to the disk itself, where the file system has a way to.
///
/// # Errors
///
/// If the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match sync(&File::open(folder)?) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Brings everything on the file system of `folder` to the disk itself.
///
/// # Errors
///
/// Those of syncfs(2).
pub fn sync_file_system(folder: &Path) -> io::Result<()> {
    fault::before()?;
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

/// Makes a folder, and those above it.
///
/// # Errors
///
/// Those of mkdir(2), other than that it is there.
pub fn create_folders(folder: &Path) -> io::Result<()> {
    fault::before()?;
    fs::create_dir_all(folder)
}

/// Makes a folder that was not there.
///
/// # Errors
///
/// Those of mkdir(2).
pub fn create_folder(folder: &Path) -> io::Result<()> {
    fault::before()?;
    fs::create_dir(folder)
}

/// Removes a file.
///
/// # Errors
///
/// Those of unlink(2).
pub fn remove(path: &Path) -> io::Result<()> {
    fault::before()?;
    fs::remove_file(path)
}

/// Renames a file, in place of what had its new name.
///
/// # Errors
///
/// Those of rename(2).
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fault::before()?;
    fs::rename(from, to)
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
