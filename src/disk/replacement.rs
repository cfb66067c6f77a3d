//! A file that takes its name once it is complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};

use super::{create, fault, remove, rename, write};

/// A file that is written for a user, under a name that the user has chosen.
///
/// A file of that name stays as it is until the new one is complete. If it is never completed, or the
/// program is killed, nothing is left. Something other than a file, such as `/dev/null` or a FIFO, is
/// written to as it is.
#[derive(Debug)]
pub struct Replacement {
    file: File,
    /// Where the complete file goes; `None` if it is written in its place.
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Temporary name, which the file has already if the file system has no unnamed files.
    temp: PathBuf,
    has_name: bool,
}

impl Replacement {
    /// Begins a file at `path`. A symbolic link to a file is followed: that file is replaced.
    ///
    /// # Errors
    ///
    /// Returns the errors of open(2).
    pub fn begin(path: &Path) -> io::Result<Self> {
        let path = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => {
                fault::before()?;
                let file = File::options().write(true).open(path)?;
                return Ok(Replacement { file, place: None });
            }
            Ok(_) => fs::canonicalize(path)?,
            // A link to nothing would be replaced by the file.
            Err(_) => path.to_owned(),
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        name.push(format!(".tmp-{}", std::process::id()));
        let temp = path.with_file_name(name);
        fault::before()?;
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let (file, has_name) = match openat(CWD, folder, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => (File::from(file), false),
            // Not every file system has unnamed files.
            Err(_) => (create(&temp)?, true),
        };
        Ok(Replacement { file, place: Some(Place { path, temp, has_name }) })
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    ///
    /// Returns the errors of link(2) and rename(2).
    pub fn finish(mut self) -> io::Result<()> {
        let Some(place) = &mut self.place else { return Ok(()) };
        if !place.has_name {
            fault::before()?;
            let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            linkat(CWD, unnamed, CWD, &place.temp, AtFlags::SYMLINK_FOLLOW)?;
            place.has_name = true;
        }
        rename(&place.temp, &place.path)?;
        self.place = None;
        Ok(())
    }
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
        if let Some(place) = &self.place
            && place.has_name
        {
            let _ = remove(&place.temp);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
    fn what_is_no_file_is_written_to_and_a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let null = Path::new("/dev/null");
        let mut begun = Replacement::begin(null).unwrap();
        begun.write_all(b"x").unwrap();
        begun.finish().unwrap();
        assert!(!fs::metadata(null).unwrap().is_file());
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let mut begun = Replacement::begin(&link).unwrap();
        begun.write_all(b"x").unwrap();
        begun.finish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"x");
        assert!(Replacement::begin(folder.path()).is_err());
        assert!(Replacement::begin(&folder.path().join("none/a")).is_err());
    }
}
