//! Path of the IPC socket of a recording's player.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::ipc::Ipc;
use crate::error::{Context, Result, Stage};
use crate::host::runtime_folder;

/// Returns the path of the IPC socket for the player of `recording`. It is the same for
/// every path of the file. Creates the [folder](runtime_folder) of the socket.
///
/// # Errors
///
/// Returns an error if the recording does not exist, or if the folder cannot be created,
/// belongs to another user, or makes the path too long for a socket.
pub fn socket_path(recording: &Path) -> Result<PathBuf> {
    let real = fs::canonicalize(recording).context(Stage::Playback, recording, "cannot open")?;
    let folder = runtime_folder::make(Stage::Playback)?;
    let name = format!("mpv-{}.sock", runtime_folder::name_of(&real));
    runtime_folder::socket(Stage::Playback, &folder, &name)
}

/// Removes the sockets of dead players, and the links to them, from the folder of `socket`. Keeps
/// those of a player that another process has just started.
pub fn remove_stale(socket: &Path) {
    let Some(folder) = socket.parent() else { return };
    let Ok(entries) = fs::read_dir(folder) else { return };
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let is_player = |path: &&PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("mpv-") && name.ends_with(".sock")
    };
    let (links, sockets): (Vec<_>, Vec<_>) =
        paths.iter().filter(is_player).partition(|path| path.is_symlink());
    for path in sockets {
        // A process takes the lock before it starts a player.
        let is_idle =
            !path.with_extension("lock").exists() || is_unlocked(&path.with_extension("lock"));
        if is_idle && Ipc::connect(path).is_err() {
            remove(path);
        }
    }
    links.into_iter().filter(|link| !link.exists()).for_each(|link| remove(link));
}

fn is_unlocked(lock: &Path) -> bool {
    File::open(lock).is_ok_and(|lock| lock.try_lock_shared().is_ok())
}

/// Removes the socket that mpv has left behind.
pub fn remove(socket: &Path) {
    if let Err(error) = fs::remove_file(socket)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!("{}: cannot remove: {error}", socket.display());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_recording_gives_one_socket_and_another_recording_another() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one.ts"), folder.path().join("other.ts"));
        fs::write(&one, b"").unwrap();
        fs::write(&other, b"").unwrap();
        let link = folder.path().join("link.ts");
        std::os::unix::fs::symlink(&one, &link).unwrap();
        assert_eq!(socket_path(&one).unwrap(), socket_path(&link).unwrap());
        assert_ne!(socket_path(&one).unwrap(), socket_path(&other).unwrap());
        assert!(socket_path(&folder.path().join("none.ts")).is_err());
    }
}
