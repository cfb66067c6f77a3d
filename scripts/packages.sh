#!/bin/bash
# Writes the .deb and the .rpm of a release. Cargo.toml lists their files; packaging/ contains the scripts
# that they run.
#
#   packages.sh FOLDER DIST    FOLDER is the unpacked archive; called by dist.sh
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$1 dist=$2
package=target/dist/package
rm -rf "$package"
cp -a "$folder" "$package"

# The service's configuration file: every line is commented out.
mkdir "$package/etc"
sed 's|^#sessions-dir = .*|# The service keeps its sessions in /var/lib/scenetap/sessions; with this line, commands find them by name.\n#sessions-dir = "/var/lib/scenetap/sessions"|' \
    "$package/config.toml" >"$package/etc/config.toml"
grep -q '^#sessions-dir = "/var/lib/scenetap/sessions"$' "$package/etc/config.toml"
# Use the package's program, not one installed by hand, which comes first in the path.
sed -i 's|^ExecStart=scenetap |ExecStart=/usr/bin/scenetap |' "$package"/systemd/*.service
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)
cat >"$package/changelog.Debian" <<TEXT
scenetap ($version-1) unstable; urgency=medium

  * See CHANGELOG.md.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
TEXT
# Set the same time for all files: packages contain the times.
find "$package" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

cargo deb --quiet --no-build --no-strip --locked --output "$dist/"
cargo generate-rpm --target-dir target/dist --output "$dist/" \
    --payload-compress gzip --source-date "$SOURCE_DATE_EPOCH"
