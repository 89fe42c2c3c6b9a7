"""Whether processes begin a run, or go on with it after some of them died or joined; and checkpoints that only some of them have."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .errors import RunError
from .reducer import Reducer, of_each


def launch() -> str | None:
    """The name that torchrun gives to all attempts of one launch (--rdzv-id); None without one."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if name in ("", "none") else name


def _mark(run: Path) -> Path:
    return run / ".launch"


def is_restart(run: Path | None, reducer: Reducer) -> bool:
    """Whether an earlier attempt of the same launch began the run: the same answer on all processes, also on those that joined."""
    own = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    name = launch()
    if run and name and _mark(run).exists():
        own = own or _mark(run).read_text() == name
    return bool(of_each(reducer, own).any())


def begin_launch(run: Path) -> None:
    """Leaves a mark in the folder of the run, which a later attempt finds."""
    name = launch()
    if name:
        run.mkdir(parents=True, exist_ok=True)
        _mark(run).write_text(name)


def end_launch(run: Path) -> None:
    """The run is at its end: a launch of the same name would be another run."""
    _mark(run).unlink(missing_ok=True)


def is_there(path: Path, reducer: Reducer) -> bool:
    """Whether some process has a file."""
    return _holder(path, reducer) is not None


def _holder(path: Path, reducer: Reducer) -> int | None:
    found = np.flatnonzero(of_each(reducer, path.is_file()))
    return int(found[0]) if found.size > 0 else None


def holder_of(path: Path, reducer: Reducer) -> int:
    """The first process that has a file of a run. Raises RunError where none has it."""
    holder = _holder(path, reducer)
    if holder is None:
        raise RunError(f'"{path}" cannot be read (there is no such file): give the folder of a run')
    return holder


def shared_content(path: Path, reducer: Reducer) -> bytes:
    """The content of a file, on all processes: the first that has it sends it, for machines may not share folders."""
    holder = holder_of(path, reducer)
    content = path.read_bytes() if reducer.rank == holder else b""
    if reducer.size == 1:
        return content
    length = int(of_each(reducer, len(content)).sum())
    array = np.frombuffer(content, np.uint8).copy() if content else np.zeros(length, np.uint8)
    reducer.share(array, holder).wait()
    return array.tobytes()
