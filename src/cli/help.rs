//! Text of `--help` besides the options.

use clap::{Arg, Command};

use crate::config::{ALL, CONFIG_VARIABLE};

pub(super) const SUMMARY: &str =
    "Record an MPEG-TS stream over TCP and keep a frame of each new scene";

pub(super) const ABOUT: &str = "\
Record an MPEG-TS stream over TCP and keep a frame of each new scene.

The stream is written unchanged to a growing file that mpv can play and scrub. Each \
picture is scored as ffmpeg's select filter scores it. Pictures that begin a new scene \
are written as JPEGs and listed in index.json while the stream still arrives, so that \
an AI agent can look at a few frames instead of the whole video.";

pub(super) const AFTER_SHORT: &str =
    "Use --help for more, or scenetap COMMAND --help for the options of a command.";

pub(super) const AFTER_LONG: &str = "\
Where options come from:
  Each option can be given as the flag --some-name, as the environment variable
  SCENETAP_SOME_NAME, or as the line some-name = VALUE in the configuration file.
  Flags only: --ack, --release and --renew of frames, --frame of play and still,
  --next-scene and --prev-scene of play, --from and --to of clip, --output of still
  and clip. A flag overrides a variable, a variable overrides the file, and the file
  overrides the default. Five older variables (STREAM_HOST, STREAM_PORT,
  SCENE_THRESHOLD, MAX_FRAME_INTERVAL, SESSIONS_DIR) rank between SCENETAP_ variables
  and the file. In variables, switches are yes or no (true or false, 1 or 0). An empty
  variable counts as unset.

Configuration file:
  The file of --config, otherwise the file of SCENETAP_CONFIG (empty: no file),
  otherwise the first of these that exists: $XDG_CONFIG_HOME/scenetap/config.toml (by
  default ~/.config/scenetap/config.toml), /etc/scenetap/config.toml.
  scenetap config --print-default prints an example.

Examples:
  Record, and send a file from another terminal:
    scenetap record --listen 127.0.0.1:4444 --play
    scenetap send show.ts --to 127.0.0.1:4444

  Send with another program, such as ffmpeg:
    ffmpeg -re -i show.mp4 -c copy -f mpegts tcp://127.0.0.1:4444

  Find the scenes of a finished recording, one line of JSON per frame:
    scenetap scan show.ts --json --frames-dir frames

  Watch a session at the live edge, or from second 90:
    scenetap play 20240601_201500
    scenetap play 20240601_201500 --at 90

  Lease the new frames of a session to an agent, and acknowledge one:
    scenetap frames 20240601_201500 --lease 60
    scenetap frames 20240601_201500 --ack F0007

  Look at any moment, five seconds ago for example:
    scenetap still 20240601_201500 --at -5 -o moment.jpg

  Copy a part of a recording, without encoding it again:
    scenetap clip 20240601_201500 --from 1:30 --to 2:00 -o part.ts

  Show the state of running recorders; list the sessions; check the files of one:
    scenetap status
    scenetap sessions
    scenetap check 20240601_201500

Exit status:
  0    success; also after Ctrl-C or SIGTERM, once everything is written
  1    failure; one line on stderr gives the reason
  2    invalid command line, environment variable or configuration file
  130  second Ctrl-C before everything was written

stdout carries only data. Logs and progress go to stderr. Set NO_COLOR to disable
colors.";

pub(super) const RECORD_EXAMPLES: &str = "\
Examples:
  scenetap record
  scenetap record --listen 0.0.0.0:4444 --sessions-dir /srv/sessions --play
  scenetap record --once --json | while read -r frame; do echo \"$frame\"; done

  Hourly sessions cam, cam_2 and so on; recordings are kept for a week:
    scenetap record --session cam --rotate-every 1h --keep-for 7d

  Over TLS, from senders with a certificate from an authority in senders.pem:
    scenetap record --listen 0.0.0.0:4444 --tls-cert host.pem --tls-key host.key \\
        --tls-client-ca senders.pem
    ffmpeg -re -i show.mp4 -c copy -f mpegts -cert_file me.pem -key_file me.key \\
        tls://host:4444";

pub(super) const SCAN_EXAMPLES: &str = "\
Examples:
  scenetap scan show.ts
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
  scenetap play sessions/20240601_201500 --at 1:30
  scenetap play 20240601_201500 --frame F0042
  scenetap play show.ts --live=no

  Move the player that is open:
    scenetap play 20240601_201500 --at -30
    scenetap play 20240601_201500 --next-scene";

