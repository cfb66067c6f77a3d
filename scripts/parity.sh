#!/bin/bash
# Compares ffmpeg and scenetap on any MPEG-TS files: every picture's time and score, the kept
# frames, and the first difference with its byte offset.
#
#   parity.sh [--markdown] [FILE...]      compares the fixtures if no files are given
set -euo pipefail
cd "$(dirname "$0")/.."
# Read no configuration file of this host.
export SCENETAP_CONFIG=

scenetap=${SCENETAP:-target/release/scenetap}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
markdown=
if [ "${1:-}" = --markdown ]; then
    markdown=yes
    shift
fi
[ $# -gt 0 ] || set -- fixtures/*.ts

# Prints ffmpeg's verdict on FILE, as time,score. One thread, because with several, the concealment
# of damage varies from run to run. Audio is mapped, because it affects the clock; if the tables name
# audio that the stream lacks, ffmpeg fails and is run again without it. Times are read from `pts:`, because
# `pts_time:` is rounded to six digits; and from the log, because metadata's own `file=` restarts
# with each filter graph.
ffmpeg_says() { # FILE SELECT
    judge "$1" "$2" -map '0:a?' -c:a copy
    ! grep -q 'Could not write header' "$work/log" || judge "$1" "$2"
    awk '
        /frame:[0-9]+ +pts:/ { sub(/.*pts:/, ""); pts = $1 }
        /lavfi.scene_score=/ { sub(/.*=/, ""); printf "%.6f,%.6f\n", pts / 90000, $1 }' "$work/log"
}

judge() { # FILE SELECT OPTION...
    ffmpeg -nostdin -hide_banner -nostats -threads 1 -i "$1" -map 0:v:0 "${@:3}" \
        -vf "select=$2,metadata=print" -f null - >"$work/log" 2>&1 || true
}

# Prints scenetap's lines of JSON as time,score.
time_and_score() {
    sed 's/.*"timestamp":\([-0-9.e]*\),.*"score":\([-0-9.e]*\),.*/\1,\2/' \
        | awk -F, '{ printf "%.6f,%.6f\n", $1, $2 }'
}

# Prints the offset of scenetap's picture with this time. The interval is shorter than any picture, so
# that every picture is kept as a frame.
byte_of() { # FILE TIME
    { "$scenetap" -q scan "$1" --json --max-frame-interval 0.000001 2>/dev/null || true
    } | sed 's/.*"timestamp":\([-0-9.e]*\),.*"offset":\([0-9]*\),.*/\1 \2/' \
        | awk -v time="$2" 'sprintf("%.6f", $1) == time && !found++ { print $2 }'
}

say() { # FILE PICTURES OURS SCORES KEPT FRAMES FIRST
    if [ "$markdown" ]; then
        printf '| %s | %d | %d | %d | %d | %d | %s |\n' "$@"
    else
        local name=$1
        [ ${#name} -le 48 ] || name=…${name: -47}
        shift
        printf '%-48s %8d %8d %8d %6d %8d  %s\n' "$name" "$@"
    fi
}

if [ "$markdown" ]; then
    echo '| file | pictures of ffmpeg | of scenetap | differ | frames kept | differ | first difference |'
    echo '|---|---|---|---|---|---|---|'
else
    printf '%-48s %8s %8s %8s %6s %8s  %s\n' file ffmpeg scenetap differ frames differ \
        'first difference (ffmpeg | scenetap)'
fi

files_differ=0 pictures=0
for file in "$@"; do
    ffmpeg_says "$file" 'gte(scene\,0)' >"$work/scores"
    ffmpeg_says "$file" 'isnan(prev_selected_t)+gt(scene\,0.3)+gte(t-prev_selected_t\,30)' >"$work/kept"
    rm -f "$work/csv"
    "$scenetap" -q scan "$file" --scores "$work/csv" --json 2>"$work/error" | time_and_score \
        >"$work/our-kept" || true
    { [ ! -f "$work/csv" ] || tail -n +2 "$work/csv"; } >"$work/our-scores"

    paste -d '|' "$work/scores" "$work/our-scores" | awk -F '|' '$1 != $2' >"$work/differ"
    differ=$(wc -l <"$work/differ") differs=
    [ "$differ" = 0 ] || differs=yes
    # Count the frames that only one of the two keeps, or that have different scores.
    frames=$(comm -3 <(sort "$work/kept") <(sort "$work/our-kept") | wc -l)
    first=$(head -c 90 "$work/error")
    # The undecoded part of a picture shows the previous content of its buffer, which depends on how
    # long earlier frames were held, and so on the frames that ffmpeg keeps.
    unlike=$(comm -23 <(sort "$work/kept") <(sort "$work/scores") | wc -l)
    if [ "$unlike" != 0 ]; then
        first="ffmpeg's two runs differ in $unlike of these frames. $first"
    elif [ "$frames" != 0 ]; then
        differs=yes
    fi
    [ ! "$differs" ] || files_differ=$((files_differ + 1))
    if [ "$differ" != 0 ]; then
        line=$(head -1 "$work/differ")
        time=${line#*|}
        byte=$(byte_of "$file" "${time%,*}")
        first="byte ${byte:--}: ${line/|/ \\| } $first"
        [ "$markdown" ] || first=${first/\\|/|}
    fi
    pictures=$((pictures + $(wc -l <"$work/scores")))
    say "$file" "$(wc -l <"$work/scores")" "$(wc -l <"$work/our-scores")" "$differ" \
        "$(wc -l <"$work/kept")" "$frames" "$first"
done
[ ! "$markdown" ] || echo
echo "$# files, $pictures pictures; $files_differ files with a difference"
[ "$files_differ" = 0 ]
