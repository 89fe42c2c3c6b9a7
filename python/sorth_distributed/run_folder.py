"""The folder of a run: checkpoints, `run.json`, `model.onnx` and `run.jsonl`, as `sorth-onnx train` keeps them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .checkpoints import copy_safely, is_alive, write_safely
from .contract import Contract
from .data import whole_path
from .errors import RunError
from .position import json_text
from .restarts import launch


class RunLog:
    """`run.jsonl`: one event a line. Steps are written once a second, other events at once."""

    def __init__(self, folder: Path, resumed: bool) -> None:
        self._path = folder / "run.jsonl"
        self._lines: list[str] = []
        self._written = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        # Begun with its first event: a run that is refused leaves nothing.
        self._mode = "a" if resumed else "w"
        if not resumed:
            return
        if self._path.exists() and self._path.read_bytes()[-1:] not in (b"", b"\n"):
            # A killed run may have left half a line: start on a new one.
            self._lines.append("\n")

    def add(self, event: Mapping[str, Any]) -> None:
        """Adds an event."""
        self._lines.append(json_text(event) + "\n")
        if event["event"] != "step" or time.monotonic() - self._written > 1:
            self.flush()

    def flush(self) -> None:
        """Writes what is held back."""
        if not self._lines:
            return
        with self._path.open(self._mode, encoding="utf-8") as file:
            file.write("".join(self._lines))
        self._mode, self._lines, self._written = "a", [], time.monotonic()


def forget_after(folder: Path, step: int) -> None:
    """Leaves out of `run.jsonl` what came after a step: a restarted run does it again."""
    path = folder / "run.jsonl"
    if not path.exists():
        return

    def stays(line: str) -> bool:
        try:
            event = json.loads(line)
        except ValueError:
            return False
        return bool(event.get("step", 0) <= step and event.get("event") != "end")

    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if stays(line)]
    write_safely(path, ["".join(f"{line}\n" for line in kept).encode()])


class RunLock:
    """Keeps other processes of this machine from training in the folder at the same time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "run.lock"
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                with self._path.open("x") as file:
                    owner = {"process": os.getpid(), "host": socket.gethostname(), "launch": launch()}
                    file.write(json_text(owner) + "\n")
                return
            except FileExistsError:
                self._refuse_if_alive(folder)
                self._path.unlink(missing_ok=True)

    def _refuse_if_alive(self, folder: Path) -> None:
        try:
            owner = json.loads(self._path.read_text())
            pid, host, own = int(owner["process"]), owner["host"], owner.get("launch")
        except (OSError, ValueError, KeyError, TypeError):
            return
        if own and own == launch():
            # An attempt of the same launch, whose machine was lost.
            return
        if host == socket.gethostname() and not is_alive(pid):
            return
        raise RunError(
            f'process {pid} on "{host}" trains in "{folder}": wait for its end, or give --checkpoint another folder; '
            f'if no such process runs, delete "{self._path}"'
        )

    def release(self) -> None:
        """Gives the folder free."""
        self._path.unlink(missing_ok=True)


def check_folder(contract: Contract, folder: Path) -> None:
    """Refuses what no run may write into: a file, and what `sorth-onnx distribute` wrote, whose model would be replaced."""
    if folder.is_file():
        raise RunError(f'"{folder}" is a file; give --checkpoint another name')
    graphs = contract.folder.resolve()
    if folder.resolve() in (graphs, graphs / "state"):
        raise RunError(f'"{folder}" was written by sorth-onnx distribute: give --checkpoint another folder')


_RECORDS = {"config.yaml", "model.onnx", "report.html", "run.json", "run.jsonl"}


def check_new(folder: Path, force: bool) -> None:
    """Refuses the folder of an earlier run for a new one."""
    files = [one for one in folder.iterdir() if one.name not in ("run.lock", ".launch")] if folder.is_dir() else []
    names = {one.name for one in files}
    # Nothing can go on from the records of a run that ended before its first checkpoint.
    if names and not force and not ("run.json" in names and names <= _RECORDS):
        raise RunError(
            f'"{folder}" already holds a run; continue it with --resume, give --checkpoint another folder, '
            "or --force to replace it"
        )
    for old in files:
        if old.suffix == ".safetensors":
            old.unlink()


def begin(contract: Contract, folder: Path, data: str, flags: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Writes the model and how the run was started, by which `sorth-onnx train --resume` goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in (contract.folder / "state").iterdir():
        if file.is_dir():
            shutil.copytree(file, folder / file.name, dirs_exist_ok=True)
        elif file.suffix != ".safetensors":
            copy_safely(file, folder / file.name)
    for name in contract.raw["base"]:
        _share(contract.folder / name, folder / name)
    settings = contract.raw["settings"]
    if settings is None:
        return
    words = list(settings["arguments"])
    for key, flag in _FLAGS:
        words = _without(words, flag)
        if flags.get(key) is not None:
            words.append(f"{flag}={flags[key]}")
    words = [*_without(words, "--data"), f"--data={whole_path(data)}"]
    text = json.dumps({**settings, "arguments": words, "data": record}, indent=2, ensure_ascii=False)
    write_safely(folder / "run.json", [f"{text}\n".encode()])


def _share(source: Path, target: Path) -> None:
    """Makes a hard link to a large file that nobody changes, or copies it where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        copy_safely(source, target)


_FLAGS = (
    ("epochs", "--epochs"),
    ("maxSteps", "--max-steps"),
    ("validation", "--validation"),
    ("monitor", "--monitor"),
    ("keep", "--keep"),
    ("earlyStop", "--early-stop"),
    ("minimumChange", "--minimum-change"),
    ("from", "--from"),
)
"""What run.py says itself, and its flags of `sorth-onnx train`."""


def _without(words: list[str], flag: str) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == flag:
            skip = True
        elif not word.startswith(f"{flag}="):
            kept.append(word)
    return kept
