#!/bin/bash
# ffmpeg and scenetap side by side over any MPEG-TS files: pictures, differing times
# and scores, and the first difference. Without files: the fixtures.
#
#   parity.sh [FILE...]
set -euo pipefail
cd "$(dirname "$0")/.."

scenetap=${SCENETAP:-target/release/scenetap}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- fixtures/*.ts

differ=0 pictures=0
printf '%-58s %9s %9s %7s  %s\n' file ffmpeg scenetap differ "first difference (ffmpeg | scenetap)"
for file in "$@"; do
    ffmpeg -nostdin -hide_banner -threads 1 -i "$file" -map 0:v:0 -map '0:a?' -c:a copy \
        -vf 'select=gte(scene\,0),metadata=print' -f null - 2>&1 \
        | awk '/frame:[0-9]+ +pts:/ { sub(/.*pts:/, ""); pts = $1 }
               /lavfi.scene_score=/ { sub(/.*=/, ""); printf "%.6f,%s\n", pts / 90000, $1 }' \
            >"$work/ffmpeg" || true
    rm -f "$work/ours.csv"
    "$scenetap" -q scan "$file" --scores "$work/ours.csv" 2>"$work/error" || true
    { [ ! -f "$work/ours.csv" ] || tail -n +2 "$work/ours.csv"; } >"$work/ours"
    paste -d '|' "$work/ffmpeg" "$work/ours" | awk -F '|' '$1 != $2' >"$work/differ"
    count=$(wc -l <"$work/differ")
    pictures=$((pictures + $(wc -l <"$work/ffmpeg")))
    [ "$count" = 0 ] || differ=$((differ + 1))
    name=$file
    [ ${#name} -le 58 ] || name=…${name: -57}
    printf '%-58s %9d %9d %7d  %s\n' "$name" "$(wc -l <"$work/ffmpeg")" "$(wc -l <"$work/ours")" \
        "$count" "$(head -1 "$work/differ") $(head -c 90 "$work/error")"
done
echo "$# files, $pictures pictures; $differ files with a difference"
[ "$differ" = 0 ]
