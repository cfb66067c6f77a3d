//! `scenetap generate`: writes manual pages and shell completions.

use std::path::PathBuf;

use super::output::JsonLines;
use super::{CommandContext, ExitStatus, complete, man_pages};
use crate::error::{Error, Kind, Result, Stage};

/// Write the manual pages, or the completions of a shell
///
/// The packages contain both. Completion runs scenetap, so it also completes session names.
#[derive(Debug, Default, clap::Args)]
#[group(id = "what", required = true, multiple = false)]
#[command(after_help = super::help::GENERATE_EXAMPLES)]
pub struct GenerateArgs {
    /// Write the manual pages to this folder, below man1 and man5
    #[arg(long, value_name = "DIR")]
    man: Option<PathBuf>,

    /// Print the completions for this shell
    #[arg(long, value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    completion: Option<String>,
}

/// Writes the manual pages or a completion script.
///
/// # Errors
///
/// Returns an error if a file or stdout cannot be written.
pub fn run(args: &GenerateArgs, context: &CommandContext<'_>) -> Result<ExitStatus> {
    if let Some(folder) = &args.man {
        let count = man_pages::write_to(folder).map_err(|cause| {
            Error::new(Stage::Config, "cannot write the manual pages")
                .of_kind(Kind::Other)
                .path(folder)
                .because(cause)
        })?;
        tracing::info!("{count} pages are written to {}", folder.display());
    }
    if let Some(shell) = &args.completion {
        let script = complete::script(shell).map_err(|cause| {
            Error::new(Stage::Config, format!("no completions for {shell}")).because(cause)
        })?;
        let mut output = JsonLines::stdout(&context.terminal);
        output.write_line(script.trim_end());
        output.finish()?;
    }
    Ok(ExitStatus::Done)
}
