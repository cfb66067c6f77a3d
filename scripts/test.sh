#!/bin/bash
# Runs all tests. The last line counts the tests that were skipped, with the reasons.
#
#   test.sh [OPTION...]     options of cargo test
#
# tests/kit/src/tools.rs lists the external tools that tests need, and the variables that make
# their absence a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
# Read no configuration file of this host.
export SCENETAP_CONFIG=

SCENETAP_LEFT_OUT=$(mktemp)
trap 'rm -f "$SCENETAP_LEFT_OUT"' EXIT
export SCENETAP_LEFT_OUT
# Many tests wait for a recorder or a player, which leaves cores idle.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}

status=0
cargo test --locked "$@" || status=$?
# Count each test once.
sort -u -t "$(printf '\t')" -k 1,1 "$SCENETAP_LEFT_OUT" | awk -F '\t' '
    { count[$2]++ }
    END {
        for (why in count) reasons = reasons (reasons ? ", " : "") why " (" count[why] ")"
        print "tests left out: " NR (NR ? ": " reasons : "")
    }'
exit "$status"
