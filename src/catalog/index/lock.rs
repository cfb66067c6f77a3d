//! The lock for writing the index: `flock` on `index.lock`.
//!
//! Other programs take the lock too, and may hold it for any time. Only the end of the program
//! waits for them: while the lock is held, frames are kept, and the index is written once the lock
//! is free.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::disk;
use crate::error::{Context, Error, Kind, Result, Stage};
use crate::pause;

/// Name of the file that writers of the index lock.
pub const LOCK_NAME: &str = "index.lock";

/// Time to wait for a lock that another program holds: usually long enough.
const BRIEF: Duration = Duration::from_millis(100);

/// Interval at which a held lock is tried again.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Time after which a held lock is logged.
const LOG_AFTER: Duration = Duration::from_secs(5);

/// Buffer size for one read of /proc/locks. The kernel returns at most a page, some 70 locks.
const LOCKS_CHUNK: usize = 64 * 1024;

/// Maximum number of attempts to find a lock in /proc/locks: one read of a list longer than a page
/// may miss it.
const LOCKS_READS: usize = 3;

/// The lock file of a frames folder.
#[derive(Debug)]
pub(in crate::catalog) struct IndexLock {
    path: PathBuf,
    file: File,
    /// Time at which the lock was first found to be held by another process.
    busy_since: Option<Instant>,
    is_logged: bool,
}

/// Holds the lock until dropped.
#[derive(Debug)]
pub(in crate::catalog) struct HeldLock(File);

impl IndexLock {
    /// Creates the lock file if it does not exist.
    pub fn open(folder: &Path) -> Result<IndexLock> {
        let path = folder.join(LOCK_NAME);
        Ok(IndexLock { file: open_file(&path)?, path, busy_since: None, is_logged: false })
    }

    /// Takes the lock if it is free. The first time, waits briefly; while another process keeps
    /// holding the lock, hardly waits at all.
    pub fn try_hold(&mut self) -> Result<Option<HeldLock>> {
        self.hold_within(if self.busy_since.is_none() { BRIEF } else { LOOK_INTERVAL })
    }

    /// Waits for the lock, at most `timeout`, and takes it.
    ///
    /// # Errors
    ///
    /// Returns an error of [`Kind::Busy`] if another process still holds the lock after that time.
    pub fn hold(&mut self, timeout: Duration) -> Result<HeldLock> {
        self.hold_within(timeout)?.ok_or_else(|| {
            let what = format!("{} has not released it for {timeout:?}", self.holder());
            Error::new(Stage::Catalog, what).of_kind(Kind::Busy).path(&self.path)
        })
    }

    fn hold_within(&mut self, timeout: Duration) -> Result<Option<HeldLock>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(held) = self.look()? {
                self.freed();
                return Ok(Some(held));
            }
            self.log_once();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(left.min(LOOK_INTERVAL));
        }
    }

    /// Takes the lock if it is free now.
    fn look(&mut self) -> Result<Option<HeldLock>> {
        loop {
            match self.file.try_lock() {
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {
                    continue;
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).context(Stage::Catalog, &self.path, "cannot lock the index");
                }
                Ok(()) => {}
            }
            // Both handles share one lock: releasing either releases it.
            let held = self.file.try_clone().map(HeldLock);
            let held = held.context(Stage::Catalog, &self.path, "cannot lock the index")?;
            if identity(self.file.metadata()) == identity(fs::metadata(&self.path)) {
                return Ok(Some(held));
            }
            // The lock file was removed or replaced: other programs would lock the new
            // one.
            self.file = open_file(&self.path)?;
        }
    }

    fn log_once(&mut self) {
        let since = *self.busy_since.get_or_insert_with(Instant::now);
        if !self.is_logged && since.elapsed() >= pause::of(LOG_AFTER) {
            self.is_logged = true;
            tracing::warn!(
                "{}: locked by {}; frames are kept, and the index is written once the lock is released",
                self.path.display(),
                self.holder()
            );
        }
    }

    fn freed(&mut self) {
        self.busy_since = None;
        if std::mem::take(&mut self.is_logged) {
            tracing::info!("{}: the lock was released", self.path.display());
        }
    }

    /// Describes the process that holds the lock, if /proc/locks lists it.
    fn holder(&self) -> String {
        let pid = || {
            let metadata = self.file.metadata().ok()?;
            (0..LOCKS_READS).find_map(|_| {
                let locks = read_locks().ok()?;
                holder_of(&locks, metadata.dev(), metadata.ino())
            })
        };
        pid().map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    }
}

