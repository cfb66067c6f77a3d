//! Shell completion by the program itself: the scripts call it at each TAB.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::CompleteEnv;
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::Shells;

use super::{Cli, help};
use crate::config::{File, Layers, SYSTEM_CONFIG, config_path, key};
use crate::session::stored_sessions;

/// Variable with which a script requests candidates. It is neither an option nor clap's `COMPLETE`:
/// a recorder must start with any environment.
const VARIABLE: &str = "_SCENETAP_COMPLETE";

/// Answers a shell's completion script, if that has started the program. Returns whether it has.
///
/// # Errors
///
/// Returns an error if the shell is unknown, or stdout cannot be written.
pub(super) fn answer(arguments: &[OsString]) -> clap::error::Result<bool> {
    let command = || help::annotate(Cli::command());
    let folder = std::env::current_dir().ok();
    CompleteEnv::with_factory(command).var(VARIABLE).try_complete(arguments, folder.as_deref())
}

/// The script for bash. Clap's script takes the words as bash splits them, at `=` and `:`, and
/// quotes nothing.
const BASH: &str = include_str!("complete.bash");

/// Returns the script for a shell: bash, zsh or fish.
///
/// # Errors
///
/// Returns an error if the shell is unknown.
pub(super) fn script(shell: &str) -> io::Result<String> {
    if shell == "bash" {
        return Ok(BASH.replace("VARIABLE", VARIABLE));
    }
    let name = "scenetap";
    let shells = Shells::builtins();
    let shell_script = shells.completer(shell).ok_or(io::ErrorKind::InvalidInput)?;
    let mut script = Vec::new();
    shell_script.write_registration(VARIABLE, name, name, name, &mut script)?;
    let script = String::from_utf8_lossy(&script).trim().to_owned();
    if shell != "zsh" {
        return Ok(script);
    }
    // zsh loads the file at the first TAB and calls it: it must then complete, too.
    let register = "compdef _clap_dynamic_completer_scenetap scenetap";
    let complete_or_register = format!(
        "if [[ $funcstack[1] == _scenetap ]]; then\n    _clap_dynamic_completer_scenetap \"$@\"\n\
         else\n    {register}\nfi"
    );
    Ok(script.replace(register, &complete_or_register))
}

/// Completes the name of a session.
pub(super) fn session() -> ArgValueCompleter {
    ArgValueCompleter::new(session_candidates)
}

/// Completes the name of a session, or the path of a file.
pub(super) fn session_or_file() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let mut candidates = session_candidates(typed);
        candidates.extend(PathCompleter::any().complete(typed));
        candidates
    })
}

/// Returns the names of sessions. Returns no candidates if the folder of sessions cannot be read: an
/// error message would disturb the line being typed.
fn session_candidates(typed: &OsStr) -> Vec<CompletionCandidate> {
    let sessions = stored_sessions(&sessions_dir()).unwrap_or_default();
    let ids = sessions.into_iter().map(|stored| stored.session.id());
    let typed = typed.to_string_lossy();
    ids.filter(|id| id.starts_with(&*typed)).map(CompletionCandidate::new).collect()
}

/// Returns the folder of sessions that the typed command would use.
fn sessions_dir() -> PathBuf {
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").collect();
    let environment = |name: &str| std::env::var_os(name);
    let file = config_path(typed(&words, "--config"), &environment, SYSTEM_CONFIG.as_ref());
    let file = file.and_then(|path| File::read(&path).ok());
    let layers = Layers::new(&environment, file);
    layers.required(typed(&words, "--sessions-dir"), &key::SESSIONS_DIR).unwrap_or_default()
}

/// Returns the last typed path for a flag. The shell has not expanded `~` yet.
fn typed(words: &[OsString], flag: &str) -> Option<PathBuf> {
    let value = words.windows(2).rev().find_map(|pair| {
        if pair[0] == flag {
            return Some(pair[1].clone());
        }
        pair[1].to_str()?.strip_prefix(flag)?.strip_prefix('=').map(OsString::from)
    })?;
    let path = PathBuf::from(value);
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(below), Some(home)) => Some(home.join(below)),
        _ => Some(path),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_has_a_script_that_calls_the_program() {
        for shell in ["bash", "zsh", "fish"] {
            let script = script(shell).unwrap();
            assert!(script.contains(VARIABLE), "{shell}: {script}");
            assert!(script.contains("scenetap"), "{shell}: {script}");
        }
        assert!(script("zsh").unwrap().contains("$funcstack[1] == _scenetap"));
        assert!(script("csh").is_err());
    }
}
