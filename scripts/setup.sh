#!/bin/sh
# Installs the packages that are needed to build and test scenetap, on Debian or Ubuntu. Does nothing if
# all are installed; needs root or sudo only to install.
#
#   FFmpeg's development packages   the libraries that scenetap uses
#   clang, pkg-config, cc           for the bindings
#   cmake, nasm                     to build libjpeg-turbo with its assembly
#   mpv                             plays the recording
#   ffmpeg                          reference in the tests; the program never runs it
#   valgrind                        counts instructions
#   jq                              runs the loop in docs/AGENTS.md
#   python3                         runs mangle.py, which is stored beside the real streams
#
#   setup.sh dist                   also installs the packages for scripts/dist.sh:
#   python3-venv                    for the tools that are Python packages
#   make, xz-utils                  to build FFmpeg
#   dpkg                            to write a .deb
set -eu

packages=""
need() { # PACKAGE TEST...: the package is missing if the test fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || packages="$packages $package"
}

if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: Rust is missing; install rustup (Rust 1.89 or newer), then run this again" >&2
    exit 1
fi
need gcc command -v cc
need pkg-config command -v pkg-config
for library in avcodec avformat avutil swscale swresample; do
    need "lib$library-dev" pkg-config --exists "lib$library"
done
need clang command -v clang
# bindgen loads libclang, whose folder name contains a version, unlike its package name.
need libclang-dev sh -c 'ls /usr/lib/llvm-*/lib/libclang.so /usr/lib/*/libclang*.so* | grep -q .'
need cmake command -v cmake
need nasm command -v nasm
need mpv command -v mpv
need ffmpeg command -v ffmpeg
need valgrind command -v valgrind
need python3 command -v python3
need jq command -v jq
if [ "${1:-}" = dist ]; then
    need python3-venv python3 -c "import venv, ensurepip"
    need make command -v make
    need xz-utils command -v xz
    need dpkg-dev command -v dpkg-shlibdeps
fi

if [ -z "$packages" ]; then
    echo "setup: everything is installed"
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: apt-get not found; install the equivalents of these Debian packages:$packages" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1; then
    as_root="sudo"
else
    echo "setup: not root and no sudo; as root, run: apt-get install$packages" >&2
    exit 1
fi
echo "setup: installing$packages"
$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086 # word splitting is intended
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
echo "setup: done"
