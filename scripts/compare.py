#!/usr/bin/env python3
"""Measures scenetap and the installed peers side by side, and writes docs/PERFORMANCE.md.

    compare.py [--film FILE.ts] [--live FILE.ts] [--old-system FILE.py] [--runs 5] [--out DIR] [--only-still]

Each peer runs in turn with scenetap, RUNS times after one warm-up run. Prints the median and the range of
the ratios of the pairs. Machines differ and are noisy: only ratios within one run are meaningful. Without
--film, a film of ten minutes is made from a fixture; without --live, a minute of 1080p30 is encoded from
the film. Peers: ffmpeg's select filter, with its default threads and with one; PySceneDetect (`scenedetect`)
and av-scenechange, if they are installed. scripts/compare_live.py measures live streams,
scripts/compare_still.py stills and clips; with --only-still, only stills and clips are measured, and the rest
of the page is kept.
"""

import argparse
import datetime
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import compare_live
import compare_still

ROOT = Path(__file__).resolve().parent.parent
SCENETAP = ROOT / "target/release/scenetap"
RULE = r"isnan(prev_selected_t)+gt(scene\,0.3)+gte(t-prev_selected_t\,30)"


class Peer:
    """A command that does the same job. `{film}` and `{out}` stand for the input and a folder."""

    def __init__(self, name, command, slow=False):
        self.name, self.command = name, command
        # Measured at most three times.
        self.slow = slow


def ffmpeg(name, threads):
    select = f"select='{RULE}'"
    command = ["ffmpeg", "-v", "error", "-nostdin", *threads, "-i", "{film}", "-map", "0:v:0"]
    command += ["-vf", select, "-fps_mode", "vfr", "-q:v", "2", "{out}/F%04d.jpg"]
    return Peer(name, command)


def peers():
    found = [
        ffmpeg("ffmpeg, default threads", []),
        ffmpeg("ffmpeg -threads 1", ["-threads", "1"]),
        Peer("scenetap --jobs 1", scan_command(1)),
    ]
    if shutil.which("scenedetect"):
        for detector in ("content", "adaptive"):
            command = ["scenedetect", "-q", "-i", "{film}", "-o", "{out}", f"detect-{detector}"]
            found.append(Peer(f"scenedetect {detector}", command + ["save-images", "-n", "1"], slow=True))
    if shutil.which("av-scenechange"):
        # av-scenechange reads only raw video, and writes no pictures.
        decode = "ffmpeg -v error -nostdin -i {film} -f yuv4mpegpipe -strict -1 -"
        found.append(Peer("av-scenechange", ["sh", "-c", f"{decode} | av-scenechange -"], slow=True))
    return found


def scan_command(jobs=None):
    command = [str(SCENETAP), "-q", "scan", "--frames-dir", "{out}"]
    return command + (["--jobs", str(jobs)] if jobs else []) + ["{film}"]


def run(command, film):
    """Returns wall and CPU seconds, peak memory in MiB, and the number of JPEGs written."""
    with tempfile.TemporaryDirectory() as out:
        command = [part.replace("{film}", str(film)).replace("{out}", out) for part in command]
        start = datetime.datetime.now()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        log = child.stderr.read()
        _, status, used = os.wait4(child.pid, 0)
        wall = (datetime.datetime.now() - start).total_seconds()
        if status != 0:
            sys.exit(f"compare: {' '.join(command)}: status {status}: {log.decode()[-300:]}")
        return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, len(list(Path(out).rglob("*.jpg")))


def version(command):
    output = subprocess.run(command, capture_output=True, text=True)
    return (output.stdout + output.stderr).splitlines()[0].split(" Copyright")[0]


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def measure(film, runs):
    rows = []
    for peer in peers():
        pairs = []
        for number in range((min(runs, 3) if peer.slow else runs) + 1):
            pair = (run(peer.command, film), run(scan_command(), film))
            if number:
                pairs.append(pair)
            print(f"{peer.name}: {pair[0][0]:.2f} s, scenetap: {pair[1][0]:.2f} s", file=sys.stderr)
        wall = [theirs[0] / ours[0] for theirs, ours in pairs]
        cpu = [ours[1] / theirs[1] for theirs, ours in pairs]
        rows.append((peer, pairs, wall, cpu))
    return rows


def svg(rows):
    """Returns a bar chart: how much faster scenetap is by the clock, with the range of the pairs."""
    height, left, scale = 26, 190, 150
    largest = max(max(wall) for _, _, wall, _ in rows)
    scale = min(scale, 420 / largest)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + 480}" height="{height * len(rows) + 34}" '
        'font-family="sans-serif" font-size="13">',
        f'<text x="{left}" y="16">times as fast as the peer, by the clock (line: slowest to fastest pair)</text>',
    ]
    for index, (peer, _, wall, _) in enumerate(rows):
        y = 26 + height * index
        middle = statistics.median(wall)
        lines += [
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{peer.name}</text>',
            f'<rect x="{left}" y="{y + 2}" width="{middle * scale:.1f}" height="18" fill="#4a7ba6"/>',
            f'<line x1="{left + min(wall) * scale:.1f}" x2="{left + max(wall) * scale:.1f}" y1="{y + 11}" '
            f'y2="{y + 11}" stroke="#222" stroke-width="2"/>',
            f'<text x="{left + max(max(wall), middle) * scale + 6:.1f}" y="{y + 15}">{middle:.2f}</text>',
        ]
    x = left + scale
    lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="24" y2="{26 + height * len(rows)}" stroke="#999" stroke-dasharray="3"/>')
    return "\n".join(lines + ["</svg>"]) + "\n"


