"""Measures a recorder while streams arrive; a part of scripts/compare.py.

Each function returns a list of lines of Markdown. A live stream is sent at its own pace by `scenetap send`.
"""

import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


class Recorder:
    """A recorder in a folder of its own, on a free port. Ends when its sender leaves."""

    def __init__(self, program, folder, *options):
        command = [program, *options, "record", "--listen", "127.0.0.1:0", "--sessions-dir", str(folder)]
        command += ["--session", "s", "--once"]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in self.child.stderr:
            if "listening on" in line:
                self.port = int(line.rsplit(":", 1)[1])
                break
        self.log = []
        self.reader = threading.Thread(target=lambda: self.log.extend(self.child.stderr))
        self.reader.start()

    def cpu(self):
        """Returns the CPU seconds that the recorder has used so far."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * TICK

    def bytes_written(self):
        text = Path(f"/proc/{self.child.pid}/io").read_text()
        return int(re.search(r"wchar: (\d+)", text).group(1))

    def end(self):
        """Waits until the recorder has ended. Returns its resource usage."""
        _, status, used = os.wait4(self.child.pid, 0)
        self.reader.join()
        if status != 0:
            raise SystemExit(f"compare: the recorder ended with status {status}: {''.join(self.log)[-500:]}")
        return used

    def latency(self):
        """Returns p50, p95, p99.9 and the largest latency in ms, and the whole table of `record -v`."""
        text = "".join(self.log)
        table = text[text.index("latency of"):].splitlines()
        end = next(number for number, line in enumerate(table) if line.split()[:1] == ["all"])
        return [float(word) for word in table[end].split()[1:]], table[: end + 1]


def send(program, file, port):
    return subprocess.Popen([program, "-q", "send", "--to", f"127.0.0.1:{port}", str(file)])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_of(command):
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"compare: {' '.join(command)}: status {status}")
    return used.ru_utime + used.ru_stime


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def cpu(program, file, rule, runs, old_system):
    """CPU time of one live stream, compared with ffmpeg with one thread, at full speed and at the same pace."""
    at_once, paced, old, ours = [], [], [], []
    for number in range(runs):
        with tempfile.TemporaryDirectory() as out:
            decode = ["-threads", "1", "-i", str(file), "-map", "0:v:0", "-vf", f"select='{rule}'"]
            decode += ["-fps_mode", "vfr", "-q:v", "2", f"{out}/F%04d.jpg"]
            at_once.append(cpu_of(["ffmpeg", "-v", "error", "-nostdin", *decode]))
            paced.append(cpu_of(["ffmpeg", "-v", "error", "-nostdin", "-y", "-re", *decode]))
            recorder = Recorder(program, Path(out) / "sessions")
            send(program, file, recorder.port).wait()
            used = recorder.end()
            ours.append(used.ru_utime + used.ru_stime)
            # Three runs are enough: each takes long, and the difference is large.
            if old_system and number < 3:
                old.append(cpu_of_old_system(old_system, program, file, Path(out) / "old"))
    lines = [
        "| CPU time of one live stream, compared with | ratio |",
        "|---|---|",
        f"| `ffmpeg -threads 1` on the file in one go | {spread([a / b for a, b in zip(ours, at_once)])} |",
        f"| `ffmpeg -re -threads 1`: the same, at the pace of the stream | {spread([a / b for a, b in zip(ours, paced)])} |",
    ]
    if old:
        lines.append(f"| the system that scenetap replaces | {spread([a / b for a, b in zip(ours, old)])} |")
    return lines


def cpu_of_old_system(script, program, file, folder):
    """CPU seconds of the system that runs ffmpeg on the growing file every ten seconds."""
    port = free_port()
    child = subprocess.Popen(["python3", str(script), str(port), str(folder)], stderr=subprocess.DEVNULL)
    time.sleep(2)
    send(program, file, port).wait()
    _, status, used = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"compare: {script}: status {status}")
    return used.ru_utime + used.ru_stime


def wakeups(stop, late):
    """An idle loop that records how late each sleep of 1 ms ends, in ms."""
    while not stop.is_set():
        before = time.monotonic()
        time.sleep(0.001)
        late.append((time.monotonic() - before - 0.001) * 1000)


def latency(program, file):
    """Latency of live frames by stage. A scene threshold of 0.01 keeps more frames than a film has scenes."""
    stop, late = threading.Event(), []
    idle = threading.Thread(target=wakeups, args=(stop, late))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SCENETAP_SCENE_THRESHOLD"] = "0.01"
        recorder = Recorder(program, Path(folder), "-v")
        del os.environ["SCENETAP_SCENE_THRESHOLD"]
        idle.start()
        send(program, file, recorder.port).wait()
        recorder.end()
    stop.set()
    idle.join()
    late.sort()
    _, table = recorder.latency()
    title = re.sub(r"^.*(latency of .*)$", r"\1", table[0])
    worst = f"An idle loop in the same run woke up late by {late[len(late) // 2]:.1f} ms (p50), "
    worst += f"{late[int(len(late) * 0.999)]:.1f} ms (p99.9), {late[-1]:.1f} ms (max)."
    return ["    " + title, *("    " + line for line in table[1:]), "", worst]


def idle(program, seconds=30):
    """Share of a core that a recorder without a sender uses."""
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(program, Path(folder))
        time.sleep(1)
        before = recorder.cpu()
        time.sleep(seconds)
        share = (recorder.cpu() - before) / seconds
        recorder.child.terminate()
        recorder.child.wait()
        recorder.reader.join()
    return [f"A recorder that waits for a sender uses {100 * share:.2f} % of a core ({seconds} s)."]


def capacity(program, file, counts=(2, 4, 6, 8, 10, 12)):
    """How many live streams this machine carries: every recorder's 95th percentile stays below a second."""
    lines = ["| live streams at once | largest p95 of a frame, ms | cores used by the recorders |", "|---|---|---|"]
    carried = 0
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            recorders = [Recorder(program, Path(folder) / str(number), "-v") for number in range(count)]
            senders = [send(program, file, recorder.port) for recorder in recorders]
            used = [recorder.end() for recorder in recorders]
            elapsed = time.monotonic() - started
            [sender.wait() for sender in senders]
        cores = sum(one.ru_utime + one.ru_stime for one in used) / elapsed
        p95 = max(recorder.latency()[0][1] for recorder in recorders)
        lines.append(f"| {count} | {p95:.0f} | {cores:.2f} |")
        if p95 > 1000:
            break
        carried = count
    return [f"This machine carries {carried} streams at once, the senders included:", "", *lines]


