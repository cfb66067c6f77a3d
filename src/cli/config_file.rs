//! `scenetap config`: writes an example of the configuration file, or checks a file.

use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::option_list::listed_options;
use super::output::JsonLines;
use super::record::RecordArgs;
use super::{Cli, CommandContext, ExitStatus};
use crate::config::{File, Layers};
use crate::error::{Error, Result, Stage};

/// Print an example of the configuration file, or check a file
///
/// Options can be given in a TOML file, one per line. Without --config, scenetap reads the first of
/// these files that exists: $XDG_CONFIG_HOME/scenetap/config.toml, ~/.config/scenetap/config.toml,
/// /etc/scenetap/config.toml.
#[derive(Debug, Default, clap::Args)]
#[group(id = "action", required = true, multiple = false)]
#[command(after_help = super::help::CONFIG_EXAMPLES)]
pub struct ConfigArgs {
    /// Print a file with every option, its help and its default, each line commented out
    #[arg(long)]
    print_default: bool,

    /// Check a file: unknown keys, invalid values, options that exclude each other
    ///
    /// Prints one line. Exits with 0 if the file is valid, with 2 otherwise.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// Prints the example or checks a file.
///
/// # Errors
///
/// Returns an error if the file is invalid or cannot be read, or stdout cannot be written.
pub fn run(args: &ConfigArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    let text = match &args.check {
        Some(path) => check(path)?,
        None => default_file(),
    };
    let mut output = JsonLines::stdout(&context.terminal);
    output.write_line(text.trim_end());
    output.finish()?;
    Ok(ExitStatus::Done)
}

/// Checks the file alone, without flags and variables.
fn check(path: &Path) -> Result<String> {
    let file = File::read(path)?;
    let count = file.len();
    let layers = Layers::new(&|_| None, Some(file));
    // Only options of the recorder exclude each other.
    RecordArgs::default().resolve(&layers).map_err(|error| {
        let error = error.to_string();
        let reason = error.strip_prefix("config: ").unwrap_or(&error);
        let what = format!("scenetap record does not start with it: {reason}");
        Error::new(Stage::Config, what).path(path)
    })?;
    let options = if count == 1 { "1 option" } else { &format!("{count} options") };
    Ok(format!("{}: ok: {options}", path.display()))
}

/// Returns an example of the file in which each option has its default.
pub(super) fn default_file() -> String {
    let mut text = "\
# Options of scenetap, in TOML: one per line, without the dashes of the flag. All commands
# share the list; each option is listed with the first command that has it.
#
# A flag overrides this file, and so does a variable: SCENETAP_SCENE_THRESHOLD=0.4. The
# lines below show the defaults; words in capitals stand for a value, text in quotes.
# To check the file: scenetap config --check FILE
"
    .to_owned();
    for (command, options) in listed_options(&Cli::command()) {
        text.push_str(&format!("\n## {command}\n"));
        for option in options {
            text.push_str(&format!("\n# {}\n#{}\n", option.help, option.line()));
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::ALL;

    #[test]
    fn the_example_lists_every_option_once_and_changes_nothing() {
        let text = default_file();
        assert_eq!(File::parse(Path::new("example"), &text).unwrap().len(), 0);
        for key in ALL {
            let start = format!("#{} = ", key.name());
            let lines = text.lines().filter(|line| line.starts_with(&start)).count();
            assert_eq!(lines, 1, "{}", key.name());
        }
    }

    #[test]
    fn the_defaults_of_the_example_are_valid_lines() {
        let text = default_file();
        let with_default = ALL.iter().filter(|key| key.default().is_some());
        let names: Vec<String> = with_default.map(|key| format!("#{} = ", key.name())).collect();
        let lines = { text.lines() }
            .filter(|line| names.iter().any(|name| line.starts_with(name)))
            .map(|line| &line[1..]);
        let file = lines.collect::<Vec<_>>().join("\n");
        assert_eq!(File::parse(Path::new("example"), &file).unwrap().len(), names.len());
    }
}
