#!/bin/bash
# Checks what a release's program requires of its host, and its size.
#
#   dist-check.sh PROGRAM GLIBC
#
# The program may link only libc, libm and libgcc_s (and libpthread, libdl and librt, which are parts of an
# old libc), must not need a symbol newer than GLIBC, and must be at most 15 MiB large.
set -euo pipefail

program=$1 glibc=$2
status=0
wrong() {
    echo "dist-check: $program: $*" >&2
    status=1
}

allowed='^(libc|libm|libgcc_s|libpthread|libdl|librt|ld-linux-x86-64)\.so\.[0-9]+$'
libraries=$(readelf --dynamic --wide "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p')
[ -n "$libraries" ] || wrong "no dynamic libraries: not the program that is meant"
others=$(grep -vE "$allowed" <<<"$libraries" || true)
[ -z "$others" ] || wrong "links $(tr '\n' ' ' <<<"$others")"

versions=$(readelf --version-info --wide "$program" | grep -oE 'GLIBC_[0-9.]+' | sort -u -V)
[ -n "$versions" ] || wrong "no versions of glibc: not the program that is meant"
newest=$(printf '%s\n' "$versions" | tail -n 1)
[ "$(printf '%s\nGLIBC_%s\n' "$newest" "$glibc" | sort -V | tail -n 1)" = "GLIBC_$glibc" ] \
    || wrong "needs $newest, newer than GLIBC_$glibc"

size=$(stat -c %s "$program")
[ "$size" -le $((15 * 1024 * 1024)) ] || wrong "has $size bytes, more than 15 MiB"

[ "$status" = 0 ] && echo "dist-check: $size bytes; $(tr '\n' ' ' <<<"$libraries")newest version $newest"
exit "$status"
