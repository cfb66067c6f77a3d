//! What `--help` says beyond the options themselves.

use clap::{Arg, Command};

use crate::config::{ALL, CONFIG_VARIABLE};

pub(super) const SUMMARY: &str =
    "Records an MPEG-TS stream over TCP and keeps the frames where the picture changes";

pub(super) const ABOUT: &str = "\
Records an MPEG-TS stream over TCP and keeps the frames where the picture changes.

The stream is written unchanged to a growing file that mpv can play and scrub. At \
the same time each picture is scored as ffmpeg's select filter scores it, and those \
that begin a new scene become JPEGs, listed in index.json while the stream still \
arrives: a few images for an AI agent to look at, instead of the whole video.";

pub(super) const AFTER_SHORT: &str =
    "--help says more. scenetap COMMAND --help lists a command's options.";

pub(super) const AFTER_LONG: &str = "\
Where options come from:
  Each option is the flag --some-name, the variable SCENETAP_SOME_NAME, or the line
  some-name = VALUE in the --config file. The flag counts most, then the variable,
  then the old system's variables (STREAM_HOST, STREAM_PORT, SCENE_THRESHOLD,
  MAX_FRAME_INTERVAL, SESSIONS_DIR), then the file, then the default. In variables,
  switches are yes or no (true or false, 1 or 0); an empty variable is not set.

Examples:
  Record what comes, and play a file into it from another terminal:
    scenetap record --listen 127.0.0.1:4444 --play
    scenetap send show.ts --to 127.0.0.1:4444

  Send from elsewhere, as with ffmpeg:
    ffmpeg -re -i show.mp4 -c copy -f mpegts tcp://127.0.0.1:4444

  Find the scenes of a finished recording, one line of JSON each:
    scenetap scan show.ts --json --frames-dir frames

  Watch a session while it is recorded, or from its 90th second:
    scenetap play 20240601_201500
    scenetap play 20240601_201500 --at 90

  Ask the recorders that run how they are, and whether a session's files are whole:
    scenetap status
    scenetap check 20240601_201500

Exit status:
  0    done; also after Ctrl-C or SIGTERM, with everything written
  1    it failed, and one line says why
  2    the command line, a variable or the configuration file is wrong
  130  a second Ctrl-C, before everything was written

stdout carries data and nothing else. Logs and progress go to stderr; colours are left
out if NO_COLOR is set.";

pub(super) const RECORD_EXAMPLES: &str = "\
Examples:
  scenetap record
  scenetap record --listen 0.0.0.0:4444 --sessions-dir /srv/sessions --play
  scenetap record --once --json | while read -r frame; do echo \"$frame\"; done

  Over TLS, from senders who have a certificate of ours, such as ffmpeg:
    scenetap record --listen 0.0.0.0:4444 --tls-cert host.pem --tls-key host.key \\
        --tls-client-ca senders.pem
    ffmpeg -re -i show.mp4 -c copy -f mpegts -cert_file me.pem -key_file me.key \\
        tls://host:4444";

pub(super) const SCAN_EXAMPLES: &str = "\
Examples:
  scenetap scan show.ts --json
  scenetap scan show.ts --frames-dir frames --frame-width 1024
  scenetap scan show.ts --scores scores.csv --jobs 4
  scenetap scan show.ts --list";

pub(super) const SEND_EXAMPLES: &str = "\
Examples:
  scenetap send show.ts --to 127.0.0.1:4444
  scenetap send show.ts --to 127.0.0.1:4444 --speed max
  scenetap send show.ts --to [::1]:4444 --loop";

pub(super) const PLAY_EXAMPLES: &str = "\
Examples:
  scenetap play 20240601_201500
  scenetap play sessions/20240601_201500 --at 90
  scenetap play show.ts --live=no";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  scenetap status
  scenetap status 20240601_201500
  scenetap status --json | jq .lag_seconds
  sudo scenetap status";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  scenetap check 20240601_201500
  scenetap check 20240601_201500 --repair
  for session in sessions/*; do scenetap check \"$session\"; done";

/// Adds each option's variable and default to its help, from the table of keys, so
/// that the help cannot say anything else than what is done.
pub(super) fn annotate(command: Command) -> Command {
    command
        .mut_args(annotate_argument)
        .mut_subcommands(|subcommand| subcommand.mut_args(annotate_argument))
}

fn annotate_argument(argument: Arg) -> Arg {
    let Some(name) = argument.get_long() else { return argument };
    let (variable, default) = match ALL.iter().find(|key| key.name() == name) {
        Some(key) => (key.variable(), key.default()),
        None if name == "config" => (CONFIG_VARIABLE.to_owned(), None),
        None => return argument,
    };
    // A switch that is off unless asked for need not say so.
    let default = default.filter(|&default| !matches!(default, "no" | "0"));
    let default = default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
    let short = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let long = argument.get_long_help().map(ToString::to_string).unwrap_or_else(|| short.clone());
    argument
        .help(format!("{short}{default}"))
        .long_help(format!("{long}\n\n[env: {variable}]{default}"))
}