def ingest(program, mib, runs):
    """Speed of recording packets without video, compared with socat."""
    if not shutil.which("socat"):
        return ["socat is not installed: ingest was not measured."]
    packets = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 4096
    count = mib * 2**20 // len(packets)
    ratios, peak = [], 0

    def push(port):
        for _ in range(500):
            try:
                connection = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        started = time.monotonic()
        for _ in range(count):
            connection.sendall(packets)
        connection.shutdown(socket.SHUT_WR)
        return started

    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            recorder = Recorder(program, Path(folder))
            started = push(recorder.port)
            peak = max(peak, recorder.end().ru_maxrss / 1024)
            ours = time.monotonic() - started
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            peer = subprocess.Popen(["socat", "-u", f"TCP-LISTEN:{port},reuseaddr", f"OPEN:{folder}/out.ts,creat"])
            started = push(port)
            peer.wait()
            ratios.append((time.monotonic() - started) / ours)
    return [f"{mib} MiB of padding packets: {spread(ratios)} times as fast as `socat -u TCP-LISTEN:… OPEN:file`, "
            f"at most {peak:.0f} MiB of memory."]


def long_session(program, hours=10, parts=10):
    """Cost of each hour of stream in a session of ten hours with a frame every ten seconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "long.ts"
        scenes = r"hue=H='if(lt(mod(t\,20)\,10)\,0\,PI)':s='if(lt(mod(t\,20)\,10)\,1\,0)':b='if(lt(mod(t\,20)\,10)\,0\,8)'"
        make = ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i"]
        make += [f"testsrc2=s=128x96:r=5:d={hours * 3600},{scenes}", "-c:v", "libx264", "-preset", "ultrafast"]
        subprocess.run(make + ["-g", "25", "-crf", "40", "-f", "mpegts", "-muxrate", "100k", str(file)], check=True)
        recorder = Recorder(program, Path(folder) / "sessions")
        index = Path(folder) / "sessions/s/frames/index.json"
        rows = [(recorder.cpu(), recorder.bytes_written())]
        size = file.stat().st_size // parts
        with file.open("rb") as source, socket.create_connection(("127.0.0.1", recorder.port)) as connection:
            for _ in range(parts):
                connection.sendall(source.read(size))
                # Detection has caught up once the recorder uses no CPU time.
                before, now = -1.0, recorder.cpu()
                while now - before > 2 * TICK:
                    before = now
                    time.sleep(0.4)
                    now = recorder.cpu()
                resident = int(Path(f"/proc/{recorder.child.pid}/statm").read_text().split()[1]) // 256
                rows.append((now, recorder.bytes_written(), resident, index.stat().st_size))
        recorder.end()
    lines = ["| hour | CPU, s | written, MiB, without the index | index, MiB at its end | memory, MiB |", "|---|---|---|---|---|"]
    frames = hours * 360 // parts
    for number, (before, row) in enumerate(zip(rows, rows[1:]), 1):
        start = before[3] if len(before) > 3 else 0
        written = row[1] - before[1] - frames * (start + row[3]) / 2
        lines.append(f"| {number * hours / parts:.0f} | {row[0] - before[0]:.2f} | {written / 2**20:.0f} | "
                     f"{row[3] / 2**20:.2f} | {row[2]} |")
    return lines


def report(program, file, rule, runs, old_system):
    """Runs everything. Returns the sections."""
    name = Path(file).name
    sections = [
        (f"Live: {name} at its own pace", cpu(program, file, rule, runs, old_system)),
        ("Latency, from the arrival of the bytes that release a picture", latency(program, file)),
        ("Idle", idle(program)),
        ("How many streams", capacity(program, file)),
        ("Ingest", ingest(program, 1024, runs)),
        ("A long session", long_session(program)),
    ]
    lines = []
    for title, body in sections:
        lines += ["", f"## {title}", "", *body]
    return lines
