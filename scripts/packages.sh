#!/bin/bash
# Writes the .deb and the .rpm of a release. Cargo.toml lists the files, packaging/ has the scripts
# that they run.
#
#   packages.sh FOLDER DIST    FOLDER is the unpacked archive; called by dist.sh
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$1 dist=$2
package=target/dist/package
rm -rf "$package"
cp -a "$folder" "$package"

# The service's file: everything in it is commented out.
mkdir "$package/etc"
{
    cat <<'TEXT'
# Configuration of scenetap.service, and of the command line of all users.
#
# The service keeps its sessions in /var/lib/scenetap/sessions. With this line, commands find
# them by name:
#sessions-dir = "/var/lib/scenetap/sessions"

TEXT
    # Below, the option is listed again with the default of the command line.
    cat "$package/config.toml"
} >"$package/etc/config.toml"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)
cat >"$package/changelog.Debian" <<TEXT
scenetap ($version-1) unstable; urgency=medium

  * See docs/CHANGELOG.md.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
TEXT
cp "$package/CHANGELOG.md" "$package/docs/"
# The same time for each file: packages contain it.
find "$package" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

cargo deb --quiet --no-build --no-strip --locked --output "$dist/"
cargo generate-rpm --target-dir target/dist --output "$dist/" \
    --payload-compress gzip --source-date "$SOURCE_DATE_EPOCH"
