//! The command line: one file per command, with its arguments and its `run`.
//!
//! `Args` contain only what was typed. `Args::resolve` combines them with the lower
//! [layers](crate::config::Layers) and returns a validated configuration; `run` does the work. Only
//! this module writes to stdout and stderr.
//!
//! ```text
//! record scan play frames still clip status sessions check send
//!                  commands
//! config_file version generate
//!                  commands: `config`, `version`, `generate`
//! global           options of every command
//! pictures tls retention on_frame
//!                  groups of options of `record`
//! target           a session or a file, for `play`, `still` and `clip`
//! file_output      `--output`: a file or stdout
//! list             `scan --list`
//! output           lines on stdout
//! frame_lines      `record --json`, which never waits for its reader
//! frame_table      a frame as a row
//! status_text      a status as text
//! status_line progress rate
//!                  live lines, progress bars and rates on stderr
//! screen terminal  the thread that writes to stderr; log lines above live lines
//! help option_list man_pages complete
//!                  help, example file, manual pages, completion
//! exit_status      exit statuses
//! ```

mod check;
mod clip;
mod complete;
mod config_file;
mod exit_status;
mod file_output;
mod frame_lines;
mod frame_table;
mod frames;
mod generate;
mod global;
mod help;
mod list;
mod man_pages;
mod on_frame;
mod option_list;
mod output;
mod pictures;
mod play;
mod progress;
mod rate;
mod record;
mod retention;
mod scan;
mod screen;
mod send;
mod sessions;
mod status;
mod status_line;
mod status_text;
mod still;
mod target;
mod terminal;
mod tls;
mod version;

use std::cell::Cell;
use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Environment, File, Layers, SYSTEM_CONFIG, config_path};
use crate::error::{Error, Result};
use crate::host::shutdown::Shutdown;
use crate::telemetry::{self, Troubles};

pub use exit_status::ExitStatus;
pub use output::{JsonLines, WriteOutcome};
use terminal::Terminal;

/// The command line, as typed.
#[derive(Debug, Parser)]
#[command(name = "scenetap", version, about = help::SUMMARY, long_about = help::ABOUT)]
#[command(after_help = help::AFTER_SHORT, after_long_help = help::AFTER_LONG)]
#[command(subcommand_value_name = "COMMAND", disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: global::GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Record(Box<record::RecordArgs>),
    Scan(scan::ScanArgs),
    Send(send::SendArgs),
    Play(play::PlayArgs),
    Frames(frames::FramesArgs),
    Still(still::StillArgs),
    Clip(clip::ClipArgs),
    Status(status::StatusArgs),
    Sessions(sessions::SessionsArgs),
    Check(check::CheckArgs),
    Config(config_file::ConfigArgs),
    Version(version::VersionArgs),
    Generate(generate::GenerateArgs),
}

impl Command {
    /// Returns whether the command reads options from the configuration file. The other commands
    /// must work with an invalid file.
    fn reads_config_file(&self) -> bool {
        !matches!(self, Command::Config(_) | Command::Version(_) | Command::Generate(_))
    }
}

/// Input of a command besides its arguments.
#[derive(Debug)]
pub struct CommandContext<'a> {
    /// The environment and the configuration file.
    pub layers: Layers<'a>,
    /// Notifies the command of SIGINT and SIGTERM.
    pub shutdown: Shutdown,
    /// stderr, with live lines if it is a terminal.
    pub terminal: Terminal,
    /// The last logged error and warning.
    pub troubles: Troubles,
    /// Time to wait at the end until stderr has accepted the log.
    pub stderr_timeout: Cell<Duration>,
}

/// Runs the program: parses the command line, runs the command and reports its error.
/// `arguments` begin with the program's name.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
) -> ExitStatus {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match complete::answer(&arguments) {
        Ok(true) => return ExitStatus::Done,
        Ok(false) => {}
        Err(error) => {
            let _ = error.print();
            return ExitStatus::Usage;
        }
    }
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout. Its reader may have closed it, which is not a failure.
            let _ = error.print();
            return if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Done };
        }
    };
    run(cli, environment).unwrap_or_else(|error| {
        // Before a command runs, no other thread writes to stderr. If stderr is closed, the error
        // cannot be reported at all.
        let _ = std::io::stderr().write_all(error_line(&error).as_bytes());
        ExitStatus::from(&error)
    })
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = help::annotate(Cli::command());
    let matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn run(cli: Cli, environment: Environment<'_>) -> Result<ExitStatus> {
    let config_path = config_path(cli.global.config.clone(), environment, SYSTEM_CONFIG.as_ref())
        .filter(|_| cli.command.reads_config_file());
    let file = config_path.as_deref().map(File::read).transpose()?;
    let layers = Layers::new(environment, file);

    let log = cli.global.resolve(&layers)?;
    let terminal = if log.progress { Terminal::stderr() } else { Terminal::without_live_lines() };
    let troubles = telemetry::init(&log, terminal.clone(), environment)?;
    if let Some(path) = &config_path {
        tracing::debug!("options are read from {}", path.display());
    }
    let shutdown = Shutdown::new();
    shutdown.install_signal_handlers()?;

    let stderr_timeout = Cell::new(STDERR_TIMEOUT);
    let context = CommandContext { layers, shutdown, terminal, troubles, stderr_timeout };
    let result = match cli.command {
        Command::Record(args) => record::run(*args, &context),
        Command::Scan(args) => scan::run(args, &context),
        Command::Send(args) => send::run(args, &context),
        Command::Play(args) => play::run(args, &context),
        Command::Frames(args) => frames::run(args, &context),
        Command::Still(args) => still::run(args, &context),
        Command::Clip(args) => clip::run(args, &context),
        Command::Status(args) => status::run(args, &context),
        Command::Sessions(args) => sessions::run(args, &context),
        Command::Check(args) => check::run(args, &context),
        Command::Config(args) => config_file::run(&args, &context),
        Command::Version(args) => version::run(&args, &context),
        Command::Generate(args) => generate::run(&args, &context),
    };
    // Do not write directly: that would block forever if nothing reads stderr.
    let status = result.unwrap_or_else(|error| {
        context.terminal.drain(context.stderr_timeout.get());
        context.terminal.print_error(&error_line(&error));
        ExitStatus::from(&error)
    });
    context.terminal.drain(context.stderr_timeout.get());
    Ok(status)
}

