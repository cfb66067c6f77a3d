//! Places in which the configuration file is searched.

use std::path::{Path, PathBuf};

use super::keys::CONFIG_VARIABLE;
use super::layers::Environment;

/// The administrator's file, for all users and the service.
pub const SYSTEM_CONFIG: &str = "/etc/scenetap/config.toml";

/// Path of the user's file, relative to the configuration folder (XDG Base Directory
/// Specification).
const USER_CONFIG: &str = "scenetap/config.toml";

/// Returns the configuration file to read, if there is one: the first of these.
///
/// 1. `flag`, the value of `--config`
/// 2. the variable `SCENETAP_CONFIG`; if it is empty, no file is read
/// 3. `$XDG_CONFIG_HOME/scenetap/config.toml`, or `~/.config/scenetap/config.toml`, if it exists
/// 4. `system`, if it exists
pub fn config_path(
    flag: Option<PathBuf>,
    environment: Environment<'_>,
    system: &Path,
) -> Option<PathBuf> {
    if let Some(path) = flag {
        return Some(path);
    }
    if let Some(path) = environment(CONFIG_VARIABLE) {
        return (!path.is_empty()).then(|| path.into());
    }
    // A folder that this user may not search counts as one without the file: `sudo -u` keeps HOME.
    // An unreadable file is an error, and so is a dangling link.
    let exists = |path: &PathBuf| path.symlink_metadata().is_ok();
    user_config(environment).filter(exists).or_else(|| Some(system.to_owned()).filter(exists))
}

/// Returns the path of the user's file. Relative paths in the environment are ignored, as the
/// specification requires.
fn user_config(environment: Environment<'_>) -> Option<PathBuf> {
    let folder = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let configs =
        folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    configs.map(|configs| configs.join(USER_CONFIG))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use super::*;

    /// Folders with a user's file below `.config`, another one below `xdg`, and a system-wide file.
    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Host {
            let folder = tempfile::tempdir().unwrap();
            for path in [".config/scenetap/config.toml", "xdg/scenetap/config.toml", "etc.toml"] {
                let path = folder.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            Host(folder)
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        /// Returns the file to read, relative to the folder.
        fn read(&self, flag: Option<&str>, variables: &[(&str, OsString)]) -> Option<PathBuf> {
            let environment = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
            };
            let found = config_path(flag.map(Into::into), &environment, &self.path("etc.toml"))?;
            Some(found.strip_prefix(self.0.path()).map(Path::to_owned).unwrap_or(found))
        }
    }

    #[test]
    fn the_flag_replaces_the_variable_and_the_variable_the_usual_places() {
        let host = Host::new();
        let home = ("HOME", host.path("").into());
        let variable = |value: &str| (CONFIG_VARIABLE, OsString::from(value));
        let read = |flag, variables: &[_]| host.read(flag, variables);
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(read(Some("a"), &[variable("b"), home.clone()]), path("a"));
        assert_eq!(read(Some("a"), &[variable("")]), path("a"));
        assert_eq!(read(None, &[variable("b"), home.clone()]), path("b"));
        assert_eq!(read(None, &[variable(""), home]), None, "empty: no file");
    }

    #[test]
    fn the_users_file_replaces_the_systems() {
        let host = Host::new();
        let home = ("HOME", OsString::from(host.path("")));
        let xdg = |value: PathBuf| ("XDG_CONFIG_HOME", OsString::from(value));
        let user = Some(PathBuf::from(".config/scenetap/config.toml"));
        assert_eq!(host.read(None, &[]), Some("etc.toml".into()));
        assert_eq!(host.read(None, std::slice::from_ref(&home)), user);
        let found = host.read(None, &[home.clone(), xdg(host.path("xdg"))]);
        assert_eq!(found, Some("xdg/scenetap/config.toml".into()));
        let found = host.read(None, &[home.clone(), xdg("xdg".into())]);
        assert_eq!(found, user, "a relative path is ignored");
        let found = host.read(None, &[home, xdg(host.path("nowhere"))]);
        assert_eq!(found, Some("etc.toml".into()));
        fs::remove_file(host.path("etc.toml")).unwrap();
        std::os::unix::fs::symlink("nowhere", host.path("etc.toml")).unwrap();
        assert_eq!(host.read(None, &[]), Some("etc.toml".into()), "to report that it is broken");
        fs::remove_file(host.path("etc.toml")).unwrap();
        assert_eq!(host.read(None, &[]), None);
    }
}
