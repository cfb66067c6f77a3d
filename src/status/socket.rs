//! Names of the sockets, and detection of listening processes.
//!
//! The name is `record-PID-HASH.sock` or `frames-PID-HASH.sock`. HASH is derived from the session's folder,
//! so that a client can find the recorder of a session. PID identifies the process of a recorder that does
//! not answer.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::error::{Context, Result, Stage};
use crate::host::runtime_folder;

const SUFFIX: &str = ".sock";

/// Content of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketKind {
    /// The status, once.
    Status,
    /// Each kept frame.
    Frames,
}

impl SocketKind {
    fn prefix(self) -> &'static str {
        match self {
            SocketKind::Status => "record-",
            SocketKind::Frames => "frames-",
        }
    }
}

/// Returns the name of this process's socket for the session in `folder`.
pub(super) fn name_of(kind: SocketKind, folder: &Path) -> Result<String> {
    let (prefix, pid, session) = (kind.prefix(), std::process::id(), session_part(folder)?);
    Ok(format!("{prefix}{pid}{session}"))
}

/// Returns the end of a socket's name. It is the same for every path of the session's folder.
pub(super) fn session_part(folder: &Path) -> Result<String> {
    let real = fs::canonicalize(folder).context(Stage::Status, folder, "cannot open")?;
    Ok(format!("-{}{SUFFIX}", runtime_folder::name_of(&real)))
}

/// Returns the process id in the name of a socket.
pub(super) fn pid_of(kind: SocketKind, socket: &Path) -> Option<u32> {
    let name = socket.file_name()?.to_str()?.strip_prefix(kind.prefix())?;
    name.split('-').next()?.parse().ok()
}

/// Returns the sockets of recorders in `folder`; an empty list if the folder cannot be read.
pub(super) fn sockets_in(kind: SocketKind, folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(SUFFIX) && pid_of(kind, path).is_some()
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours).collect()
}

/// Result of connecting to a socket.
#[derive(Debug)]
pub(super) enum SocketOwner {
    /// Connected.
    Connected(UnixStream),
    /// A process listens, but its queue of pending connections is full.
    Busy,
    /// No process listens: a killed recorder has left the file behind, or it was just removed.
    NotListening,
}

/// Connects without blocking.
pub(super) fn find(socket: &Path) -> io::Result<SocketOwner> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let client = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&client, &SocketAddrUnix::new(socket)?) {
        Ok(()) => Ok(SocketOwner::Connected(UnixStream::from(client))),
        Err(Errno::AGAIN) => Ok(SocketOwner::Busy),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(SocketOwner::NotListening),
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
        let name = name_of(SocketKind::Status, folder.path()).unwrap();
        assert_eq!(pid_of(SocketKind::Status, Path::new(&name)), Some(std::process::id()));
        assert!(name.ends_with(&session_part(folder.path()).unwrap()));
        assert!(name.len() <= 40, "{name}");
        for other in ["mpv-0123.sock", "frames-1-a.sock", "record-.sock", "record-a-0123.sock", "x"]
        {
            assert_eq!(pid_of(SocketKind::Status, Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_told_from_one_that_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record-1-a.sock");
        assert!(matches!(find(&path).unwrap(), SocketOwner::NotListening));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        while let SocketOwner::Connected(client) = find(&path).unwrap() {
            waiting.push(client);
        }
        assert!(matches!(find(&path).unwrap(), SocketOwner::Busy));
        drop(listener);
        assert!(matches!(find(&path).unwrap(), SocketOwner::NotListening));
        assert_eq!(sockets_in(SocketKind::Status, folder.path()), [path]);
    }
}
