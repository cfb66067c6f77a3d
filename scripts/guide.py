#!/usr/bin/env python3
"""Runs the commands of docs/GUIDE.md and writes their output below them.

    guide.py            write docs/GUIDE.md
    guide.py --check    compare instead; exit status 1 if something differs

The commands are the lines that begin with "$ " in its `console` blocks. They run one after the other in one
shell, in an empty folder with `clip.ts`, a clip of the fixtures. mpv has neither window nor sound. The program
is SCENETAP, or the optimized build. Times of day, the temporary folder and ports are replaced, because they
differ between runs.
"""

import difflib
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs/GUIDE.md"
CLIP = ROOT / "fixtures/bbb_h264_bframes_scenecut_360p24.ts"
# Timeout of a command; no command takes nearly as long.
TIMEOUT_S = 120
PORT = "4444"


class Shell:
    """A shell that runs one command after the other."""

    def __init__(self, folder, program):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        commands, home = folder / "bin", folder / "mpv"
        commands.mkdir()
        home.mkdir()
        (commands / "scenetap").symlink_to(program)
        (home / "mpv.conf").write_text("vo=null\nao=null\n")
        self.folder = folder / "walk"
        self.folder.mkdir()
        shutil.copy(CLIP, self.folder / "clip.ts")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SCENETAP_")}
        environment = kept | {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "MPV_HOME": str(home),
            "XDG_RUNTIME_DIR": str(folder),
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "SCENETAP_LISTEN": f"127.0.0.1:{self.port}",
            "SCENETAP_CONFIG": "",
        }
        self.process = subprocess.Popen(
            ["bash", "--norc"], cwd=self.folder, env=environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def run(self, command):
        """Returns the lines that a command prints."""
        mark = "end of this command"
        line = f"{command.replace(':' + PORT, ':' + self.port)}\necho '{mark}'\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        printed, deadline = b"", time.monotonic() + TIMEOUT_S
        while mark.encode() + b"\n" not in printed:
            left = deadline - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                sys.exit(f"guide: {command}: does not end; it has printed:\n{printed.decode()}")
            piece = self.process.stdout.read()
            if piece == b"":
                sys.exit(f"guide: {command}: the shell has ended:\n{printed.decode()}")
            printed += piece or b""
        return self.settled(printed.decode().replace(mark + "\n", "")).splitlines()

    def settled(self, text):
        """Replaces text that differs between runs."""
        text = text.replace(str(self.folder), "/walk").replace(":" + self.port, ":" + PORT)
        text = re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "2026-11-30T12:00:00Z", text)
        text = re.sub(r"(127\.0\.0\.1:)(?!4444\b)\d+", r"\g<1>50000", text)
        return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)

    def end(self):
        """Kills the shell and all processes that it has started."""
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass


def walk(text, shell):
    """Returns the guide with the current output of its commands."""
    written, in_console, skipping = [], False, False
    for line in text.splitlines():
        if line.startswith("```"):
            in_console, skipping = line == "```console", False
        if in_console and line.startswith("$ "):
            written.append(line)
            written.extend(shell.run(line[2:]))
            skipping = True
        elif not (in_console and skipping):
            written.append(line)
    return "\n".join(written) + "\n"


def main():
    program = os.environ.get("SCENETAP")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = Path(program).resolve() if program else (ROOT / target / "release/scenetap").resolve()
    for needed in [program, "mpv", "jq"]:
        if not shutil.which(needed):
            sys.exit(f"guide: {needed}: not found")
    old = GUIDE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(Path(folder).resolve(), program)
        try:
            new = walk(old, shell)
        finally:
            shell.end()
    if "--check" not in sys.argv[1:]:
        GUIDE.write_text(new)
        print(f"{GUIDE.relative_to(ROOT)}: {'unchanged' if new == old else 'written'}")
        return 0
    difference = list(difflib.unified_diff(
        old.splitlines(), new.splitlines(), "docs/GUIDE.md", "what the commands print", lineterm=""))
    print("\n".join(difference))
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
