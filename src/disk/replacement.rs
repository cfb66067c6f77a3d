//! A file that gets its name only once it is complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::Errno;

use super::{create, fault, remove, rename, set_permissions, write};

/// A file that is written for a user, under a name that the user has chosen.
///
/// An existing file of that name stays unchanged until the new one is complete, which then gets its
/// permissions. If the file is never completed, or the program is killed, no partial file is left.
#[derive(Debug)]
pub struct Replacement {
    file: File,
    path: PathBuf,
    /// Temporary name; `None` while the file has no name.
    temp: Option<PathBuf>,
}

impl Replacement {
    /// Creates a file for `path`. If `path` is a symbolic link to a file, that file is replaced.
    ///
    /// # Errors
    ///
    /// Returns the errors of open(2).
    pub fn begin(path: &Path) -> io::Result<Self> {
        let (path, permissions) = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) => (fs::canonicalize(path)?, Some(found.permissions())),
            Err(_) if path.file_name().is_none() => return Err(io::ErrorKind::InvalidInput.into()),
            // A dangling link is replaced by the file.
            Err(_) => (path.to_owned(), None),
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fault::before()?;
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let (file, temp) = match openat(CWD, folder, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => (File::from(file), None),
            // Not every file system supports unnamed files.
            Err(_) => {
                let temp = temp_path(&path);
                (create(&temp)?, Some(temp))
            }
        };
        if let Some(permissions) = permissions {
            set_permissions(&file, permissions)?;
        }
        Ok(Replacement { file, path, temp })
    }

    /// Gives the completed file its name.
    ///
    /// # Errors
    ///
    /// Returns the errors of link(2) and rename(2).
    pub fn finish(mut self) -> io::Result<()> {
        if self.temp.is_none() {
            let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            fault::before()?;
            match linkat(CWD, &unnamed, CWD, &self.path, AtFlags::SYMLINK_FOLLOW) {
                Err(Errno::EXIST) => {}
                linked => return Ok(linked?),
            }
            // Only a rename can replace another file.
            let temp = temp_path(&self.path);
            linkat(CWD, &unnamed, CWD, &temp, AtFlags::SYMLINK_FOLLOW)?;
            self.temp = Some(temp);
        }
        if let Some(temp) = &self.temp {
            rename(temp, &self.path)?;
        }
        self.temp = None;
        Ok(())
    }
}

/// Returns a name in the folder of `path` that no other process uses.
fn temp_path(path: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    path.with_file_name(format!(".scenetap-{}-{}.tmp", std::process::id(), now.as_nanos()))
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(&self.file, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(temp) = &self.temp {
            let _ = remove(temp);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_older_file_stays_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let mut begun = Replacement::begin(&path).unwrap();
        begun.write_all(b"new").unwrap();
        drop(begun);
        assert_eq!(
            (fs::read(&path).unwrap(), names(folder.path())),
            (b"old".to_vec(), vec!["a".into()])
        );
        let mut begun = Replacement::begin(&path).unwrap();
        begun.write_all(b"new").unwrap();
        begun.finish().unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), names(folder.path())),
            (b"new".to_vec(), vec!["a".into()])
        );
    }

    #[test]
    fn a_link_stays_one_and_permissions_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let mut begun = Replacement::begin(&link).unwrap();
        begun.write_all(b"x").unwrap();
        begun.finish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"x");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(folder.path()), ["file", "link"]);
        assert!(Replacement::begin(folder.path()).is_err());
        assert!(Replacement::begin(&folder.path().join("none/a")).is_err());
    }

    #[test]
    fn a_new_file_may_have_the_longest_name() {
        let folder = tempfile::tempdir().unwrap();
        let name = "a".repeat(255);
        let mut begun = Replacement::begin(&folder.path().join(&name)).unwrap();
        begun.write_all(b"x").unwrap();
        begun.finish().unwrap();
        assert_eq!(names(folder.path()), [name]);
    }
}
