#!/bin/bash
# `zig cc` for an old glibc links functions whose headers it does not have.
#
# One expects: `zig cc -target x86_64-linux-gnu.2.31` compiles and links what a system with glibc 2.31 does: there,
# <sys/sysctl.h> declares sysctl(), deprecated.
# What happens: the function links, since the stub of libc has the symbols of 2.31; the header is missing, since the headers are
# those of a newer glibc (2.32 removed this one). A configure script that only links a program finds the function and
# then fails at the header: FFmpeg's does, in libavutil/cpu.c.
# Seen with: ziglang 0.17.1 (PyPI). Source: lib/libc/include/generic-glibc, one folder for all versions.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ziglang==0.17.1
zig() { "$work/venv/bin/python" -m ziglang "$@"; }
echo "zig $(zig version)"

cd "$work"
result=()
printf 'char sysctl(void);\nint main(void) { return sysctl(); }\n' >links.c
printf '#include <sys/sysctl.h>\nint main(void) { return 0; }\n' >header.c
for program in links header; do
    if zig cc -target x86_64-linux-gnu.2.31 -w -o program "$program.c" >/dev/null 2>&1; then
        result+=("$program: yes")
    else
        result+=("$program: no")
    fi
done
printf 'for glibc 2.31, %s\n' "${result[@]}"
[ "${result[*]}" = "links: yes header: no" ]
