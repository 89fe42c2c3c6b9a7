"""Two network namespaces of this machine, joined by a cable of limited bandwidth, and one process in each.

    sudo python namespaces.py DIR    measures steps of a run distributed with --workers 2, over each of LINKS

Needs Linux, root, `ip` and `tc` with a token bucket (tbf). Leaves no namespace behind. Delays would need netem, which the kernel
of the machine that made the committed figures does not have.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = ["sorthA", "sorthB"]
LINKS = [50, 20, 10]
"""Megabits a second."""


def run(*words: str) -> None:
    subprocess.run(words, check=True)


def open_cable() -> None:
    close_cable()
    for name in NAMES:
        run("ip", "netns", "add", name)
    run("ip", "link", "add", "sorth0", "netns", NAMES[0], "type", "veth", "peer", "name", "sorth1", "netns", NAMES[1])
    for i, name in enumerate(NAMES):
        run("ip", "-n", name, "addr", "add", f"10.77.0.{i + 1}/24", "dev", f"sorth{i}")
        run("ip", "-n", name, "link", "set", f"sorth{i}", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")


def shape(megabits: int) -> None:
    """Both ends send at this rate."""
    for i, name in enumerate(NAMES):
        bucket = ("tbf", "rate", f"{megabits}mbit", "burst", "16kb", "limit", "4mb")
        run("tc", "-n", name, "qdisc", "replace", "dev", f"sorth{i}", "root", *bucket)


def close_cable() -> None:
    for name in NAMES:
        subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)


def both(*words: str) -> dict:
    """Runs measure.py in both namespaces; returns what the first one prints."""
    started = []
    for i, name in enumerate(NAMES):
        environment = {
            **os.environ, "GLOO_SOCKET_IFNAME": f"sorth{i}", "OMP_NUM_THREADS": "1",
            "MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29577", "WORLD_SIZE": "2", "RANK": str(i), "LOCAL_RANK": "0",
        }  # fmt: skip
        command = ["ip", "netns", "exec", name, sys.executable, str(HERE / "measure.py"), *words]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate(timeout=300)[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a process failed in its namespace")
    return json.loads(outputs[0].strip().splitlines()[-1])


def main() -> None:
    folder = sys.argv[1]
    steps = sys.argv[2] if len(sys.argv) > 2 else "40"
    open_cable()
    try:
        for megabits in LINKS:
            shape(megabits)
            print(json.dumps({"megabits": megabits, **both("steps", folder, steps)}), flush=True)
    finally:
        close_cable()


if __name__ == "__main__":
    main()