/// Reads /proc/locks in as few system calls as possible. The kernel resumes the list by position at
/// each call: when a lock is released between two calls, the next line is skipped.
/// `fs::read_to_string` begins with a call for 32 bytes, in the middle of the first line.
fn read_locks() -> io::Result<String> {
    let mut file = File::open("/proc/locks")?;
    let mut bytes = vec![0; LOCKS_CHUNK];
    let mut length = 0;
    loop {
        bytes.resize(length + LOCKS_CHUNK, 0);
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the process that holds `flock` on the file with this device and inode, according to
/// /proc/locks (proc(5)). Also returns `None` if several files have the inode but none has the
/// device: some file systems (btrfs) report another device there than stat(2).
fn holder_of(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let holders: Vec<(bool, u32)> = locks
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            // Waiting processes have `->` here.
            (fields.next()? == "FLOCK").then_some(())?;
            let (pid, file) = (fields.nth(2)?.parse().ok()?, fields.next()?);
            let (listed_device, listed_inode) = file.rsplit_once(':')?;
            let (major, minor) = listed_device.split_once(':')?;
            let number = |text| u32::from_str_radix(text, 16).ok();
            let listed_device = rustix::fs::makedev(number(major)?, number(minor)?);
            (listed_inode.parse() == Ok(inode)).then_some((listed_device == device, pid))
        })
        .collect();
    match holders[..] {
        [(_, pid)] => Some(pid),
        _ => holders.iter().find(|(is_device, _)| *is_device).map(|(_, pid)| *pid),
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!("cannot unlock the index: {error}");
        }
    }
}

fn identity(metadata: io::Result<fs::Metadata>) -> Option<(u64, u64)> {
    metadata.ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn open_file(path: &Path) -> Result<File> {
    disk::open_lock(path).context(Stage::Catalog, path, "cannot open the lock of the index")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_holds_a_lock_is_found() {
        let locks = "\
1: POSIX  ADVISORY  WRITE 100 08:01:7 0 EOF
2: FLOCK  ADVISORY  WRITE 200 08:01:77 0 EOF
2: -> FLOCK  ADVISORY  WRITE 300 08:01:7 0 EOF
3: FLOCK  ADVISORY  WRITE 400 08:01:7 0 EOF
";
        let device = rustix::fs::makedev(8, 1);
        assert_eq!(holder_of(locks, device, 7), Some(400));
        assert_eq!(holder_of(locks, device, 77), Some(200));
        assert_eq!(holder_of(locks, device, 8), None);
        let other = rustix::fs::makedev(8, 0x11);
        let locks = "4: FLOCK ADVISORY WRITE 500 08:11:7 0 EOF\n".to_owned() + locks;
        assert_eq!(holder_of(&locks, other, 7), Some(500));
        assert_eq!(holder_of(&locks, device, 7), Some(400));
        assert_eq!(holder_of(&locks, 99, 7), None, "two files, neither on this device");
        assert_eq!(holder_of(&locks, 99, 77), Some(200));
    }

    #[test]
    fn the_holder_is_named_while_other_locks_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let lock = IndexLock::open(folder.path()).unwrap();
        let files: Vec<File> = (0..20).map(|_| tempfile::tempfile().unwrap()).collect();
        let other = File::open(folder.path().join(LOCK_NAME)).unwrap();
        other.lock().unwrap();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    files.iter().for_each(|file| file.lock().unwrap());
                    files.iter().for_each(|file| file.unlock().unwrap());
                }
            });
            let named = format!("process {}", std::process::id());
            let unnamed = (0..2000).filter(|_| lock.holder() != named).count();
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(unnamed, 0);
        });
    }

    #[test]
    fn a_lock_that_another_holds_is_waited_for_no_longer_than_asked_and_its_holder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut lock = IndexLock::open(folder.path()).unwrap();
        let other = File::open(folder.path().join(LOCK_NAME)).unwrap();
        other.lock().unwrap();
        assert!(lock.try_hold().unwrap().is_none());
        let error = lock.hold(Duration::from_millis(10)).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        let named = format!("process {} has not released it", std::process::id());
        assert!(error.to_string().contains(&named), "{error}");
        drop(other);
        let held = lock.hold(Duration::ZERO).unwrap();
        drop(held);
        assert!(lock.try_hold().unwrap().is_some());
    }
}
