//! The folder for sockets. Only its user can access it: a process that can write to a player's
//! socket can run programs, and a recorder's status is private.
//!
//! The folder is systemd's `RUNTIME_DIRECTORY` if the service has one, otherwise
//! `$XDG_RUNTIME_DIR/scenetap`, otherwise `scenetap-UID` in the folder for temporary files.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result, Stage};

/// Maximum length of the path of a socket: `sun_path` holds 108 bytes, including the final 0
/// (unix(7)).
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// Parent of the services' folders: `scenetap` of `packaging/systemd/scenetap.service`, and
/// `scenetap-NAME` of `scenetap@NAME.service`. Used by processes outside of the services.
const SERVICES_PARENT: &str = "/run";

/// Returns the folder of this process. Creates it if needed, and ensures that only its
/// user can access it. `stage` is used in the error.
///
/// # Errors
///
/// Returns an error if the folder cannot be created or belongs to another user.
pub fn make(stage: Stage) -> Result<PathBuf> {
    let folder = CandidateFolders::of_process().first();
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).context(stage, &folder, "cannot create the folder");
        }
        _ => {}
    }
    restrict_access(stage, folder, rustix::process::geteuid().as_raw())
}

/// Returns the folders in which other processes of this user may have their sockets, because their
/// environment may differ. Some may not exist.
pub fn all_folders() -> Vec<PathBuf> {
    CandidateFolders::of_process().all()
}

/// Returns the path of the socket `name` in `folder`.
///
/// # Errors
///
/// Returns an error if the path is too long for a socket.
pub fn socket(stage: Stage, folder: &Path, name: &str) -> Result<PathBuf> {
    let socket = folder.join(name);
    if socket.as_os_str().len() > SOCKET_PATH_MAX_BYTES {
        let what = "the path is too long for a socket; set XDG_RUNTIME_DIR to a shorter folder";
        return Err(Error::new(stage, what).path(socket));
    }
    Ok(socket)
}

