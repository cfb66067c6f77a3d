#!/bin/bash
# Demonstrates the main job: starts a recorder, sends it a sample clip in real time, and prints each kept
# frame as it is written, with its delay.
set -euo pipefail
cd "$(dirname "$0")/.."

scenetap=${SCENETAP:-${CARGO_TARGET_DIR:-target}/release/scenetap}
# Read no configuration file of this host.
export SCENETAP_CONFIG=
clip=${1:-fixtures/bbb_h264_bframes_scenecut_360p24.ts}
sessions=${SESSIONS_DIR:-sessions}
work=$(mktemp -d)
recorder="" sender=""

end() {
    [ -z "$sender" ] || kill "$sender" 2>/dev/null || true
    [ -z "$recorder" ] || kill "$recorder" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

mkfifo "$work/log" "$work/frames"
NO_COLOR=1 "$scenetap" record --listen 127.0.0.1:0 --sessions-dir "$sessions" --once --json \
    >"$work/frames" 2>"$work/log" &
recorder=$!
exec 3<"$work/frames" 4<"$work/log"

# The recorder logs its address and its session folder.
session="" address=""
while [ -z "$address" ] && read -r line <&4; do
    case $line in
        *"session "*) session=${line##*session } ;;
        *"listening on "*) address=${line##*listening on } ;;
        *) echo "$line" >&2 ;;
    esac
done
[ -n "$address" ] || { echo "demo: the recorder did not start" >&2; exit 1; }
sed -u 's/^[^ ]* */    recorder: /' <&4 >&2 &

echo "recording on $address; sending $clip, $(stat -c %s "$clip") bytes, in real time"
"$scenetap" -q send "$clip" --to "$address" &
sender=$!

value() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" <<<"$line"; }
kept=0
printf '\n%-6s %9s  %-8s %8s  %s\n' frame time reason score "on disk after"
while read -r line <&3; do
    late_ms=$((($(date +%s%N) - $(date -d "$(value captured_at)" +%s%N)) / 1000000))
    printf '%-6s %8.3fs  %-8s %8.4f  %5d ms\n' \
        "$(value id)" "$(value timestamp)" "$(value reason)" "$(value score)" "$late_ms"
    kept=$((kept + 1))
done
wait "$sender" || { echo "demo: the sender failed" >&2; exit 1; }
wait "$recorder" || { echo "demo: the recorder failed" >&2; exit 1; }
recorder="" sender=""

[ "$kept" -gt 0 ] || { echo "demo: no frame was kept" >&2; exit 1; }
cmp "$clip" "$session/stream/recording.ts"
cat <<END

$kept frames kept; the recording is the same as what was sent, byte for byte.
(A picture that is followed by B pictures leaves the decoder after them: that is most of the latency.)

    session   $session
    frames    $session/frames/index.json
    play it   $scenetap play $session --live=no
END
