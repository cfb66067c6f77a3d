#!/bin/bash
# Refuses a tag that differs from the version in Cargo.toml, or that the changelog lacks.
#
#   tagcheck.sh TAG      v0.1.0 for version 0.1.0
set -euo pipefail
cd "$(dirname "$0")/.."

tag=${1:?tagcheck.sh TAG}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
if [ "$tag" != "v$version" ]; then
    echo "tagcheck: the tag is $tag, and the version in Cargo.toml is $version: tag v$version, or change the version" >&2
    exit 1
fi
if ! grep -qE "^## \[?${version//./\\.}\]?( |$)" CHANGELOG.md; then
    echo "tagcheck: CHANGELOG.md has no section '## $version': rename 'Unreleased'" >&2
    exit 1
fi
echo "tagcheck: $tag is version $version"
