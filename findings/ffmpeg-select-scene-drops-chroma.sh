#!/bin/bash
# ffmpeg's select filter changes the pictures that it passes when its expression names `scene`.
#
# One expects: `select` passes or drops pictures and leaves their samples alone, whatever the expression is.
# What happens: with `scene` in the expression, the filter accepts few pixel formats, and a converter is put in front of it
# without a word. A picture of yuv444p comes out as yuv420p, with a quarter of its chroma samples, and one of yuv444p12
# as yuv420p10.
# Stills that are taken at scene changes in this way lose color, also if the output format could hold all of it.
# Seen with: FFmpeg 7.0.2 (PyPI: imageio-ffmpeg 0.6.0), 5.1.9. Source: libavfilter/f_select.c, query_formats: its list of
# formats counts only if do_scene_detect is set.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check imageio-ffmpeg==0.6.0
ffmpeg=$("$work/venv/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
"$ffmpeg" -version | head -1

# Prints the size in bytes and the checksum of the first picture that the expression passes.
passed() { # PIXEL_FORMAT EXPRESSION
    "$ffmpeg" -v error -f lavfi -i testsrc2=size=64x64:rate=1:duration=1 -vf "format=$1,select='$2'" -f framemd5 - |
        tail -1 | tr -d ' ' | cut -d, -f5-
}
failed=0
for format in yuv420p yuv444p yuv444p12le; do
    plain=$(passed $format 'eq(n,0)')
    scene=$(passed $format 'eq(n,0)*gte(scene,0)')
    echo "$format: select=eq(n,0) passes $plain; with gte(scene,0) as well, $scene"
    case $format in
    yuv420p) [ "$plain" = "$scene" ] || failed=1 ;;
    *) [ "${scene%,*}" -eq $((${plain%,*} / 2)) ] || failed=1 ;;
    esac
done
if [ $failed = 1 ]; then
    echo "changed: select no longer converts pictures as seen here" >&2
    exit 1
fi
