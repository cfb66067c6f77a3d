#!/bin/bash
# ffmpeg's exit status after a failed output is the low byte of a negative error number.
#
# One expects: status 1, as up to FFmpeg 5.1, or another small number; a status above 128 means that a signal ended the
# program (shells and supervisors report 128 + N so).
# What happens: when the receiver of a TCP output closes the connection, the status is 224 (256 - EPIPE); when it resets it,
# 152 (256 - ECONNRESET), which reads as "killed by signal 24"; when nobody listens, 145 (256 - ECONNREFUSED), "signal 17".
# Seen with: FFmpeg 7.0.2 (PyPI: imageio-ffmpeg 0.6.0), 9.0.2. Source: fftools/ffmpeg.c, main returns the AVERROR of
# ffmpeg_parse_options or transcode.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check imageio-ffmpeg==0.6.0
ffmpeg=$("$work/venv/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
"$ffmpeg" -version | head -1

# Accepts one connection, reads some of it, and ends it: by closing or by resetting.
cat >"$work/receiver.py" <<'PYTHON'
import socket, struct, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
if sys.argv[1] == "absent":
    sys.exit()
connection, _ = listener.accept()
received = 0
while received < 20000:
    received += len(connection.recv(4096))
if sys.argv[1] == "close":
    # Unread bytes would make the system reset the connection.
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        pass
else:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
connection.close()
PYTHON

status_with() { # close|reset|absent
    rm -f "$work/port"
    timeout 30 python3 "$work/receiver.py" "$1" >"$work/port" &
    local receiver=$! port status=0
    until port=$(cat "$work/port" 2>/dev/null) && [ "$port" ]; do sleep 0.05; done
    [ "$1" != absent ] || wait "$receiver"
    "$ffmpeg" -nostdin -v quiet -re -f lavfi -i testsrc=duration=20:size=320x240 -c:v mpeg2video \
        -f mpegts "tcp://127.0.0.1:$port" || status=$?
    wait "$receiver" || true
    echo "$status"
}
closed=$(status_with close)
reset=$(status_with reset)
absent=$(status_with absent)
echo "the receiver closes: $closed; it resets: $reset; nobody listens: $absent"
[ "$closed $reset $absent" = "224 152 145" ]
