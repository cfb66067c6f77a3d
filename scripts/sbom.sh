#!/bin/bash
# Writes the SBOM of a release: CycloneDX, the crates with FFmpeg and libjpeg-turbo added.
#
#   sbom.sh FFMPEG FILE    FFMPEG is the folder that ffmpeg.sh has written; called by dist.sh
set -euo pipefail
cd "$(dirname "$0")/.."

ffmpeg=$1 file=$2
work=$(mktemp -d)
trap 'rm -rf "$work"; rm -f scenetap-sbom.json' EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5 --features static \
    --target x86_64-unknown-linux-gnu --override-filename scenetap-sbom

notes=$ffmpeg/share/FFMPEG.txt
version=unknown digest=""
if [ -e "$notes" ]; then
    version=$(sed -n 's/^FFmpeg \([^,]*\),.*/\1/p' "$notes")
    digest=$(sed -n 's/^SHA-256 *//p' "$notes")
fi
jpeg=$(cargo metadata --locked --format-version 1 --features static | jq -r '.packages[] | select(.name == "turbojpeg-sys").manifest_path')
jpeg_version=$(sed -n 's/^set(VERSION \([0-9.]*\))$/\1/p' "$(dirname "$jpeg")/libjpeg-turbo/CMakeLists.txt" | head -1)
[ -n "$jpeg_version" ] || { echo "sbom: no version of libjpeg-turbo in $(dirname "$jpeg")" >&2; exit 1; }
jq --arg version "$version" --arg digest "$digest" --arg jpeg "$jpeg_version" --arg time "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" '
    # Builds must be reproducible: remove the optional serial number and set the time. (In the last line: cargo
    # omits the name of a package whose folder has the same name.)
    del(.serialNumber) | .metadata.timestamp = $time
    | "pkg:generic/ffmpeg@\($version)" as $ffmpeg | "pkg:generic/libjpeg-turbo@\($jpeg)" as $turbo
    | .metadata.component["bom-ref"] as $root
    | (.dependencies[] | select(.ref == $root).dependsOn) += [$ffmpeg, $turbo]
    | .dependencies += [{ref: $ffmpeg}, {ref: $turbo}]
    | .components += [
        {type: "library", "bom-ref": $ffmpeg, name: "FFmpeg", version: $version, purl: $ffmpeg,
         cpe: "cpe:2.3:a:ffmpeg:ffmpeg:\($version):*:*:*:*:*:*:*",
         licenses: [{license: {id: "LGPL-2.1-or-later"}}],
         hashes: (if $digest == "" then [] else [{alg: "SHA-256", content: $digest}] end),
         externalReferences: [{type: "website", url: "https://ffmpeg.org"}]},
        {type: "library", "bom-ref": $turbo, name: "libjpeg-turbo", version: $jpeg, purl: $turbo,
         licenses: [{license: {id: "IJG"}}, {license: {id: "BSD-3-Clause"}}],
         externalReferences: [{type: "website", url: "https://libjpeg-turbo.org"}]}
      ]' scenetap-sbom.json | sed -E "s|$PWD|/scenetap|g; s|${CARGO_HOME:-$HOME/.cargo}|/cargo|g; s|(file:///scenetap)#([0-9])|\\1#scenetap@\\2|g" >"$file"
