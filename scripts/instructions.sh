#!/bin/bash
# Counts the instructions of the hot paths under valgrind, and compares them with benches/instructions.txt:
#
#   instructions.sh            fails if a path takes 3 % more than the file states
#   instructions.sh --write    writes the file
#
# Counts depend on the compiler and on the instruction set that valgrind offers (AVX2), not on the machine's load.
set -euo pipefail
cd "$(dirname "$0")/.."

file=benches/instructions.txt
slack_percent=3
command -v valgrind >/dev/null || { echo "instructions: valgrind is missing; run make setup" >&2; exit 1; }
program=$(cargo bench --locked --bench instructions --no-run 2>&1 | sed -n 's/.*(\(target[^)]*\)).*/\1/p')
[ -x "$program" ] || { echo "instructions: the bench was not built; run cargo bench --no-run" >&2; exit 1; }

count() { # NAME
    valgrind --tool=callgrind --toggle-collect='instructions::counted' --callgrind-out-file=/dev/null \
        "$program" "$1" 2>&1 | awk '/Collected/ { print $NF }'
}

status=0
counted=$(mktemp)
trap 'rm -f "$counted"' EXIT
while read -r name; do
    instructions=$(count "$name")
    printf '%12d  %s\n' "$instructions" "$name" >>"$counted"
    [ "${1:-}" != --write ] || continue
    expected=$(awk -v name="$name" '{ count = $1; sub(/^ *[0-9]+ +/, "") } $0 == name { print count }' "$file")
    if [ -z "$expected" ]; then
        echo "instructions: $file does not name '$name'; run make instructions ARGS=--write" >&2
        status=1
    elif [ $((instructions * 100)) -gt $((expected * (100 + slack_percent))) ]; then
        echo "instructions: $name takes $instructions instructions, $file says $expected" >&2
        status=1
    else
        printf '%12d  %s (%d)\n' "$instructions" "$name" "$expected"
    fi
done < <("$program" --list)
if [ "${1:-}" = --write ]; then
    cp "$counted" "$file"
    cat "$file"
fi
exit $status
