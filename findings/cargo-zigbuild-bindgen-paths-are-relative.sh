#!/bin/bash
# cargo-zigbuild hands bindgen include folders that are relative to where it was started.
#
# One expects: `cargo zigbuild` sets BINDGEN_EXTRA_CLANG_ARGS_TARGET to absolute folders of zig's headers, since build scripts
# of dependencies run in their own folders.
# What happens: where zig is installed below the working directory (a virtual environment in the project, say), the folders
# are relative to it; bindgen in a build script then finds no <stdint.h>. `zig cc` prints its search list that way, and
# cargo-zigbuild passes it on. Started from a folder that zig is not below, the same command has absolute ones.
# Seen with: cargo-zigbuild 0.24.1, ziglang 0.17.1 (PyPI).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/project/src" "$work/project/tools"
cd "$work/project"
printf '[package]\nname = "example"\nversion = "0.1.0"\nedition = "2021"\n' >Cargo.toml
echo 'fn main() {}' >src/main.rs
python3 -m venv tools/python
tools/python/bin/pip install --quiet --disable-pip-version-check cargo-zigbuild==0.24.1 ziglang==0.17.1
tools/python/bin/pip list 2>/dev/null | grep -E 'zig'

# In place of cargo: prints what it is given.
printf '#!/bin/sh\nenv\n' >tools/cargo
chmod +x tools/cargo
export PATH=$PWD/tools/python/bin:$PATH

folders() {
    CARGO=$work/project/tools/cargo cargo-zigbuild zigbuild --target x86_64-unknown-linux-gnu.2.31 \
        | sed -n 's/^BINDGEN_EXTRA_CLANG_ARGS_x86_64_unknown_linux_gnu=//p' \
        | grep -oE '[^ ]*/ziglang/lib/libc/include/generic-glibc' | sort -u
}
below=$(folders)
beside=$(cd src && folders)
echo "started above zig:  $below"
echo "started beside it:  ${beside/#"$work"/…}"
case $below in /*) exit 1 ;; esac
[ -n "$below" ] && case $beside in /*) ;; *) exit 1 ;; esac
