//! The options that a configuration file may contain, with their help.

use clap::{Arg, Command};

use crate::config::{ALL, AnyKey, ValueKind};

/// The heading of options that every command accepts.
const ALL_COMMANDS: &str = "all commands";

/// An option of the configuration file.
pub(super) struct ListedOption {
    /// Name, default and type of the value.
    pub key: &'static dyn AnyKey,
    /// Placeholder of the value in the help, such as `DIR`.
    pub placeholder: String,
    /// First line of the help.
    pub help: String,
    /// The whole help.
    pub long_help: String,
}

impl ListedOption {
    fn new(key: &'static dyn AnyKey, argument: &Arg) -> Self {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let long_help = argument.get_long_help().map(ToString::to_string);
        let placeholder = argument.get_value_names().and_then(|names| names.first());
        ListedOption {
            key,
            placeholder: placeholder.map_or_else(|| "NUMBER".to_owned(), ToString::to_string),
            long_help: long_help.unwrap_or_else(|| help.clone()),
            help,
        }
    }

    /// Returns the option's line in a file, with its default, or else with the placeholder.
    pub fn line(&self) -> String {
        let value = self.key.default().map_or_else(
            || self.placeholder.clone(),
            |default| match self.key.kind() {
                ValueKind::Switch => (default == "yes").to_string(),
                ValueKind::Number | ValueKind::Whole => default.to_owned(),
                ValueKind::NumberOrText if default.parse::<f64>().is_ok() => default.to_owned(),
                ValueKind::NumberOrText | ValueKind::Text | ValueKind::Words | ValueKind::List => {
                    format!("\"{default}\"")
                }
            },
        );
        format!("{} = {value}", self.key.name())
    }
}

/// Returns the options by the first command that has them, in the order of its help. `program` is
/// the command line, without the additions of [`help::annotate`](super::help::annotate).
pub(super) fn listed_options(program: &Command) -> Vec<(String, Vec<ListedOption>)> {
    let mut commands = vec![(ALL_COMMANDS.to_owned(), program)];
    for command in program.get_subcommands() {
        commands.push((command.get_name().to_owned(), command));
        for below in command.get_subcommands() {
            commands.push((format!("{} {}", command.get_name(), below.get_name()), below));
        }
    }
    let mut unlisted: Vec<&'static dyn AnyKey> = ALL.to_vec();
    let mut lists = Vec::new();
    for (heading, command) in commands {
        let mut options = Vec::new();
        for argument in command.get_arguments() {
            let is_order = argument
                .get_long()
                .is_none_or(|flag| super::help::is_order(command.get_name(), flag));
            let key = unlisted
                .iter()
                .position(|key| Some(key.name()) == argument.get_long() && !is_order);
            if let Some(at) = key {
                options.push(ListedOption::new(unlisted.remove(at), argument));
            }
        }
        if !options.is_empty() {
            lists.push((heading, options));
        }
    }
    // The options of all commands come last, as in the help.
    lists.rotate_left(1);
    lists
}