def describe(film):
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets", "-show_entries"]
    probe += ["stream=codec_name,width,height,nb_read_packets", "-of", "csv=p=0", str(film)]
    codec, width, height, pictures = subprocess.run(probe, capture_output=True, text=True).stdout.split("\n")[0].split(",")[:4]
    return f"{film.name}: {codec}, {width}x{height}, {pictures} pictures, {film.stat().st_size / 2**20:.0f} MiB"


def cpu_model():
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1) if found else platform.machine()


def make_film(folder):
    """Makes a film of about ten minutes by repeating a fixture, without encoding."""
    film = folder / "film.ts"
    if not film.exists():
        clip = ROOT / "fixtures/bbb_h264_bframes_scenecut_360p24.ts"
        copy = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-stream_loop", "29", "-i", str(clip)]
        subprocess.run(copy + ["-map", "0:v", "-c", "copy", str(film)], check=True)
    return film


def make_live(film, folder):
    """Encodes a minute of the film like a live encoder: 1080p30, no delay, constant rate."""
    live = folder / "live.ts"
    encode = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", str(film), "-t", "60", "-an"]
    encode += ["-vf", "scale=1920:1080:flags=bicubic,fps=30", "-c:v", "libx264", "-preset", "veryfast"]
    encode += ["-tune", "zerolatency", "-g", "60", "-keyint_min", "60", "-sc_threshold", "0", "-b:v", "5M"]
    subprocess.run(encode + ["-maxrate", "5M", "-bufsize", "5M", "-muxrate", "6M", str(live)], check=True)
    return live


def report(film, rows):
    ours = [pair[1] for _, pairs, _, _ in rows for pair in pairs]
    text = ["# Performance", ""]
    text.append("Written by `make compare`. Comparisons are ratios of two programs that ran in turn on the same file.")
    text += ["", f"- **Machine**: {os.cpu_count()} cores, {cpu_model()}, {platform.system()} {platform.release()}, "
             f"{datetime.date.today()}", f"- **File**: {describe(film)}"]
    text.append(f"- **Programs**: {version([str(SCENETAP), '--version'])}; {version(['ffmpeg', '-version'])}")
    text.append(f"- **scenetap** on all cores: median {statistics.median(run[0] for run in ours):.2f} s, "
                f"{statistics.median(run[1] for run in ours):.2f} s of CPU time, at most "
                f"{max(run[2] for run in ours):.0f} MiB, {ours[0][3]} JPEGs")
    text += ["", "| peer | times as fast, by the clock | scenetap's CPU time / peer's | memory, MiB | JPEGs |", "|---|---|---|---|---|"]
    for peer, pairs, wall, cpu in rows:
        text.append(f"| {peer.name} | {spread(wall)} | {spread(cpu)} | {max(theirs[2] for theirs, _ in pairs):.0f} | "
                    f"{pairs[0][0][3]} |")
    text += ["", "Median of the pairs, and their range in parentheses.", "", "![Speed by the clock](performance.svg)", "",
             "Commands (`{film}` is the file, `{out}` an empty folder):", ""]
    text += [f"    {' '.join(command)}" for command in [scan_command(), *(peer.command for peer, *_ in rows)]]
    return "\n".join(text).replace(str(ROOT) + "/", "") + "\n"


def with_section(page, lines):
    """Replaces a section of the page, or inserts it in front of the section about live streams."""
    text = "\n".join(lines) + "\n"
    kept = re.sub(rf"{re.escape(lines[0])}\n.*?(?=^## )", "", page, flags=re.DOTALL | re.MULTILINE)
    return kept.replace("## Live", text + "## Live", 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--film", type=Path)
    parser.add_argument("--live", type=Path)
    parser.add_argument("--old-system", type=Path, help="script of the system that scenetap replaces")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--only-still", action="store_true")
    options = parser.parse_args()
    folder = ROOT / "target/compare"
    folder.mkdir(parents=True, exist_ok=True)
    film = options.film or make_film(folder)
    stills = compare_still.report(str(SCENETAP), film, folder, options.runs)
    page = options.out / "PERFORMANCE.md"
    if options.only_still:
        page.write_text(with_section(page.read_text(), stills))
        return
    rows = measure(film, options.runs)
    live = options.live or make_live(film, folder)
    sections = compare_live.report(str(SCENETAP), live, RULE, options.runs, options.old_system)
    page.write_text(report(film, rows) + "\n".join(stills + sections) + "\n")
    (options.out / "performance.svg").write_text(svg(rows))


if __name__ == "__main__":
    main()
