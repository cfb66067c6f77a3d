#!/bin/bash
# Makes the clips in fixtures/ from films that are distributed in packages:
#   Big Buck Bunny    PyPI's source package moviepy 2.2.1
#   Sintel's trailer  Debian's source package libopenshot
# Needs ffmpeg with libx264 and libx265, pip, unzip; dpkg-dev for the trailer.
# Encoders differ between versions: a new clip resembles the one in fixtures/ but is not identical.
# Run `make golden` afterwards.
#
#   make-fixtures.sh [CLIP...]      all clips, or the named ones
set -euo pipefail
cd "$(dirname "$0")/.."

work=${FILMS_DIR:-$(mktemp -d)}
ts=(-f mpegts -pcr_period 20 -pat_period 0.1 -sdt_period 0.5)
aac=(-c:a aac -b:a 64k -ar 48000 -ac 2)
bt709=(-color_primaries bt709 -color_trc bt709 -colorspace bt709)

bunny() {
    if [ ! -f "$work/bbb.mp4" ]; then
        (cd "$work" && pip download --quiet --no-deps --no-binary :all: moviepy==2.2.1 \
            && tar xzf moviepy-2.2.1.tar.gz \
            && unzip -ojq moviepy-2.2.1/docs/_static/medias/getting_started/moviepy_10_minutes/moviepy_10_minutes.zip '*/bbb.mp4')
    fi
    echo "$work/bbb.mp4"
}

sintel() {
    if [ ! -f "$work/sintel_trailer-720p.mp4" ]; then
        (cd "$work" && apt-get source --download-only -qq libopenshot >&2 \
            && tar xf libopenshot_*.orig.tar.* --wildcards --strip-components=2 '*/examples/sintel_trailer-720p.mp4')
    fi
    echo "$work/sintel_trailer-720p.mp4"
}

# encode CLIP START SECONDS FILM OPTION...
encode() {
    local clip=$1 start=$2 seconds=$3 film=$4
    shift 4
    echo "making $clip"
    ffmpeg -v error -nostdin -y -ss "$start" -t "$seconds" -i "$film" -map 0:v:0 -map '0:a:0?' \
        "$@" "${ts[@]}" -metadata service_name="$clip" "fixtures/$clip.ts"
}

make_clip() {
    case $1 in
        # As from a film: B pyramid, key frames at scene cuts, long GOP.
        bbb_h264_bframes_scenecut_360p24)
            encode "$1" 404 30 "$(bunny)" -vf scale=640:360 "${bt709[@]}" -c:v libx264 -preset medium \
                -g 250 -keyint_min 25 -sc_threshold 40 -bf 3 -b:v 360k -maxrate 600k -bufsize 1200k "${aac[@]}" ;;
        # As from OBS: no B pictures, a key frame exactly every 2 s.
        bbb_h264_zerolatency_360p30_gop2s)
            encode "$1" 249 28 "$(bunny)" -vf scale=640:360,fps=30 "${bt709[@]}" -c:v libx264 -preset veryfast \
                -tune zerolatency -g 60 -keyint_min 60 -sc_threshold 0 -b:v 380k -maxrate 380k -bufsize 380k "${aac[@]}" ;;
        bbb_hevc_360p24_gop2s)
            encode "$1" 404 30 "$(bunny)" -vf scale=640:360 "${bt709[@]}" -c:v libx265 -preset fast \
                -x265-params keyint=48:min-keyint=48:scenecut=0:open-gop=0:bframes=4:repeat-headers=1:log-level=error \
                -b:v 350k "${aac[@]}" ;;
        # 10 bit, open GOP, scene cuts, no audio.
        bbb_hevc_main10_360p24_opengop)
            encode "$1" 404 15 "$(bunny)" -vf scale=640:360 -an "${bt709[@]}" -c:v libx265 -preset fast -pix_fmt yuv420p10le \
                -x265-params keyint=48:min-keyint=12:scenecut=40:open-gop=1:bframes=4:repeat-headers=1:aud=1:log-level=error \
                -b:v 500k ;;
        # As in DVB: interlaced, top field first, open GOP of 12, MP2.
        bbb_mpeg2_576i25_tff)
            encode "$1" 251 11 "$(bunny)" \
                -vf "fps=50,scale=720:576:flags=bicubic,interlace=scan=tff:lowpass=linear,setfield=tff,setsar=64/45" \
                -r 25 "${bt709[@]}" -c:v mpeg2video -flags +ilme+ildct -g 12 -bf 2 -b:v 1200k -maxrate 4M \
                -bufsize 1835k -sc_threshold 1000000000 -c:a mp2 -b:a 128k -ar 48000 ;;
        # Fades and black, which are not cuts.
        sintel_fades_h264_360p24)
            encode "$1" 0 42 "$(sintel)" -vf scale=640:-2,pad=640:360:-1:-1 -c:v libx264 -preset medium -g 250 -bf 3 \
                -b:v 180k -maxrate 400k -bufsize 800k "${aac[@]}" ;;
        # Two sizes on the same PIDs, as when an encoder changes its size.
        bbb_h264_resolution_change)
            local size
            for size in 320x180 480x270; do
                encode "$1.$size" 407 3 "$(bunny)" -an -vf "scale=${size/x/:}" -c:v libx264 -preset medium -g 48 -bf 2 -crf 32 \
                    -output_ts_offset "$([ "$size" = 320x180 ] && echo 0 || echo 3)"
            done
            cat "fixtures/$1".{320x180,480x270}.ts >"fixtures/$1.ts"
            rm "fixtures/$1".{320x180,480x270}.ts ;;
        *)
            echo "make-fixtures: there is no clip $1" >&2
            return 2 ;;
    esac
}

all=(bbb_h264_bframes_scenecut_360p24 bbb_h264_zerolatency_360p30_gop2s bbb_hevc_360p24_gop2s
    bbb_hevc_main10_360p24_opengop bbb_mpeg2_576i25_tff sintel_fades_h264_360p24 bbb_h264_resolution_change)
[ $# -gt 0 ] || set -- "${all[@]}"
for clip in "$@"; do
    make_clip "$clip"
done