/// Returns a short name for a path: 64-bit FNV-1a in hexadecimal, the same in every
/// version of the program.
pub fn name_of(path: &Path) -> String {
    let hash = path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Verifies that `folder` is a folder of `user_id`, and removes access for others.
fn restrict_access(stage: Stage, folder: PathBuf, user_id: u32) -> Result<PathBuf> {
    // Do not follow links: another user may have created one.
    let found = fs::symlink_metadata(&folder).context(stage, &folder, "cannot open")?;
    if !found.is_dir() || found.uid() != user_id {
        let what = "is not a folder of this user, so no socket can be created there; \
                    remove it or set XDG_RUNTIME_DIR";
        return Err(Error::new(stage, what).path(folder));
    }
    if found.mode() & 0o077 != 0 {
        let restricted = fs::set_permissions(&folder, Permissions::from_mode(0o700));
        restricted.context(stage, &folder, "cannot remove other users' access to the folder")?;
    }
    Ok(folder)
}

/// Candidate folders, from the environment.
#[derive(Debug)]
struct CandidateFolders {
    /// `RUNTIME_DIRECTORY`: the folder itself, created by systemd.
    service: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: the parent of the folder.
    xdg: Option<PathBuf>,
    temp: PathBuf,
    services_parent: PathBuf,
    user_id: u32,
}

impl CandidateFolders {
    fn of_process() -> Self {
        let user_id = rustix::process::geteuid().as_raw();
        Self::from(&|name| std::env::var_os(name), std::env::temp_dir(), user_id)
    }

    fn from(variable: &dyn Fn(&str) -> Option<OsString>, temp: PathBuf, user_id: u32) -> Self {
        // The XDG specification requires paths that are not absolute to be ignored.
        let usable = |path: &PathBuf| path.is_absolute() && path.is_dir();
        // systemd.exec(5): several folders are separated by colons.
        let service = variable("RUNTIME_DIRECTORY").and_then(|folders| {
            let first = folders.as_bytes().split(|byte| *byte == b':').next()?;
            Some(PathBuf::from(std::ffi::OsStr::from_bytes(first)))
        });
        CandidateFolders {
            service: service.filter(usable),
            xdg: variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(usable),
            temp,
            services_parent: SERVICES_PARENT.into(),
            user_id,
        }
    }

    fn first(&self) -> PathBuf {
        let xdg = || self.xdg.as_ref().map(|xdg| xdg.join("scenetap"));
        self.service.clone().or_else(xdg).unwrap_or_else(|| self.in_temp())
    }

    fn all(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.first()];
        folders.extend(self.of_services());
        folders.extend(self.xdg.as_ref().map(|xdg| xdg.join("scenetap")));
        // Any user can create a folder of this name there: ignore sockets in another user's folder.
        let is_own = |folder: &PathBuf| {
            fs::symlink_metadata(folder)
                .is_ok_and(|found| found.is_dir() && found.uid() == self.user_id)
        };
        folders.extend(Some(self.in_temp()).filter(is_own));
        let mut seen = std::collections::HashSet::new();
        folders.retain(|folder| seen.insert(folder.clone()));
        folders
    }

    /// Returns the folders of the services. Only root can create folders there.
    fn of_services(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.services_parent.join("scenetap")];
        let entries = fs::read_dir(&self.services_parent).into_iter().flatten().flatten();
        let is_instance = |path: &PathBuf| {
            let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
            name.starts_with(b"scenetap-") && path.is_dir()
        };
        let mut instances: Vec<_> = entries.map(|entry| entry.path()).filter(is_instance).collect();
        instances.sort();
        folders.extend(instances);
        folders
    }

    fn in_temp(&self) -> PathBuf {
        self.temp.join(format!("scenetap-{}", self.user_id))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn current_user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn candidate_folders(variables: &[(&str, &Path)], temp: &Path) -> CandidateFolders {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_os_str().to_owned())
        };
        CandidateFolders::from(&variable, temp.to_owned(), current_user())
    }

    #[test]
    fn the_folder_is_closed_to_others_even_if_it_was_open() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("scenetap");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let restricted = restrict_access(Stage::Playback, folder, current_user()).unwrap();
        assert_eq!(fs::metadata(&restricted).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_of_somebody_else_and_a_link_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("scenetap");
        fs::create_dir(&folder).unwrap();
        let error = restrict_access(Stage::Playback, folder, 4_294_967_000).unwrap_err();
        assert!(error.to_string().contains("is not a folder of this user"), "{error}");
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(temp.path(), &link).unwrap();
        assert!(restrict_access(Stage::Playback, link, current_user()).is_err());
    }

    #[test]
    fn a_services_own_folder_counts_before_the_users() {
        let temp = tempfile::tempdir().unwrap();
        let both = format!("{}:/run/other", temp.path().display());
        let variables = [("RUNTIME_DIRECTORY", Path::new(&both)), ("XDG_RUNTIME_DIR", temp.path())];
        assert_eq!(candidate_folders(&variables, Path::new("/none")).first(), temp.path());
        let xdg = candidate_folders(&variables[1..], Path::new("/none")).first();
        assert_eq!(xdg, temp.path().join("scenetap"));
    }

    #[test]
    fn without_a_usable_runtime_dir_the_folder_for_temporary_files_serves() {
        let temp = tempfile::tempdir().unwrap();
        let expected = temp.path().join(format!("scenetap-{}", current_user()));
        assert_eq!(candidate_folders(&[], temp.path()).first(), expected);
        for unusable in ["relative", "/does/not/exist", ""] {
            let xdg = [("XDG_RUNTIME_DIR", Path::new(unusable))];
            assert_eq!(candidate_folders(&xdg, temp.path()).first(), expected, "{unusable:?}");
        }
    }

    #[test]
    fn who_asks_looks_into_every_folder_that_is_not_somebody_elses() {
        let temp = tempfile::tempdir().unwrap();
        let xdg = [("XDG_RUNTIME_DIR", temp.path())];
        let run = tempfile::tempdir().unwrap();
        let all = || {
            let services_parent = run.path().to_owned();
            let of_process = candidate_folders(&xdg, temp.path());
            CandidateFolders { services_parent, ..of_process }.all()
        };
        let mut expected = vec![temp.path().join("scenetap"), run.path().join("scenetap")];
        assert_eq!(all(), expected);
        for instance in ["scenetap-stage", "scenetap-hall", "other"] {
            fs::create_dir(run.path().join(instance)).unwrap();
        }
        expected.extend(["scenetap-hall", "scenetap-stage"].map(|name| run.path().join(name)));
        assert_eq!(all(), expected);
        let in_temp = temp.path().join(format!("scenetap-{}", current_user()));
        fs::create_dir(&in_temp).unwrap();
        expected.push(in_temp);
        assert_eq!(all(), expected);
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused() {
        let folder = PathBuf::from("/").join("x".repeat(100));
        assert!(socket(Stage::Playback, &folder, "a.sock").is_err());
        assert!(socket(Stage::Playback, Path::new("/run"), "a.sock").is_ok());
    }
}
