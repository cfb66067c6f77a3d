//! Waits for several kinds of events at once.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

/// Events that have ended a wait; none after a timeout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Woken {
    /// A watched file was replaced or written.
    pub changed: bool,
    /// The reader of the output has closed it.
    pub reader_left: bool,
}

/// Watches files.
#[derive(Debug)]
pub struct Wake<'a> {
    /// `None` if the system or the file system has no inotify(7).
    inotify: Option<OwnedFd>,
    names: &'a [&'a str],
}

impl<'a> Wake<'a> {
    /// Returns a watch for files with these `names`, in the folders added later.
    pub fn watch(names: &'a [&'a str]) -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let inotify =
            inotify.inspect_err(|error| tracing::debug!("cannot watch files: {error}")).ok();
        Wake { inotify, names }
    }

    /// Also watches the files in `folder`, whether they exist or not.
    pub fn add(&self, folder: &Path) {
        let Some(inotify) = &self.inotify else { return };
        let written = WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::MODIFY;
        if let Err(error) = inotify::add_watch(inotify, folder, written | WatchFlags::ONLYDIR) {
            tracing::debug!("{}: cannot watch it: {error}", folder.display());
        }
    }

    /// Waits for a change of a file, for an event on one of `others`, or for the end of the reader
    /// of `output`; at most `timeout`.
    pub fn wait<'f>(
        &self,
        others: impl Iterator<Item = BorrowedFd<'f>>,
        output: Option<BorrowedFd<'f>>,
        timeout: Duration,
    ) -> Woken {
        let others: Vec<_> = others.collect();
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        // A hang-up is always reported.
        fds.extend(output.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::empty())));
        fds.extend(others.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        let inotify = self.inotify.as_ref().map(AsFd::as_fd);
        fds.extend(inotify.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        // In range: callers wait for seconds.
        let timeout = Timespec::try_from(timeout).ok();
        if poll(&mut fds, timeout.as_ref()).is_err() {
            return Woken::default();
        }
        let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        let reader_left =
            output.is_some() && fds.first().is_some_and(|fd| fd.revents().intersects(gone));
        Woken { changed: self.read_changes(), reader_left }
    }

    /// Returns whether a watched file has changed since the last call.
    fn read_changes(&self) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(inotify, &mut buffer);
        let mut changed = false;
        while let Ok(event) = reader.next() {
            let name = event.file_name().and_then(|name| name.to_str().ok());
            // After a queue overflow, the event has no name.
            changed |= name.is_none_or(|name| self.names.contains(&name));
        }
        changed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::io::pipe;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_watched_file_wakes_and_another_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let wake = Wake::watch(&["index.json"]);
        wake.add(folder.path());
        let nothing = || std::iter::empty();
        assert_eq!(wake.wait(nothing(), None, Duration::ZERO), Woken::default());
        fs::write(folder.path().join("F0001.jpg"), "").unwrap();
        assert!(!wake.wait(nothing(), None, LONG).changed, "it wakes, but for nothing");
        fs::write(folder.path().join("temp"), "[]").unwrap();
        fs::rename(folder.path().join("temp"), folder.path().join("index.json")).unwrap();
        assert!(wake.wait(nothing(), None, LONG).changed);
        assert!(!wake.wait(nothing(), None, Duration::ZERO).changed);
    }

    #[test]
    fn a_reader_that_leaves_wakes() {
        let wake = Wake::watch(&[]);
        let (reader, writer) = pipe().unwrap();
        let output = Some(writer.as_fd());
        assert!(!wake.wait(std::iter::empty(), output, Duration::ZERO).reader_left);
        drop(reader);
        assert!(wake.wait(std::iter::empty(), output, LONG).reader_left);
    }
}
