#!/bin/bash
# Builds the image from the release in dist/ and a folder made by debootstrap (scripts/distcheck.sh makes
# one), and checks its files, its user, a recording and its health check.
#
#   containercheck.sh [FOLDER]     target/roots/bookworm by default
#
# Uses its own temporary storage. Needs buildah and root, but no registry: the image runs in a chroot.
#
# Exit status: 0 if all passed; 1 if not; 77 if this machine cannot run it.
set -euo pipefail
cd "$(dirname "$0")/.."

cannot() {
    echo "containercheck: $*" >&2
    exit 77
}
fail() {
    echo "containercheck: FAILED: $*" >&2
    exit 1
}
folder=${1:-target/roots/bookworm}
command -v buildah >/dev/null || cannot "buildah is not installed"
[ -e "$folder/lib64/ld-linux-x86-64.so.2" ] || cannot "$folder is no system: run scripts/distcheck.sh"
[ -x target/dist/package/scenetap ] || cannot "no release: run make dist"

# In its own mount namespace: the mounts of chroot isolation end with it.
if [ -z "${SCENETAP_CONTAINERCHECK:-}" ]; then
    SCENETAP_CONTAINERCHECK=1 exec unshare --mount bash scripts/containercheck.sh "$folder"
fi
store=$(mktemp -d)
recorder=""
end() {
    [ -z "$recorder" ] || kill "$recorder" 2>/dev/null || true
    in_store rm --all >/dev/null 2>&1 || true
    umount --recursive "$store" 2>/dev/null || true
    rm -rf --one-file-system "$store"
}
trap end EXIT
in_store() { buildah --storage-driver vfs --root "$store/root" --runroot "$store/run" "$@"; }

# OCI's image format has no health checks.
in_store build --quiet --format docker --isolation chroot --build-arg BASE=folder --build-arg FOLDER="$folder" \
    --tag scenetap . >/dev/null
container=$(in_store from --pull-never scenetap)
tree=$(in_store mount "$container")
files=$(cd "$tree" && find . -type f -not -path './usr/share/licenses/*' | sort)
expected="./etc/passwd
./lib/x86_64-linux-gnu/libc.so.6
./lib/x86_64-linux-gnu/libdl.so.2
./lib/x86_64-linux-gnu/libm.so.6
./lib/x86_64-linux-gnu/libpthread.so.0
./lib64/ld-linux-x86-64.so.2
./usr/bin/scenetap"
[ "$files" = "$expected" ] || fail "the image contains other files:
$files"
config=$(in_store inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Volumes}} {{.Docker.Config.Healthcheck.Test}}' scenetap)
[ "$config" = "65532:65532 map[/sessions:{}] [CMD /usr/bin/scenetap status --json]" ] || fail "configuration: $config"
echo "containercheck: ok: 7 files besides licenses, $(du -sh --apparent-size "$tree" | cut -f 1); $config"

run() { in_store run --isolation chroot "$container" -- "$@"; }
health="/usr/bin/scenetap status --json"
# shellcheck disable=SC2086 # word splitting is intended
! run $health >/dev/null 2>&1 || fail "healthy without a recorder"
mkfifo "$store/log"
# Chroot isolation uses this host's network: listen on a free port instead of the image's address.
run /usr/bin/scenetap record --once --listen 127.0.0.1:0 --session s >/dev/null 2>"$store/log" &
recorder=$!
exec 3<"$store/log"
address=""
while [ -z "$address" ] && read -r line <&3; do
    case $line in *"listening on "*) address=${line##*listening on } ;; esac
done
[ -n "$address" ] || fail "the recorder does not start"
cat <&3 >/dev/null &
# shellcheck disable=SC2086 # word splitting is intended
run $health | jq -e '.session == "s"' >/dev/null || fail "not healthy with a recorder"
clip=fixtures/bbb_h264_bframes_scenecut_360p24.ts
SCENETAP_CONFIG="" target/dist/package/scenetap -q send "$clip" --to "$address" --speed max
wait "$recorder" || fail "the recorder failed"
recorder=""
# buildah stores the volume beside the container.
session=$(find "$store" -path '*/s/stream/recording.ts' -printf '%h/..')
cmp "$clip" "$session/stream/recording.ts" || fail "the recording differs"
[ "$(stat -c %u "$session")" = 65532 ] || fail "recorded by another user"
frames=$(jq length "$session/frames/index.json")
kept=$(($(wc -l <fixtures/golden/bbb_h264_bframes_scenecut_360p24.frames.csv) - 1))
[ "$frames" = "$kept" ] || fail "$frames frames instead of $kept"
echo "containercheck: ok: recorded by user 65532, $frames frames; the health check fails without a recorder and passes with one"
