#!/bin/bash
# Installs the tools that build a release, at fixed versions, into a folder.
#
#   dist-tools.sh FOLDER GLIBC     GLIBC is the oldest version that a release runs with
#
#   zig                  the C compiler and linker, for an old glibc
#   cargo-zigbuild       cargo with that linker
#   cargo-auditable      lists the crates in the program
#   cargo-cyclonedx      writes the SBOM
#   cargo-deb, cargo-generate-rpm   write the packages
#
# FFmpeg records the names of its tools: the wrappers scenetap-cc, scenetap-ar and scenetap-ranlib in
# FOLDER/bin have names without a path. scenetap-rustc adds flags to cargo's own; cargo-auditable starts
# cargo through scenetap-cargo.
set -euo pipefail

folder=${1:?dist-tools.sh FOLDER GLIBC} glibc=${2:?dist-tools.sh FOLDER GLIBC}
python_packages="ziglang==0.17.1 cargo-zigbuild==0.24.1"
crates="cargo-auditable@0.7.7 cargo-cyclonedx@0.5.9 cargo-deb@3.8.0 cargo-generate-rpm@0.21.1"

mkdir -p "$folder/bin"
folder=$(cd "$folder" && pwd)
stamp="$python_packages $crates"
if [ ! -e "$folder/stamp" ] || [ "$(cat "$folder/stamp")" != "$stamp" ]; then
    echo "dist-tools: installing into $folder"
    rm -f "$folder/stamp"
    [ -e "$folder/python/bin/pip" ] || python3 -m venv "$folder/python"
    # shellcheck disable=SC2086 # word splitting is intended
    "$folder/python/bin/pip" install --quiet --disable-pip-version-check $python_packages
    for crate in $crates; do
        # In one target folder, so that crates that they share are compiled once.
        cargo install --quiet --locked --root "$folder" --target-dir "$folder/build" "$crate"
    done
    rm -rf "$folder/build"
    printf '%s' "$stamp" >"$folder/stamp"
fi

zig=$(echo "$folder"/python/lib/python3*/site-packages/ziglang/zig)
[ -x "$zig" ] || { echo "dist-tools: no zig in $folder/python" >&2; exit 1; }
ln -sf "$zig" "$folder/bin/zig"
ln -sf "$folder/python/bin/cargo-zigbuild" "$folder/bin/cargo-zigbuild"
wrapper() { # NAME ARGUMENTS
    # shellcheck disable=SC2016 # expanded by the wrapper
    printf '#!/bin/sh\nexec "${0%%/*}/zig" %s "$@"\n' "$2" >"$folder/bin/$1"
    chmod +x "$folder/bin/$1"
}
# shellcheck disable=SC2016 # expanded by the wrapper
wrapper scenetap-cc "cc -target x86_64-linux-gnu.$glibc "'$SCENETAP_CC_FLAGS'
wrapper scenetap-ar ar
wrapper scenetap-ranlib ranlib
# RUSTFLAGS become part of the symbol names: pass flags that contain a path here instead.
# shellcheck disable=SC2016 # expanded by the wrapper
printf '#!/bin/sh\nrustc=$1\nshift\nexec "$rustc" "$@" $SCENETAP_RUSTC_FLAGS\n' >"$folder/bin/scenetap-rustc"
chmod +x "$folder/bin/scenetap-rustc"
# The path of a workspace wrapper also becomes part of the symbol names: replace the path that cargo-auditable
# sets by its name.
printf '#!/bin/sh\nRUSTC_WORKSPACE_WRAPPER=cargo-auditable exec cargo "$@"\n' >"$folder/bin/scenetap-cargo"
chmod +x "$folder/bin/scenetap-cargo"
