"""Write requirements/ros.txt: what requirements/ros.in resolves to, each file pinned by its hash.

The wheels come from a third party, so a name and a version are not enough. One resolution is made
for each supported Python (3.10 to 3.12, x86-64); the hashes are merged.
Run it with any Python that has pip: ``python tools/pin_ros.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

PYTHONS = ("3.10", "3.11", "3.12")
ON_OLD_PYTHON = 'tomli==2.2.1 ; python_version < "3.11"'
# colcon-core asks for these for `colcon test`, which nothing here calls.
UNUSED = {"coverage", "pytest-cov", "pytest-repeat", "pytest-rerunfailures"}
HERE = Path(__file__).resolve().parent.parent / "requirements"


def report(*arguments: str) -> list[dict[str, Any]]:
    """Return what pip would install for `arguments`, each with its file's hash."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
    command += ["--quiet", "--report", "-", *arguments]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return list(json.loads(printed)["install"])


def main() -> None:
    names = [
        f"{item['metadata']['name'].lower()}=={item['metadata']['version']}"
        for item in report("--requirement", str(HERE / "ros.in"))
        if item["metadata"]["name"].lower() not in UNUSED
    ]
    # tomli is asked for by Pythons older than the one that resolves.
    names += [ON_OLD_PYTHON.partition(" ")[0]]
    source_only = [name for name in names if name.startswith("empy==")]
    wheels = [name for name in names if name not in source_only]

    hashes: dict[str, set[str]] = defaultdict(set)
    found = report("--no-deps", *source_only)
    for python in PYTHONS:
        target = ["--no-deps", "--only-binary", ":all:", "--target", "unused"]
        target += ["--python-version", python, "--implementation", "cp"]
        for platform in ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"):
            target += ["--platform", platform]
        found += report(*target, *wheels)
    for item in found:
        pin = f"{item['metadata']['name'].lower()}=={item['metadata']['version']}"
        hashes[pin].add(item["download_info"]["archive_info"]["hashes"]["sha256"])

    lines = ["# Written by tools/pin_ros.py from ros.in. Install with --require-hashes --no-deps."]
    for pin in sorted(hashes):
        requirement = ON_OLD_PYTHON if ON_OLD_PYTHON.startswith(pin) else pin
        digests = " ".join(f"--hash=sha256:{digest}" for digest in sorted(hashes[pin]))
        lines.append(f"{requirement} {digests}")
    (HERE / "ros.txt").write_text("\n".join(lines) + "\n")
    print(f"requirements/ros.txt: {len(hashes)} packages for Python {', '.join(PYTHONS)}")


if __name__ == "__main__":
    main()
