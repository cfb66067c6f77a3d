#!/bin/bash
# Runs the release in dist/ in bare Debian systems, made by debootstrap, and installs its packages
# there.
#
#   distcheck.sh SUITE...     bullseye bookworm trixie forky by default; of these, a suite that the mirror
#                             lacks is reported and skipped
#
# The folders contain only Debian's base system: no FFmpeg, no compiler. In each of them:
#   - the archive's program detects a fixture, once live and once by scan, and keeps the same frames as
#     ffmpeg (fixtures/golden); status shows the recorder
#   - the .deb is installed, upgraded, removed and purged, and each state is checked; the .rpm is
#     installed and removed, if this machine has rpm
# The folders stay in target/roots; delete them to start from scratch. MIRROR is a mirror of Debian's
# archive; the default is apt's. Needs root.
#
# Exit status: 0 if all passed; 1 if not; 77 if this machine cannot run it.
# shellcheck disable=SC2317 # `check` calls the functions
# shellcheck disable=SC2016 # text in single quotes is expanded inside the system
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

cannot() {
    echo "distcheck: $*" >&2
    exit 77
}
[ "$(id -u)" = 0 ] || cannot "only root can set up a system (debootstrap, chroot)"
for tool in debootstrap chroot unshare dpkg-deb jq; do
    command -v "$tool" >/dev/null || cannot "$tool is not installed"
done
mirror=${MIRROR:-$(sh scripts/debian-mirror.sh || true)}
[ -n "$mirror" ] || cannot "apt knows no Debian mirror here (apt-get update may help); set MIRROR"
archive=$(echo dist/scenetap-*-x86_64-linux.tar.gz)
package=$(echo dist/scenetap_*_amd64.deb)
if [ ! -e "$archive" ] || [ ! -e "$package" ]; then cannot "no release in dist/: run make dist"; fi

fixture=bbb_h264_bframes_scenecut_360p24
root=""

inside() { # COMMAND: runs it in the system, with a private /proc and an empty environment
    unshare --mount --pid --fork --kill-child bash -c \
        'mount -t proc proc "$0/proc" && exec chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
            HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive sh -euc "$1"' "$root" "$1"
}

failed=0
check() { # WHAT COMMAND...
    local what=$1 status
    shift
    # Not as a condition: there, a failing command would not end the called function.
    set +e
    (
        set -e
        "$@"
    ) >"$root.check" 2>&1
    status=$?
    set -e
    if [ "$status" = 0 ]; then
        echo "    ok: $what"
    else
        echo "    FAILED: $what"
        sed 's/^/        /' "$root.check"
        failed=1
    fi
}

# The frames that ffmpeg keeps, as time, score and reason.
expected=$(awk -F, 'NR > 1 { printf "%.6f %.6f %s\n", $1 / 90000, $2, $3 }' "fixtures/golden/$fixture.frames.csv")
as_ffmpeg() { # FILE JQ-FILTER
    local got
    got=$(jq -r "$2 | \"\(.timestamp) \(.score) \(.reason)\"" "$1" | awk '{ printf "%.6f %.6f %s\n", $1, $2, $3 }')
    [ "$got" = "$expected" ] || { printf 'expected:\n%s\ngot:\n%s\n' "$expected" "$got"; return 1; }
}

program_runs() {
    rm -rf "$root/srv/test"
    mkdir -p "$root/srv/test"
    tar -xzf "$archive" -C "$root/srv/test" --strip-components 1
    cp "fixtures/$fixture.ts" "$root/srv/test/clip.ts"
    inside '
        cd /srv/test
        if ldd scenetap | grep "not found"; then exit 1; fi
        ./scenetap version --json >version.json
        ./scenetap scan clip.ts --json >scan.jsonl
        mkfifo log
        ./scenetap record --once --listen 127.0.0.1:0 --sessions-dir sessions --session s 2>log &
        recorder=$!
        address=$(sed -n "s/.*listening on //p;T;q" <log)
        cat log >/dev/null 2>&1 &
        ./scenetap status --json >status.json
        ./scenetap -q send clip.ts --to "$address" --speed max
        wait "$recorder"
        cmp clip.ts sessions/s/stream/recording.ts
        ./scenetap check s --sessions-dir sessions
    '
}

