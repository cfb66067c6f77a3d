"""Measures `still` and `clip`, compared with ffmpeg; a part of scripts/compare.py."""

import json
import random
import shutil
import statistics
import subprocess
import time

# Number of films in the long recording.
REPEATS = 60
MOMENTS = 8


def seconds(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def session(folder, name, film, repeats):
    """Makes a session from `film`. The first `still` builds its index of key frames."""
    stream = folder / name / "stream"
    shutil.rmtree(folder / name, ignore_errors=True)
    stream.mkdir(parents=True)
    (folder / name / "frames").mkdir()
    with open(stream / "recording.ts", "wb") as recording:
        for _ in range(repeats):
            with open(film, "rb") as source:
                shutil.copyfileobj(source, recording, 1 << 20)
    return folder / name


def output(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def measure(scenetap, target, folder, runs):
    """Returns rows of (time, seconds from the access point, still, ffmpeg, clip)."""
    picture, clip = str(folder / "still.jpg"), str(folder / "clip.ts")
    still = [scenetap, "-q", "still", str(target), "-o", picture]
    # This first `still` builds the index.
    newest = output(still + ["--at", "-0", "--json"])["timestamp"]
    rows = []
    for _ in range(MOMENTS):
        at = random.uniform(10, newest - 40)
        shown = output(still + ["--at", f"{at:.3f}", "--json"])["timestamp"]
        cut = [scenetap, "-q", "clip", str(target), "-o", clip, "--from", f"{at:.3f}", "--to"]
        part = output(cut + [f"{at + 1:.3f}", "--json"])
        from_key_frame = shown - part["from"]
        select = f"select=gte(t\\,{from_key_frame - 0.001:.6f})"
        theirs = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-threads", "1", "-i", clip]
        theirs += ["-map", "0:v:0", "-vf", select, "-frames:v", "1", "-q:v", "2", picture]
        pairs = [(seconds(still + ["--at", f"{at:.3f}"]), seconds(theirs)) for _ in range(runs)]
        ours, its = (statistics.median(pair[n] for pair in pairs) for n in (0, 1))
        thirty = statistics.median(seconds(cut + [f"{at + 30:.3f}"]) for _ in range(runs))
        rows.append((at, from_key_frame, ours, its, thirty))
    return rows


def report(scenetap, film, folder, runs):
    """Returns the lines of the section in docs/PERFORMANCE.md."""
    random.seed(22)
    lines = ["## Any moment", ""]
    lines += ["`still` at random times, compared with `ffmpeg -threads 1`, which decodes from the same key frame to the same"]
    lines += ["picture but does not have to find them; and `clip` of 30 seconds. Medians, in ms:", ""]
    lines += ["| recording | at, s | from the key frame, s | still | ffmpeg | still / ffmpeg | clip |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, repeats in (("the film", 1), (f"{REPEATS} films in a row", REPEATS)):
        target = session(folder, "still", film, repeats)
        for at, key_frame, ours, its, clip in measure(scenetap, target, folder, runs):
            times = " | ".join(f"{1000 * value:.0f}" for value in (ours, its))
            lines.append(f"| {name} | {at:.0f} | {key_frame:.2f} | {times} | {ours / its:.2f} | {1000 * clip:.0f} |")
        shutil.rmtree(target)
    return lines + [""]
