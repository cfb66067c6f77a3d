#!/bin/bash
# ffmpeg's M2TS mode announces AAC as private data.
#
# One expects: `-f mpegts -mpegts_m2ts_mode 1` writes the same AAC stream as `-f mpegts`, in packets of 192 bytes, so the
# program map states the stream type of AAC (0x0f, ISO/IEC 13818-1 table 2-34) in both.
# What happens: with the M2TS mode, the map states 0x06 (private data) and no descriptor that names AAC. Demuxers that go by
# the map see no audio; FFmpeg's own finds it by probing the bytes.
# Seen with: FFmpeg 7.0.2 (PyPI: imageio-ffmpeg 0.6.0), 5.1.9. Source: libavformat/mpegtsenc.c, get_m2ts_stream_type: its
# list of audio codecs has no AAC.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check imageio-ffmpeg==0.6.0
ffmpeg=$("$work/venv/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
"$ffmpeg" -version | head -1

make() { # FILE OPTION...
    "$ffmpeg" -v error -f lavfi -i sine=duration=1 -c:a aac -f mpegts "${@:2}" "$1"
}
make "$work/plain.ts"
make "$work/timed.m2ts" -mpegts_m2ts_mode 1

# Prints the stream types of the first program map.
types() { # FILE PACKET_BYTES OFFSET_OF_THE_SYNC_BYTE
    python3 - "$@" <<'PYTHON'
import sys
name, size, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = open(name, "rb").read()
for at in range(first, len(data) - 187, size):
    packet = data[at:at + 188]
    payload = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    if packet[1] & 0x40 and packet[payload:payload + 2] == b"\0\2":
        section = packet[payload + 1:]
        end = 3 + ((section[1] & 15) << 8 | section[2]) - 4
        at = 12 + ((section[10] & 15) << 8 | section[11])
        while at < end:
            length = (section[at + 3] & 15) << 8 | section[at + 4]
            descriptors = section[at + 5:at + 5 + length].hex() or "no descriptors"
            print(f"stream type {section[at]:#04x}, {descriptors}")
            at += 5 + length
        break
PYTHON
}
plain=$(types "$work/plain.ts" 188 0)
timed=$(types "$work/timed.m2ts" 192 4)
echo "without the M2TS mode: $plain"
echo "with the M2TS mode:    $timed"
[ "${plain%%,*}" = "stream type 0x0f" ] && [ "$timed" = "stream type 0x06, no descriptors" ]
