#!/bin/bash
# Builds the FFmpeg libraries that a release contains: static, under the LGPL 2.1, with only the decoders,
# parsers and the scaler that scenetap uses.
#
#   ffmpeg.sh FOLDER    builds into FOLDER: include/, lib/, and share/ with the configure line, the
#                       license and the name and digest of the source package
#
# The source package is taken from the first of these:
#   FFMPEG_TARBALL=FILE    a local copy of ffmpeg_VERSION.orig.tar.xz
#   FFMPEG_MIRROR=URL      a mirror of Debian's archive
#   apt's own mirror
# Its SHA-256 must equal the one below. FFMPEG_SOURCE=FOLDER builds your own, possibly modified source tree
# instead.
#
#   CC, AR, RANLIB         the compiler, if not cc: scripts/dist.sh sets them
#   FFMPEG_VERSION         one of the versions below; the default is the first
set -euo pipefail
cd "$(dirname "$0")/.."

# The source packages of Debian's suites, newest first: forky, trixie, bookworm. Debian replaces them
# in security updates: then add the new version here (apt-cache showsrc ffmpeg).
digest_of() {
    case $1 in
        9.0.2) echo 8c3850283eb25fa026482078a04051e0be17347b09ef81a0849bec15a96e002e ;;
        7.1.5) echo de668509caf9e35e3cd162473441fdb29538c6d96ed080292b3cf9e6fc5d558f ;;
        5.1.9) echo d9b593bb2ba93d4b50f74177e0cdcd41747e708596367deed0c30348a71dd176 ;;
        *) return 1 ;;
    esac
}

fail() {
    echo "ffmpeg: $*" >&2
    exit 1
}

out=${1:?ffmpeg.sh FOLDER}
version=${FFMPEG_VERSION:-9.0.2}
digest=$(digest_of "$version") || fail "no digest for version $version is listed in scripts/ffmpeg.sh"
# Debian's package contains FFmpeg's own sources unchanged.
name=ffmpeg_$version.orig.tar.xz

# The codecs that scenetap opens: `libav::codec_id` and `libav::parser`. tests/it/dist.rs compares the decoders
# with `media::VideoCodec`.
decoders=h264,hevc,mpeg1video,mpeg2video,mpeg4
parsers=h264,hevc,mpegvideo,mpeg4video,mpegaudio,aac,aac_latm,ac3,dca,opus

# No option contains a path: FFmpeg records the configure line in its libraries.
options=(
    --prefix=/usr/local
    --disable-everything --disable-autodetect --disable-programs --disable-doc --disable-network
    --disable-avdevice --disable-avfilter --disable-swresample
    --enable-static --disable-shared --enable-pic --enable-gray
    "--enable-decoder=$decoders" "--enable-parser=$parsers"
    --arch=x86_64 --target-os=linux --enable-cross-compile
    "--cc=${CC:-cc}" "--ar=${AR:-ar}" "--ranlib=${RANLIB:-ranlib}"
)
# Everything that can change the result: this script, the compiler and its flags.
stamp=$(sha256sum <scripts/ffmpeg.sh; printf '%s\n' "$version" "${options[@]}" "${SCENETAP_CC_FLAGS:-}"; ${CC:-cc} --version)
if [ -z "${FFMPEG_SOURCE:-}" ] && [ -e "$out/stamp" ] && [ "$(cat "$out/stamp")" = "$stamp" ]; then
    echo "ffmpeg: $version is built"
    exit 0
fi

work=$out.work
rm -rf "$out" "$work"
mkdir -p "$work" "$(dirname "$out")"
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")

fetch() { # FILE: fetches the source package
    local mirror=${FFMPEG_MIRROR:-}
    if [ -n "${FFMPEG_TARBALL:-}" ]; then
        cp "$FFMPEG_TARBALL" "$1"
        return
    fi
    if [ -z "$mirror" ]; then
        mirror=$(sh scripts/debian-mirror.sh) \
            || fail "apt has no mirror of Debian's archive on this machine; set FFMPEG_TARBALL to a copy of $name, or FFMPEG_MIRROR to a mirror"
    fi
    local url=${mirror%/}/pool/main/f/ffmpeg/$name
    if [ -x /usr/lib/apt/apt-helper ]; then
        /usr/lib/apt/apt-helper download-file "$url" "$1" >/dev/null 2>&1
    else
        curl --fail --silent --show-error --location --output "$1" "$url"
    fi || fail "cannot fetch $url; set FFMPEG_TARBALL to a copy of $name"
}

is_whole() { echo "$digest  $1" | sha256sum --check --status 2>/dev/null; }
if [ -n "${FFMPEG_SOURCE:-}" ]; then
    cp -a "$FFMPEG_SOURCE/." "$work/"
    version=$(cat "$work/RELEASE" 2>/dev/null || echo unknown)
    name="a source tree, FFMPEG_SOURCE" digest="-"
else
    # A fetched tarball is kept beside the build.
    tarball=$(dirname "$out")/$name
    if [ -n "${FFMPEG_TARBALL:-}" ] || ! is_whole "$tarball"; then
        fetch "$work/$name"
        is_whole "$work/$name" || fail "the SHA-256 of $name is $(sha256sum "$work/$name" | cut -d ' ' -f 1), not $digest"
        mv "$work/$name" "$tarball"
    fi
    tar -xJf "$tarball" -C "$work" --strip-components 1
fi

echo "ffmpeg: building $version"
(
    cd "$work"
    ./configure "${options[@]}" >configure.log 2>&1 \
        || { tail -n 20 configure.log ffbuild/config.log >&2; exit 1; }
    # The old glibc has the function, but zig's newer headers lack its declaration.
    sed -i 's/^#define HAVE_SYSCTL 1/#define HAVE_SYSCTL 0/' config.h
    grep -q '^License: LGPL version 2.1 or later$' configure.log || { echo "ffmpeg: not under the LGPL 2.1" >&2; exit 1; }
    make -j"$(nproc)" >make.log 2>&1 || { tail -n 20 make.log >&2; exit 1; }
    make install DESTDIR="$work/installed" >>make.log 2>&1 || { tail -n 20 make.log >&2; exit 1; }
)
mv "$work/installed/usr/local" "$out"
rm -rf "$out/share" "$out/lib/pkgconfig"
mkdir "$out/share"
cp "$work/COPYING.LGPLv2.1" "$out/share/"
cat >"$out/share/FFMPEG.txt" <<TEXT
FFmpeg $version, https://ffmpeg.org, under the GNU LGPL version 2.1 or later

Source package   $name
SHA-256          $digest
Configured by    ./configure ${options[*]}
TEXT
printf '%s\n' "$stamp" >"$out/stamp"
rm -rf "$work"
echo "ffmpeg: $version is built in $out"