install_package() { # FILE
    cp "$1" "$root/srv/scenetap.deb"
    inside 'dpkg --force-confold -i /srv/scenetap.deb'
}
is_installed() {
    inside '
        scenetap version >/dev/null
        scenetap config --check /etc/scenetap/config.toml
        getent passwd scenetap | grep -q /var/lib/scenetap
        grep -q "^ExecStart=/usr/bin/scenetap " /usr/lib/systemd/system/scenetap.service
        test -e "/usr/lib/systemd/system/scenetap@.service"
        test -L /etc/systemd/system/multi-user.target.wants/scenetap.service
        test -e /usr/share/bash-completion/completions/scenetap
        test -z "$(dpkg --verify scenetap | grep -v " c /etc\| /usr/share/\(doc\|man\)")"
    '
}
# Creates files as a service and its administrator would.
use_it() {
    inside '
        mkdir -p /var/lib/scenetap/sessions/s/stream
        echo recording >/var/lib/scenetap/sessions/s/stream/recording.ts
        chown -R scenetap: /var/lib/scenetap
        echo "listen = \"127.0.0.1:4445\"" >>/etc/scenetap/config.toml
        echo "listen = \"127.0.0.1:4446\"" >/etc/scenetap/stage.toml
        ln -s /usr/lib/systemd/system/scenetap@.service \
            /etc/systemd/system/multi-user.target.wants/scenetap@stage.service
    '
}
is_used() { inside 'grep -q 4445 /etc/scenetap/config.toml && grep -q recording /var/lib/scenetap/sessions/s/stream/recording.ts'; }
upgrade() {
    local work=$root.deb
    rm -rf "$work"
    dpkg-deb -R "$package" "$work"
    sed -i 's/^Version: .*/&+later/' "$work/DEBIAN/control"
    # The new version also brings another default file.
    echo "# Later." >>"$work/etc/scenetap/config.toml"
    dpkg-deb --root-owner-group -b "$work" "$work.deb" >/dev/null
    install_package "$work.deb"
    inside 'dpkg-query -W -f "\${Version}" scenetap | grep -q later'
    rm -rf "$work" "$work.deb"
}
remove() { inside 'dpkg -r scenetap'; }
is_removed() {
    inside '
        test ! -e /usr/bin/scenetap
        getent passwd scenetap >/dev/null
        test -z "$(find /etc/systemd/system -name "scenetap@*")"
    '
}
purge() { inside 'dpkg -P scenetap'; }
is_purged_but_for_recordings() {
    inside '
        test ! -e /etc/scenetap/config.toml
        test -e /etc/scenetap/stage.toml
        getent passwd scenetap >/dev/null
        test -e /var/lib/scenetap/sessions/s
    '
}
leaves_no_folder_without_recordings() {
    inside 'rm -rf /var/lib/scenetap /etc/scenetap'
    install_package "$package"
    purge
    inside 'test ! -e /etc/scenetap && test ! -e /var/lib/scenetap'
}
# The .rpm, by this machine's rpm: its scripts run inside.
rpm_is_installed_and_removed() {
    local rpm
    rpm=$(echo "$PWD"/dist/scenetap-*.x86_64.rpm)
    # Remove the remains of an earlier run.
    rpm --root "$root" -e scenetap || true
    inside 'rm -rf /var/lib/scenetap /etc/scenetap'
    rpm --root "$root" --nodeps -i "$rpm"
    inside '
        scenetap config --check /etc/scenetap/config.toml
        getent passwd scenetap
        test -e /usr/lib/systemd/system/scenetap@.service
        mkdir -p /var/lib/scenetap/sessions/s
        echo "# Changed." >>/etc/scenetap/config.toml
        mkdir -p /etc/systemd/system/multi-user.target.wants
        ln -s /usr/lib/systemd/system/scenetap@.service \
            /etc/systemd/system/multi-user.target.wants/scenetap@stage.service
    '
    rpm --root "$root" -e scenetap
    inside '
        test ! -e /usr/bin/scenetap
        test -e /var/lib/scenetap/sessions/s
        grep -q Changed /etc/scenetap/config.toml.rpmsave
        test -z "$(find /etc/systemd/system -name "scenetap@*")"
        rm -r /var/lib/scenetap /etc/scenetap
    '
}

is_optional=""
if [ $# = 0 ]; then
    is_optional=yes
    set -- bullseye bookworm trixie forky
fi
mkdir -p target/roots
checked=0
for suite in "$@"; do
    root=$PWD/target/roots/$suite
    if [ ! -e "$root/complete" ]; then
        rm -rf --one-file-system "$root"
        recipes=/usr/share/debootstrap/scripts
        recipe=$recipes/$suite
        [ -e "$recipe" ] || recipe=$recipes/sid
        # In its own mount namespace, so that its mounts vanish even if it is killed.
        if ! unshare --mount debootstrap --variant=minbase "$suite" "$root" "$mirror" "$recipe" >"$root.log" 2>&1; then
            echo "$suite: debootstrap failed: $(tail -n 1 "$root.log")"
            [ -n "$is_optional" ] || failed=1
            continue
        fi
        touch "$root/complete"
    fi
    echo "$suite: $(inside '. /etc/os-release; echo "$PRETTY_NAME"; ldd --version | head -1' | paste -s -d ',')"
    check "the program runs with nothing but libc" program_runs
    check "recorded live, the frames are ffmpeg's" as_ffmpeg "$root/srv/test/sessions/s/frames/index.json" '.[]'
    check "scanned, the frames are ffmpeg's" as_ffmpeg "$root/srv/test/scan.jsonl" '.'
    check "status shows the recorder" jq -e '.session == "s"' "$root/srv/test/status.json"
    check "FFmpeg is LGPL and static" jq -e '.ffmpeg | .linked == "static" and (.license | startswith("LGPL"))' "$root/srv/test/version.json"
    inside 'dpkg -P scenetap >/dev/null 2>&1; rm -rf /var/lib/scenetap' || true
    check "the package installs" install_package "$package"
    check "installed: program, user, units, options, completions" is_installed
    use_it
    check "it upgrades" upgrade
    check "upgraded: recordings and the changed options are kept" is_used
    check "it is removed" remove
    check "removed: recordings, options and user stay" is_used
    check "removed: the program is gone" is_removed
    check "it is purged" purge
    check "purged: options are gone, recordings stay" is_purged_but_for_recordings
    check "purged without recordings: no folder stays" leaves_no_folder_without_recordings
    if command -v rpm >/dev/null; then
        check "the .rpm is installed and removed; recordings and changed options stay" rpm_is_installed_and_removed
    else
        echo "    not checked: the .rpm; rpm is not installed"
    fi
    checked=$((checked + 1))
done
[ "$failed" = 0 ] || exit 1
[ "$checked" -gt 0 ] || cannot "no system could be set up"
