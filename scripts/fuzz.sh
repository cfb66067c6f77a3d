#!/bin/bash
# Fuzzes the parsers, one after the other: scripts/fuzz.sh [SECONDS [TARGET...]]. Fails at the first
# finding. Useful inputs are stored in fuzz/corpus, from which the next run starts.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
[ $# -eq 0 ] || shift
# TARGET:BYTES, with the maximum length of an input.
targets=(packets:1520 psi:4200 pes:1520 demuxer:3960 checkpoint:4096 index:8192 config:4096
    timeline:2400)

install_what_is_missing() {
    if ! command -v c++ >/dev/null; then
        echo "fuzz: libFuzzer needs a C++ compiler: install g++ or clang" >&2
        exit 1
    fi
    cargo +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
    cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
}

seed() { # TARGET NAME: stores stdin as a seed
    mkdir -p "fuzz/corpus/$1"
    cat >"fuzz/corpus/$1/seed-$2"
}

packets() { # FILE FIRST COUNT
    dd if="$1" bs=188 skip="$2" count="$3" status=none
}

seeds_from_clips() {
    local clip name packet start
    for clip in fixtures/*.ts; do
        name=$(basename "$clip" .ts)
        packets "$clip" 0 8 | seed packets "$name"
        packets "$clip" 0 21 | seed demuxer "$name"
        # The middle of a stream has no tables: the codec must be guessed.
        packets "$clip" 3 21 | seed demuxer "$name-bare"
        # The first packets are SDT, PAT and PMT, each with its pointer field.
        for packet in 0 1 2; do
            packets "$clip" "$packet" 1 | dd bs=1 skip=4 status=none | seed psi "$name-$packet"
        done
        start=$(LC_ALL=C grep -obUaP '\x00\x00\x01\xe0' "$clip" | LC_ALL=C sed -n '1s/:.*//p')
        dd if="$clip" bs=1 skip="$start" count=600 status=none | seed pes "$name"
    done
}

seeds_from_a_session() {
    local work
    work=$(mktemp -d)
    echo "fuzz: recording a session for its checkpoint and its index"
    SESSIONS_DIR=$work bash scripts/demo.sh fixtures/bbb_h264_resolution_change.ts >"$work/log" 2>&1 \
        || { cat "$work/log" >&2; rm -rf "$work"; exit 1; }
    # Without version and checksum, as the target reads it.
    sed -n '/^  "state": {$/,$p' "$work"/*/stream/checkpoint.json | sed '1s/.*/{/; $d' |
        seed checkpoint session
    # The previous content and the content that another program has written since, separated by a NUL.
    local index
    index=$(echo "$work"/*/frames/index.json)
    seed index session <"$index"
    { cat "$index"; printf '\0'; sed 's/false/true, "note": 1/' "$index"; } | seed index acknowledged
    { cat "$index"; printf '\0[{"id": "F0009", "timestamp": 9.5}, {"id": "n1"}, 7]'; } | seed index foreign
    rm -rf "$work"
}

seed_of_every_option() {
    seed config options <<'END'
# Every option.
listen = "127.0.0.1:4444"
once = true
sessions-dir = './sessions'
session = "one"
sync-interval = 1
play = false
scene-threshold = 0.3
max-frame-interval = 3e1
program = 1
jpeg-quality = 90
frame_width = 640
json = true
frames-dir = "frames"
scores = "scores.csv"
jobs = 2
to = "[::1]:4444"
speed = "max"
loop = false
live = false
at = 1.5
verbose = 1
quiet = false
log = "scenetap=debug,info"
log-format = "json"
END
}

run() { # TARGET BYTES
    local log=fuzz/target/$1.log
    echo "fuzz: $1, $seconds s"
    if ! cargo +nightly fuzz run --sanitizer none "$1" -- -max_total_time="$seconds" \
        -max_len="$2" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        echo "fuzz: $1 has a finding; see $log" >&2
        exit 1
    fi
    grep -E 'DONE|number_of_executed_units|peak_rss_mb' "$log" | sed 's/^/    /'
}

install_what_is_missing
seeds_from_clips
seeds_from_a_session
seed_of_every_option
# An address sanitizer finds nothing in safe Rust, and halves the speed.
cargo +nightly fuzz build --sanitizer none
for target in "${targets[@]}"; do
    if [ $# -eq 0 ] || [[ " $* " == *" ${target%:*} "* ]]; then
        run "${target%:*}" "${target#*:}"
    fi
done
echo "fuzz: nothing found"
