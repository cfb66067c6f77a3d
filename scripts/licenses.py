#!/usr/bin/env python3
"""Prints the licenses of the crates that are linked into the program, with their texts.

Each text is printed once, after the names of its crates. A crate whose package contains no text
is listed with the name of its license. FFmpeg's license is in a file of its own.
"""

import collections
import html
import json
import pathlib
import re
import subprocess
import sys

TARGET = "x86_64-unknown-linux-gnu"
NAMES = ("license", "licence", "licenses", "copying", "copyright", "notice", "unlicense", "readme.ijg")

LIBRARY_LICENSES = ("Apache-2.0", "MIT", "BSD-2-Clause", "ISC", "LLVM-exception", "NCSA", "Unicode-3.0", "Unlicense")


def linked_packages(metadata):
    """Returns the packages that the program depends on, except build and test dependencies."""
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
    """Returns the license texts of a package, including bundled sources (libjpeg-turbo)."""
    folder = pathlib.Path(package["manifest_path"]).parent
    found = {}
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if path.is_file() and path.suffix not in (".rs", ".c", ".h", ".asm", ".html") and is_license(below):
            found[str(below)] = path.read_text(errors="replace").strip()
    return found


def is_license(path):
    """Returns whether the name of a file, or of one of its folders, is that of a license (LICENSES/MIT.txt)."""
    return any(part.lower() in NAMES or part.lower().replace("_", "-").split(".")[0].split("-")[0] in NAMES for part in path.parts)


def of_toolchain():
    """Returns the license texts of Rust's standard library, if the toolchain contains them."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    folder = pathlib.Path(sysroot) / "share/doc/rust"
    found = {}
    # The list of its parts with their authors, and the texts that the list names.
    names = ["COPYRIGHT-library.html", *(f"licenses/{name}.txt" for name in LIBRARY_LICENSES)]
    for path in (folder / name for name in names):
        if path.is_file():
            text = path.read_text(errors="replace")
            if path.suffix == ".html":
                text = html.unescape(re.sub(r"<[^>]*>", "", text))
                text = re.sub(r"\n\s*\n+", "\n\n", text)
            found[path.name] = text.strip()
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
    for name, text in of_toolchain().items():
        users[text].append(f"Rust's standard library ({name})")
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
