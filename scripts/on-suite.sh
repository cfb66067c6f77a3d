#!/bin/bash
# Builds scenetap and runs its tests on another Debian suite, with that suite's FFmpeg and mpv.
#
#   on-suite.sh SUITE            run make test, then parity over the fixtures
#   on-suite.sh SUITE COMMAND    run another command line in the copy of the source tree
#
#   bookworm   FFmpeg 5.1, mpv 0.35; the host's Rust toolchain is copied in
#   trixie     FFmpeg 7.1, mpv 0.40; Rust from the suite's backports
#   forky      FFmpeg 9.0, mpv 0.41; the suite's own Rust
#
# The suite is kept in target/suites/SUITE with its build folder, /target; delete it to start from
# scratch. The mirror and the settings of apt and cargo are the host's. Nothing of the host is mounted:
# the source tree is copied, and /proc is in a mount namespace that ends with the command.
#
# Exit status: the command's; 77 if this machine cannot run it (not root, no debootstrap or
# chroot, no mirror, no such suite).
set -euo pipefail
cd "$(dirname "$0")/.."

cannot() {
    echo "on-suite: $*" >&2
    exit 77
}

suite=${1:?on-suite.sh SUITE [COMMAND]}
command=${2:-make test && SCENETAP=/target/debug/scenetap bash scripts/parity.sh}
# A user's PATH may lack these.
PATH=$PATH:/usr/sbin:/sbin

case $suite in
    bookworm) rust=host ;;
    trixie) rust=backports ;;
    *) rust=suite ;;
esac

[ "$(id -u)" = 0 ] || cannot "only root can set up a suite (debootstrap, chroot)"
for tool in debootstrap chroot unshare apt-get; do
    command -v "$tool" >/dev/null || cannot "$tool is not installed"
done
mirror=$(sh scripts/debian-mirror.sh) || cannot "apt knows no Debian mirror here (apt-get update may help)"
there=$(mktemp)
trap 'rm -f "$there"' EXIT
/usr/lib/apt/apt-helper download-file "$mirror/dists/$suite/InRelease" "$there" >/dev/null 2>&1 \
    || cannot "the mirror has no suite $suite"
unshare --mount --pid --fork true 2>/dev/null || cannot "mount namespaces are not allowed here"

root=$PWD/target/suites/$suite
is_mounted_below() { awk -v root="$1/" 'index($5 "/", root) == 1 { found = 1 } END { exit !found }' /proc/self/mountinfo; }
if [ -e "$root" ] && [ ! -e "$root/complete" ]; then
    ! is_mounted_below "$root" || cannot "something is mounted below $root: unmount it first"
    rm -rf --one-file-system "$root"
fi

if [ ! -e "$root" ]; then
    mkdir -p "$root"
    # An older debootstrap lacks scripts for newer suites; all Debian suites use the same one.
    recipes=/usr/share/debootstrap/scripts
    recipe=$recipes/$suite
    [ -e "$recipe" ] || recipe=$recipes/sid
    # In its own mount namespace, so that its mounts vanish even if it is killed.
    unshare --mount debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$mirror" "$recipe" \
        >"$root.log" 2>&1 || { tail -n 5 "$root.log" >&2; cannot "debootstrap failed: see $root.log"; }
    echo "deb $mirror $suite main" >"$root/etc/apt/sources.list"
    [ "$rust" != backports ] \
        || echo "deb $mirror $suite-backports main" >>"$root/etc/apt/sources.list"
    apt-config dump --format '%F "%v";%n' Acquire >"$root/etc/apt/apt.conf.d/01host"
    touch "$root/complete"
fi

# Copy the host's network, certificate and cargo settings.
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
certificates=/etc/ssl/certs/ca-certificates.crt
[ ! -e "$certificates" ] || cp -L "$certificates" "$root/etc/ssl/certs/host.crt"
mkdir -p "$root/home/tests/.cargo"
for settings in config.toml config; do
    [ ! -e "${CARGO_HOME:-$HOME/.cargo}/$settings" ] \
        || cp -L "${CARGO_HOME:-$HOME/.cargo}/$settings" "$root/home/tests/.cargo/"
done

inside() { # COMMAND: runs it in the suite, with a private /proc
    # Keep only the variables that configure registries and proxies, and those that tests read.
    local kept=(PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        HOME=/home/tests LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive CARGO_TARGET_DIR=/target
        SCENETAP_REQUIRE_TOOLS=1)
    local setting
    while IFS= read -r -d '' setting; do
        kept+=("$setting")
    done < <(env -0 | grep -zE '^(CARGO_(REGISTR|HTTP|NET|SOURCE)[A-Z_]*|(https?|no)_proxy|(HTTPS?|NO)_PROXY|SCENETAP_(SEED|REQUIRE_MATERIAL))=')
    # Set this last, so that it overrides a path that exists only on the host.
    [ ! -e "$root/etc/ssl/certs/host.crt" ] || kept+=(CARGO_HTTP_CAINFO=/etc/ssl/certs/host.crt)
    # shellcheck disable=SC2016 # expanded inside
    unshare --mount --pid --fork --kill-child bash -c \
        'mount -t proc proc "$0/proc" && exec chroot "$0" env -i "${@:2}" sh -c "$1"' \
        "$root" "$1" "${kept[@]}"
}

# Install only git, make and Rust: setup.sh installs the rest.
case $rust in
    host)
        if [ ! -e "$root/opt/rust" ]; then
            rm -rf --one-file-system "$root/opt/rust.part"
            cp -a "$(rustc --print sysroot)" "$root/opt/rust.part"
            mv "$root/opt/rust.part" "$root/opt/rust"
        fi
        packages="make git"
        ;;
    backports) packages="make git cargo/$suite-backports rustc/$suite-backports libstd-rust-dev/$suite-backports" ;;
    suite) packages="make git cargo rustc" ;;
esac
inside "command -v cargo >/dev/null && command -v make >/dev/null && command -v git >/dev/null \
    || { apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages; }" \
    >"$root.log" 2>&1 || { tail -n 5 "$root.log" >&2; cannot "cannot install packages: see $root.log"; }

# Copy the working tree, including uncommitted changes. Modification times are kept, so that cargo
# only rebuilds what changed.
rm -rf --one-file-system "$root/source"
mkdir "$root/source"
comm -z -23 <(git ls-files -z --cached --others --exclude-standard | sort -zu) \
    <(git ls-files -z --deleted | sort -zu) | tar --null --files-from=- -cf - | tar -xf - -C "$root/source"
material=${SCENETAP_MATERIAL:-../shared/material}
if [ -d "$material" ]; then
    mkdir -p "$root/shared/material"
    cp -a "$material/." "$root/shared/material/"
fi

status=0
inside "cd /source && sh scripts/setup.sh && ffmpeg -version | head -1 && mpv --version | head -1 \
    && rustc --version && { $command; }" || status=$?
echo "on-suite: $suite: exit status $status"
exit "$status"
