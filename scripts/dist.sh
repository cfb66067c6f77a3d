#!/bin/bash
# Builds a release into dist/: one program that contains FFmpeg, for x86-64 Linux with glibc 2.31 or
# newer, as an archive, a .deb and a .rpm, with their digests and an SBOM.
#
#   dist.sh [FOLDER]      writes to FOLDER, dist by default
#
#   FFMPEG_DIR=FOLDER     link this FFmpeg instead of building one: a folder with include/ and
#                         lib/, static libraries
#   FFMPEG_SOURCE, FFMPEG_TARBALL, FFMPEG_MIRROR, FFMPEG_VERSION   see ffmpeg.sh
#   SOURCE_DATE_EPOCH     time of all files; the default is the time of the last commit
#
# Two builds of one commit by one toolchain, in different folders, give the same files byte for byte, except for
# the archive with symbols.
set -euo pipefail
cd "$(dirname "$0")/.."

dist=${1:-dist}
work=$PWD/target/dist
target=x86_64-unknown-linux-gnu
# The version of Debian 11 and Ubuntu 20.04.
glibc=2.31
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
name=scenetap-$version-x86_64-linux

say() { echo "dist: $*"; }
fail() {
    echo "dist: $*" >&2
    exit 1
}

[ "$(uname -m)" = x86_64 ] || fail "only x86-64 is supported"
umask 022
# Builds must not depend on place and time.
export LC_ALL=C TZ=UTC
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
[ -z "$commit" ] || [ -z "$(git status --porcelain)" ] || commit=$commit-modified
if [ -n "$commit" ]; then export SCENETAP_COMMIT=$commit; fi

bash scripts/dist-tools.sh "$work/tools" "$glibc"
export PATH=$work/tools/bin:$PATH

cargo_home=${CARGO_HOME:-$HOME/.cargo}
maps=("$PWD=/scenetap" "$cargo_home=/cargo")
c_flags=-fno-sanitize=all
rustc_flags=""
for map in "${maps[@]}"; do
    c_flags="$c_flags -ffile-prefix-map=$map"
    rustc_flags="$rustc_flags --remap-path-prefix=$map"
done

# A hash of the version, not of the contents, which include the debug information.
build_id=$(printf 'scenetap %s %s' "$version" "$commit" | sha1sum | cut -d ' ' -f 1)
rustc_flags="$rustc_flags -Clink-arg=-Wl,--build-id=0x$build_id"

if [ -z "${FFMPEG_DIR:-}" ]; then
    FFMPEG_DIR=$work/ffmpeg
    # Passed as a variable, because FFmpeg records its options.
    export SCENETAP_CC_FLAGS="-fno-sanitize=all -ffile-prefix-map=$work/ffmpeg.work=/ffmpeg"
    CC=scenetap-cc AR=scenetap-ar RANLIB=scenetap-ranlib bash scripts/ffmpeg.sh "$FFMPEG_DIR"
fi
export FFMPEG_DIR

say "building scenetap $version ${commit:+of commit $commit}"
# cargo-auditable stores the list of crates in the program. Run it in a folder that does not contain zig:
# otherwise, zig would print relative paths of its headers, and bindgen would search for them in another folder.
(
    cd src
    CARGO_TARGET_DIR=$work/build RUSTC_WRAPPER=scenetap-rustc SCENETAP_RUSTC_FLAGS=$rustc_flags \
        CFLAGS=$c_flags CXXFLAGS=$c_flags \
        CARGO=scenetap-cargo cargo-auditable auditable zigbuild --locked --profile dist --features static --target "$target.$glibc" --bin scenetap
)
built=$work/build/$target/dist/scenetap

# Move the symbols to a separate file, which debuggers find by the build id. That file contains paths of the
# compiler's own files, so it depends on the folder; the program does not.
rm -rf "${work:?}/$name" "$work/symbols"
mkdir -p "$work/$name" "$work/symbols"
objcopy --only-keep-debug --compress-debug-sections "$built" "$work/symbols/scenetap.debug"
objcopy --strip-all "$built" "$work/$name/scenetap"
program=$work/$name/scenetap
bash scripts/dist-check.sh "$program" "$glibc"

say "collecting the archive"
export SCENETAP_CONFIG=
mkdir -p "$work/$name"/{man,completions,systemd,licenses,docs}
"$program" -q generate --man "$work/$name/man"
"$program" generate --completion bash >"$work/$name/completions/scenetap.bash"
"$program" generate --completion zsh >"$work/$name/completions/_scenetap"
"$program" generate --completion fish >"$work/$name/completions/scenetap.fish"
"$program" config --print-default >"$work/$name/config.toml"
cp CHANGELOG.md CONTRIBUTING.md SECURITY.md "$work/$name/"
# Adapt its links to the archive's folders.
sed 's|(packaging/systemd/|(systemd/|; s|(packaging/RELINKING|(licenses/RELINKING|; s|(LICENSE-|(licenses/LICENSE-|g; s|\[\(CC BY 3.0\)\](fixtures/README.md)|\1|' \
    README.md >"$work/$name/README.md"
cp docs/*.md docs/*.jpg docs/*.svg "$work/$name/docs/"
cp packaging/systemd/* "$work/$name/systemd/"
cp LICENSE-MIT LICENSE-APACHE packaging/RELINKING.md "$work/$name/licenses/"
[ ! -e "$FFMPEG_DIR/share/FFMPEG.txt" ] || cp "$FFMPEG_DIR"/share/{COPYING.LGPLv2.1,FFMPEG.txt} "$work/$name/licenses/"
python3 scripts/licenses.py >"$work/$name/licenses/THIRD-PARTY.txt"

pack() { # FOLDER NAME: writes an archive that depends on names and contents only
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --mode=u+rwX,go+rX,go-w \
        -C "$1" -cf - "$2" | gzip -n -9 >"$dist/$3"
}
rm -rf "$dist"
mkdir -p "$dist"
dist=$(cd "$dist" && pwd)
pack "$work" "$name" "$name.tar.gz"
pack "$work/symbols" scenetap.debug "$name.debug.tar.gz"

say "writing the packages"
bash scripts/packages.sh "$work/$name" "$dist"

say "writing the SBOM"
bash scripts/sbom.sh "$FFMPEG_DIR" "$dist/$name.cdx.json"

(cd "$dist" && sha256sum -- scenetap* >SHA256SUMS)
ls -l "$dist"
