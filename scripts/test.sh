#!/bin/bash
# Runs all tests. The last line says how many were left out, and why.
#
#   test.sh [OPTION...]     options of cargo test
#
# What a test needs besides the repository, and how its absence is made a failure, is said in
# tests/kit/src/tools.rs.
set -euo pipefail
cd "$(dirname "$0")/.."

SCENETAP_LEFT_OUT=$(mktemp)
trap 'rm -f "$SCENETAP_LEFT_OUT"' EXIT
export SCENETAP_LEFT_OUT
# Many wait for a recorder or for a player, with a core idle.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}

status=0
cargo test --locked "$@" || status=$?
# A test that lacks several things counts once, with the first.
sort -u -t "$(printf '\t')" -k 1,1 "$SCENETAP_LEFT_OUT" | awk -F '\t' '
    { count[$2]++ }
    END {
        for (why in count) reasons = reasons (reasons ? ", " : "") why " (" count[why] ")"
        print "tests left out: " NR (NR ? ": " reasons : "")
    }'
exit "$status"