pub(super) const STILL_EXAMPLES: &str = "\
Examples:
  scenetap still 20240601_201500 --at 1:02:03.5 -o moment.jpg
  scenetap still 20240601_201500 --at -5 --width 1024 -o - | display
  scenetap still 20240601_201500 --frame F0042 -o F0042.png
  scenetap still show.ts --at 90 -o moment.png --json";

pub(super) const CLIP_EXAMPLES: &str = "\
Examples:
  scenetap clip 20240601_201500 --from 1:02:00 --to 1:03:30 -o goal.ts
  scenetap clip 20240601_201500 --from -60 -o last-minute.ts --json
  scenetap clip show.ts --from 90 --to 120 -o - | mpv -";

pub(super) const FRAMES_EXAMPLES: &str = "\
Examples:
  scenetap frames 20240601_201500
  scenetap frames 20240601_201500 --unsent --json | jq -r .path
  scenetap frames 20240601_201500 --since F0042

  Lease at most five frames for a minute, and acknowledge two of them:
    scenetap frames 20240601_201500 --lease 60 --limit 5 --holder agent-1 --json
    scenetap frames 20240601_201500 --ack F0001 F0002 --holder agent-1";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  scenetap status
  scenetap status 20240601_201500
  scenetap status --json | jq .lag_seconds
  sudo scenetap status";

pub(super) const SESSIONS_EXAMPLES: &str = "\
Examples:
  scenetap sessions
  scenetap sessions --json | jq -r 'select(.live).session'
  scenetap sessions prune --older-than 30d --dry-run

  Protect a session from being deleted:
    touch sessions/20240601_201500/keep";

pub(super) const PRUNE_EXAMPLES: &str = "\
Examples:
  scenetap sessions prune --older-than 30d --dry-run
  scenetap sessions prune --older-than 7d --recordings-only
  scenetap sessions prune --keep 10";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  scenetap check 20240601_201500
  scenetap check 20240601_201500 --repair
  for session in sessions/*; do scenetap check \"$session\"; done";

pub(super) const CONFIG_EXAMPLES: &str = "\
Examples:
  scenetap config --print-default > scenetap.toml
  scenetap config --check /etc/scenetap/config.toml";

pub(super) const VERSION_EXAMPLES: &str = "\
Examples:
  scenetap version
  scenetap version --json | jq -r .ffmpeg.version";

pub(super) const GENERATE_EXAMPLES: &str = "\
Examples:
  scenetap generate --man ~/.local/share/man
  source <(scenetap generate --completion bash)";

/// Flags that select an action, by command: variables and the file cannot set them.
const ORDERS: [(&str, &[&str]); 6] = [
    ("play", &["frame", "next-scene", "prev-scene"]),
    ("frames", &["ack", "release", "renew"]),
    ("still", &["frame", "output"]),
    ("clip", &["from", "to", "output"]),
    ("config", &["print-default", "check"]),
    ("generate", &["man", "completion"]),
];

/// Returns whether variables and the file cannot set the flag of a command.
pub(super) fn is_order(command: &str, flag: &str) -> bool {
    ORDERS.iter().any(|(name, flags)| *name == command && flags.contains(&flag))
}

/// Adds the environment variable and the default of each option to its help. Both come
/// from the table of keys, so that the help always matches the program.
pub(super) fn annotate(command: Command) -> Command {
    let name = command.get_name().to_owned();
    command.mut_args(|argument| annotate_argument(&name, argument)).mut_subcommands(annotate)
}

fn annotate_argument(command: &str, argument: Arg) -> Arg {
    let Some(name) = argument.get_long().filter(|name| !is_order(command, name)) else {
        return argument;
    };
    let (variable, default) = match ALL.iter().find(|key| key.name() == name) {
        Some(key) => (key.variable(), key.default()),
        None if name == "config" => (CONFIG_VARIABLE.to_owned(), None),
        None => return argument,
    };
    // Do not show the default of a switch that is off.
    let default = default.filter(|&default| !matches!(default, "no" | "0"));
    let default = default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
    let short = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let long = argument.get_long_help().map(ToString::to_string).unwrap_or_else(|| short.clone());
    argument
        .help(format!("{short}{default}"))
        .long_help(format!("{long}\n\n[env: {variable}]{default}"))
}
