#!/bin/sh
# Prints the mirror of Debian's archive that apt uses. Fails if apt has no such mirror.
set -eu
# shellcheck disable=SC2016 # apt expands it
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' 2>/dev/null \
    | awk '$2 == "Debian" && $3 == "Debian" && !n++ { print $1 }')
[ -n "$mirror" ] || exit 1
echo "${mirror%/}"
