//! Folders whose files are opened or removed by name. Symbolic links in them are not followed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::{fault, sync};

/// An open folder. Names are relative to the folder itself, even if it is moved.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// Type of an entry in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// Anything else: a symbolic link, a socket, a device.
    Other,
}

impl Folder {
    /// Opens a folder. Follows a symbolic link, because the user has named the path.
    ///
    /// # Errors
    ///
    /// Returns the errors of open(2).
    pub fn open(path: &Path) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Folder(openat(CWD, path, flags, Mode::empty())?))
    }

    /// Opens a folder in this folder.
    ///
    /// # Errors
    ///
    /// Returns the errors of open(2); for a symbolic link, ENOTDIR or ELOOP.
    pub fn folder(&self, name: &OsStr) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Folder(openat(&self.0, name, flags, Mode::empty())?))
    }

    /// Opens a regular file in this folder for reading and writing.
    ///
    /// # Errors
    ///
    /// Returns the errors of open(2), and an error if the entry is not a regular file.
    pub fn file(&self, name: &OsStr) -> io::Result<File> {
        self.regular(name, OFlags::RDWR)
    }

    fn regular(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        // NONBLOCK: opening a FIFO would block until its other end is opened.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::from_raw_mode(0o666))?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(File::from(file))
    }

    /// Opens a regular file in this folder for reading.
    ///
    /// # Errors
    ///
    /// As [`Folder::file`].
    pub fn read_file(&self, name: &OsStr) -> io::Result<File> {
        self.regular(name, OFlags::RDONLY)
    }

    /// Opens a regular file in this folder for reading and writing, and creates it if needed. Returns
    /// whether the file was created.
    ///
    /// # Errors
    ///
    /// As [`Folder::file`].
    pub fn open_or_create(&self, name: &OsStr) -> io::Result<(File, bool)> {
        fault::before()?;
        let is_new = self.kind(name)?.is_none();
        let flags = if is_new { OFlags::RDWR | OFlags::CREATE } else { OFlags::RDWR };
        Ok((self.regular(name, flags)?, is_new))
    }

    /// Returns the type of an entry; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns the errors of fstatat(2).
    pub fn kind(&self, name: &OsStr) -> io::Result<Option<EntryKind>> {
        let stat = match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Folder,
            _ => EntryKind::Other,
        }))
    }

    /// Returns the names in this folder.
    ///
    /// # Errors
    ///
    /// Returns the errors of readdir(3).
    pub fn names(&self) -> io::Result<Vec<std::ffi::OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Removes an entry of this folder that is not a folder.
    ///
    /// # Errors
    ///
    /// Returns the errors of unlink(2).
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        fault::before()?;
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes a folder in this folder if it is empty. Returns whether it was removed.
    ///
    /// # Errors
    ///
    /// Returns the errors of rmdir(2), except for a folder that is not empty.
    pub fn remove_empty(&self, name: &OsStr) -> io::Result<bool> {
        fault::before()?;
        match unlinkat(&self.0, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Syncs the entries of this folder to disk.
    ///
    /// # Errors
    ///
    /// Returns the errors of fsync(2).
    pub fn sync(&self) -> io::Result<()> {
        match sync(&File::from(self.0.as_fd().try_clone_to_owned()?)) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nothing_is_opened_through_a_link_and_a_link_is_no_file() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("real")).unwrap();
        fs::write(temp.path().join("real/file"), "").unwrap();
        std::os::unix::fs::symlink("real", temp.path().join("link")).unwrap();
        std::os::unix::fs::symlink("file", temp.path().join("real/alias")).unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        assert!(folder.folder("link".as_ref()).is_err());
        let real = folder.folder("real".as_ref()).unwrap();
        assert!(real.file("alias".as_ref()).is_err());
        assert!(real.file("file".as_ref()).is_ok());
        assert_eq!(real.kind("alias".as_ref()).unwrap(), Some(EntryKind::Other));
        assert_eq!(real.kind("file".as_ref()).unwrap(), Some(EntryKind::File));
        assert_eq!(real.kind("none".as_ref()).unwrap(), None);
        let mut names = real.names().unwrap();
        names.sort();
        assert_eq!(names, ["alias", "file"]);
    }

    #[test]
    fn a_folder_that_is_not_empty_stays() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("a")).unwrap();
        fs::write(temp.path().join("a/file"), "").unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        assert!(!folder.remove_empty("a".as_ref()).unwrap());
        folder.folder("a".as_ref()).unwrap().remove("file".as_ref()).unwrap();
        assert!(folder.remove_empty("a".as_ref()).unwrap());
        assert!(folder.remove_empty("a".as_ref()).unwrap(), "it is gone already");
    }
}