/// A time limit, or `None` for no limit. An alias, because clap reads `Option<Option<T>>` as an option whose
/// value may be omitted.
type Timeout = Option<Duration>;

/// Time to wait at the end until stderr has accepted the log, unless the command has an option for it.
const STDERR_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the error as one line, with its line feed. The line is printed regardless of the log
/// filter.
fn error_line(error: &Error) -> String {
    format!("scenetap: {}\n", error.to_string().replace(['\r', '\n'], " "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::ALL;

    /// Parses a command line in the same way as the program.
    pub(super) fn typed(line: &[&str]) -> Result<Cli, clap::Error> {
        parse(std::iter::once("scenetap").chain(line.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_command_line_is_sound() {
        help::annotate(Cli::command()).debug_assert();
    }

    #[test]
    fn every_key_has_a_flag_and_every_flag_a_key() {
        let cli = Cli::command();
        let mut commands = vec![&cli];
        let mut next = 0;
        while let Some(command) = commands.get(next).copied() {
            commands.extend(command.get_subcommands());
            next += 1;
        }
        let flags: Vec<&str> = commands
            .iter()
            .flat_map(|command| command.get_arguments().map(move |argument| (*command, argument)))
            .filter_map(|(command, argument)| Some((command.get_name(), argument.get_long()?)))
            .filter(|(command, flag)| *flag != "config" && !help::is_order(command, flag))
            .map(|(_, flag)| flag)
            .collect();
        for flag in &flags {
            assert!(ALL.iter().any(|key| key.name() == *flag), "--{flag} has no key");
        }
        for key in ALL {
            assert!(flags.contains(&key.name()), "{} has no flag", key.name());
        }
    }

    #[test]
    fn every_flag_takes_what_its_key_takes() {
        let samples = |name: &str| match name {
            "allow" => "192.0.2.0/24",
            "program" | "at" | "jobs" | "since" | "limit" | "lease" => "1",
            "frame-width" | "width" => "640",
            "to" => "127.0.0.1:4444",
            "log" => "info",
            "on-frame" => "true",
            _ => "a",
        };
        for (command, operands) in [
            ("record", &[][..]),
            ("scan", &["a.ts"]),
            ("send", &["a.ts", "--to=127.0.0.1:4444"]),
            ("play", &["a.ts"]),
            ("frames", &["a"]),
            ("still", &["a", "-o", "a.jpg"]),
            ("clip", &["a", "-o", "a.ts"]),
            ("version", &[]),
        ] {
            let cli = Cli::command();
            let arguments = cli.find_subcommand(command).unwrap().get_arguments();
            let names = arguments.filter_map(|argument| argument.get_long());
            for name in names.filter(|name| !help::is_order(command, name)) {
                let key = ALL.iter().find(|key| key.name() == name).unwrap();
                let flag = format!("--{name}={}", key.default().unwrap_or(samples(name)));
                let line: Vec<&str> =
                    [command, &flag].into_iter().chain(operands.to_vec()).collect();
                // clap panics if its type of the value differs from the parser's.
                if let Err(error) = typed(&line) {
                    assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict, "{error}");
                }
            }
        }
        assert!(typed(&["record", "--idle-timeout"]).is_err(), "it wants a value");
    }

    #[test]
    fn a_wrong_value_is_refused_by_the_parser_that_reads_variables_and_files() {
        let error = typed(&["record", "--scene-threshold", "-0.5"]).unwrap_err().to_string();
        assert!(error.contains("'-0.5' for '--scene-threshold <SCORE>'"), "{error}");
        assert!(error.contains("must be a number from 0 to 1"), "{error}");
    }

    #[test]
    fn a_switch_does_not_eat_the_word_after_it() {
        let Command::Scan(args) = typed(&["scan", "--json", "a.ts"]).unwrap().command else {
            unreachable!()
        };
        let environment = |_: &str| None;
        let config = args.resolve(&Layers::new(&environment, None)).unwrap();
        assert!(config.json);
        assert_eq!(config.scan.file.to_str(), Some("a.ts"));
    }
}
