//! Keys of the player that are bound to scenetap's actions.
//!
//! Keys are bound over the IPC socket, to the command `script-message scenetap ACTION`, and only if neither
//! mpv nor the user has bound them. A key that the user has bound to such a command stays bound.

use serde_json::{Value, json};

use super::ipc::Ipc;
use crate::error::Result;

/// First word of the messages.
const NAME: &str = "scenetap";

/// Action of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Move to the next scene.
    NextScene,
    /// Move to the previous scene.
    PreviousScene,
    /// Move to the live edge.
    Live,
    /// Write the shown picture to a file.
    Still,
    /// Show the keys.
    Help,
}

/// The actions: word of the message, possible keys, and help text.
const ACTIONS: [(Action, &str, &[&str], &str); 5] = [
    (Action::NextScene, "next-scene", &["n", "c", "y"], "next scene"),
    (Action::PreviousScene, "prev-scene", &["N", "C", "Y"], "previous scene"),
    (Action::Live, "live", &["END", "k", "X"], "live edge"),
    (Action::Still, "still", &["h", "H", "K"], "still here: write this picture to a file"),
    (Action::Help, "help", &["?", "F1", "F12"], "these keys"),
];

/// The keys that are bound.
#[derive(Debug, Default)]
pub struct Keys {
    bound: Vec<(Action, String)>,
}

impl Keys {
    /// Binds a free key for each action without a key.
    ///
    /// # Errors
    ///
    /// Returns an error if the player does not respond.
    pub fn bind(ipc: &mut Ipc) -> Result<Self> {
        let bindings = ipc.get("input-bindings")?;
        let mut keys = Keys::default();
        for (action, key, is_bound) in chosen(bindings.as_array().map_or(&[], Vec::as_slice)) {
            if !is_bound {
                ipc.command(json!(["keybind", key, command(action)]))?;
            }
            keys.bound.push((action, key));
        }
        Ok(keys)
    }

    /// Returns the key of an action, if it is bound.
    pub fn of(&self, action: Action) -> Option<&str> {
        let bound = self.bound.iter().find(|(bound, _)| *bound == action);
        bound.map(|(_, key)| key.as_str())
    }

    /// Returns the help, one line per key.
    pub fn help(&self) -> String {
        let lines = ACTIONS.iter().filter_map(|(action, _, _, help)| {
            self.of(*action).map(|key| format!("{key}  {help}"))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Rebinds the keys to show `text`, because their messages are no longer received.
    pub fn leave(&self, ipc: &mut Ipc, text: &str) {
        for (action, key) in &self.bound {
            // The words at the end mark the keys for a later scenetap process.
            let said = format!("show-text \"{text}\"; ignore {NAME} {}", word(*action));
            if let Err(error) = ipc.command(json!(["keybind", key, said])) {
                tracing::debug!("{error}");
                return;
            }
        }
    }
}

/// Returns the action of a message.
pub fn action(message: &[String]) -> Option<Action> {
    let [name, said] = message else { return None };
    let action = ACTIONS.iter().find(|(_, word, _, _)| word == said);
    action.filter(|_| name == NAME).map(|(action, ..)| *action)
}

fn word(action: Action) -> &'static str {
    ACTIONS.iter().find(|(known, ..)| *known == action).map_or("", |(_, word, ..)| word)
}

fn command(action: Action) -> String {
    format!("script-message {NAME} {}", word(action))
}

/// Returns a key for each action, and whether it is already bound to the action. `bindings` is mpv's
/// `input-bindings`.
fn chosen(bindings: &[Value]) -> Vec<(Action, String, bool)> {
    let text = |binding: &Value, name: &str| binding[name].as_str().unwrap_or_default().to_owned();
    let bound: Vec<(String, String)> =
        bindings.iter().map(|binding| (text(binding, "key"), text(binding, "cmd"))).collect();
    let mut chosen = Vec::new();
    for (action, _, candidates, _) in ACTIONS {
        let own = bound.iter().find(|(_, bound)| *bound == command(action));
        if let Some((key, _)) = own {
            chosen.push((action, key.clone(), true));
            continue;
        }
        let is_free =
            |key: &&&str| !bound.iter().any(|(taken, cmd)| taken == **key && !is_left(cmd));
        if let Some(key) = candidates.iter().find(is_free) {
            chosen.push((action, (*key).to_owned(), false));
        }
    }
    chosen
}

/// Returns whether a key's command was set by [`Keys::leave`].
fn is_left(command: &str) -> bool {
    command.contains(&format!("; ignore {NAME} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(key: &str, command: &str) -> Value {
        json!({ "key": key, "cmd": command, "is_weak": false })
    }

    #[test]
    fn only_free_keys_are_bound_and_those_that_a_user_has_bound_are_kept() {
        let bindings = [
            binding("n", "playlist-next"),
            binding("Ctrl+s", "script-message scenetap still"),
            binding("?", "script-binding stats/display-page-4-toggle"),
            binding("END", "show-text \"x\"; ignore scenetap live"),
        ];
        let found = chosen(&bindings);
        let expected = [
            (Action::NextScene, "c", false),
            (Action::PreviousScene, "N", false),
            (Action::Live, "END", false),
            (Action::Still, "Ctrl+s", true),
            (Action::Help, "F1", false),
        ];
        let expected = expected.map(|(action, key, is_bound)| (action, key.to_owned(), is_bound));
        assert_eq!(found, expected);
        let keys =
            Keys { bound: found.into_iter().map(|(action, key, _)| (action, key)).collect() };
        assert!(keys.help().starts_with("c  next scene\nN  previous scene\n"), "{}", keys.help());
    }

    #[test]
    fn an_action_without_a_free_key_has_none() {
        let bindings = ["n", "c", "y"].map(|key| binding(key, "x"));
        let found = chosen(&bindings);
        assert!(found.iter().all(|(action, ..)| *action != Action::NextScene), "{found:?}");
    }

    #[test]
    fn a_message_is_an_action_if_it_is_for_us() {
        let words =
            |words: &[&str]| -> Vec<String> { words.iter().map(ToString::to_string).collect() };
        assert_eq!(action(&words(&["scenetap", "still"])), Some(Action::Still));
        for other in [&["scenetap"][..], &["scenetap", "quit"], &["other", "still"], &[]] {
            assert_eq!(action(&words(other)), None, "{other:?}");
        }
    }
}
