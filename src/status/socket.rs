//! The sockets' names, and whether somebody listens behind one.
//!
//! `record-PID-HASH.sock`, the hash being that of the session's folder: who looks for
//! a session finds its recorder, and one that does not answer has its process told.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::error::{Context, Result, Stage};
use crate::runtime_folder;

const PREFIX: &str = "record-";
const SUFFIX: &str = ".sock";

/// The name of this process's socket for the session in `folder`.
pub(super) fn name_of(folder: &Path) -> Result<String> {
    let (pid, session) = (std::process::id(), session_part(folder)?);
    Ok(format!("{PREFIX}{pid}{session}"))
}

/// The end of the name, the same for every way to name the session's folder.
pub(super) fn session_part(folder: &Path) -> Result<String> {
    let real = fs::canonicalize(folder).context(Stage::Status, folder, "cannot open")?;
    Ok(format!("-{}{SUFFIX}", runtime_folder::name_of(&real)))
}

/// The process whose socket this is, by its name.
pub(super) fn pid_of(socket: &Path) -> Option<u32> {
    let name = socket.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    name.split('-').next()?.parse().ok()
}

/// The sockets of recorders in `folder`; none if it cannot be read.
pub(super) fn sockets_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(SUFFIX) && pid_of(path).is_some()
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours).collect()
}

/// Whoever is found behind a socket.
#[derive(Debug)]
pub(super) enum Found {
    /// It listens.
    Connected(UnixStream),
    /// It listens, but has left as many waiting as the system lets wait.
    Busy,
    /// Nobody: a recorder that was killed has left the file, or it was just removed.
    Nobody,
}

/// Connects without ever waiting.
pub(super) fn find(socket: &Path) -> io::Result<Found> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let client = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&client, &SocketAddrUnix::new(socket)?) {
        Ok(()) => Ok(Found::Connected(UnixStream::from(client))),
        Err(Errno::AGAIN) => Ok(Found::Busy),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(Found::Nobody),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_process_and_its_session() {
        let folder = tempfile::tempdir().unwrap();
        let name = name_of(folder.path()).unwrap();
        assert_eq!(pid_of(Path::new(&name)), Some(std::process::id()));
        assert!(name.ends_with(&session_part(folder.path()).unwrap()));
        assert!(name.len() <= 40, "{name}");
        for other in ["mpv-0123.sock", "record-.sock", "record-a-0123.sock", "x"] {
            assert_eq!(pid_of(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_told_from_one_that_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record-1-a.sock");
        assert!(matches!(find(&path).unwrap(), Found::Nobody));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        while let Found::Connected(client) = find(&path).unwrap() {
            waiting.push(client);
        }
        assert!(matches!(find(&path).unwrap(), Found::Busy));
        drop(listener);
        assert!(matches!(find(&path).unwrap(), Found::Nobody));
        assert_eq!(sockets_in(folder.path()), [path]);
    }
}
