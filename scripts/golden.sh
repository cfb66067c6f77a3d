#!/bin/bash
# Writes ffmpeg's verdict on every clip in fixtures/ (or on the named files) to fixtures/golden:
#   CLIP.scores.csv          every picture: its time in 1/90000 s, its scene score
#   CLIP.frames.csv          the frames kept at threshold 0.3 and interval 30 s, with reasons
#   CLIP.t0.1-i2.frames.csv  the same at threshold 0.1 and interval 2 s
#   damaged/                 damaged fixtures; needs an ffmpeg before 6.1, whose results are reproducible
# Times are read from `pts:`, because `pts_time:` is rounded to six digits. Audio is mapped so that
# time starts at libavformat's start_time. One thread, because with several, the concealment of
# damage varies from run to run.
set -euo pipefail
cd "$(dirname "$0")/.."

verdicts() { # FILE SELECT: the log of the pictures that SELECT keeps, as pts,score
    ffmpeg -nostdin -hide_banner -threads 1 -i "$1" -map 0:v:0 -map '0:a?' -c:a copy \
        -vf "select=$2,metadata=print" -f null - 2>&1 \
        | awk '/frame:[0-9]+ +pts:/ { sub(/.*pts:/, ""); pts = $1 }
               /lavfi.scene_score=/ { sub(/.*=/, ""); print pts "," $1 }'
}

frames() { # FILE THRESHOLD INTERVAL: with the reason for each
    verdicts "$1" "isnan(prev_selected_t)+gt(scene\,$2)+gte(t-prev_selected_t\,$3)" \
        | awk -F, -v threshold="$2" -v interval="$3" '
            BEGIN { print "pts,score,reason" }
            NR == 1 { reason = "first" }
            NR > 1 { reason = $2 > threshold ? "scene" : \
                ($1 - kept) / 90000 >= interval ? "interval" : "format" }
            { print $0 "," reason; kept = $1 }'
}

[ $# -gt 0 ] || set -- fixtures/*.ts
mkdir -p fixtures/golden
for file in "$@"; do
    clip=fixtures/golden/$(basename "$file" .ts)
    { echo pts,score; verdicts "$file" 'gte(scene\,0)'; } >"$clip.scores.csv"
    frames "$file" 0.3 30 >"$clip.frames.csv"
    frames "$file" 0.1 2 >"$clip.t0.1-i2.frames.csv"
    echo "$(basename "$file"): $(($(wc -l <"$clip.scores.csv") - 1)) pictures," \
        "$(($(wc -l <"$clip.frames.csv") - 1)) and $(($(wc -l <"$clip.t0.1-i2.frames.csv") - 1)) kept"
done
ffmpeg -version | head -1 >fixtures/golden/ffmpeg-version.txt
# Fixtures damaged in each way of tests/it/parity.rs: every picture's time and score.
mkdir -p fixtures/golden/damaged
SCENETAP_WRITE_GOLDEN=1 cargo test --locked --quiet --test it damaged_streams_have_the_golden
