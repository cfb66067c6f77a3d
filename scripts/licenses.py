#!/usr/bin/env python3
"""Prints the licenses of the crates that are linked into the program, with their texts.

Each text is printed once, after the crates that it is for. A crate whose package contains no
text is listed with the name of its license. FFmpeg's license is in a file of its own.
"""

import collections
import json
import pathlib
import subprocess
import sys

TARGET = "x86_64-unknown-linux-gnu"
NAMES = ("license", "licence", "copying", "copyright", "notice", "unlicense")


def linked_packages(metadata):
    """Returns the packages that the program depends on, without those for builds and tests."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    waiting, seen = [metadata["resolve"]["root"]], set()
    while waiting:
        node = nodes[waiting.pop()]
        if node["id"] in seen:
            continue
        seen.add(node["id"])
        for dependency in node["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    seen.remove(metadata["resolve"]["root"])
    return sorted((p for p in metadata["packages"] if p["id"] in seen), key=lambda p: (p["name"], p["version"]))


def texts(package):
    """Returns the license texts of a package, also of what it contains (libjpeg-turbo)."""
    folder = pathlib.Path(package["manifest_path"]).parent
    found = {}
    for path in sorted(folder.glob("*")) + sorted(folder.glob("*/*")):
        if path.is_file() and path.name.lower().split(".")[0].split("-")[0] in NAMES and path.suffix != ".rs":
            found[str(path.relative_to(folder))] = path.read_text(errors="replace").strip()
    return found


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--features", "static", "--filter-platform", TARGET]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = linked_packages(metadata)
    if not packages:
        sys.exit("licenses: the program depends on no package")
    users = collections.defaultdict(list)
    without = []
    for package in packages:
        found = texts(package)
        if not found:
            without.append(package)
        for name, text in found.items():
            users[text].append(f"{package['name']} {package['version']} ({name})")
    print("Licenses of the crates in scenetap, and of what they contain\n")
    for package in packages:
        print(f"  {package['name']} {package['version']}: {package['license'] or 'see its text'}")
    if without:
        print("\nWithout a text in their package:", ", ".join(p["name"] for p in without))
    for text, names in sorted(users.items(), key=lambda item: item[1]):
        print("\n" + "-" * 100)
        print("\n".join(names))
        print("-" * 100 + "\n")
        print(text)


main()
