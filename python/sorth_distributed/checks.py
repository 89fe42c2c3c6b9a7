"""What a run refuses: options that contradict each other, and checkpoints and data of another run."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .contract import Contract
from .data import Dataset
from .errors import RunError
from .fit_loop import Fit
from .identity import identity_of, same_data
from .position import json_text
from .reducer import of_each

if TYPE_CHECKING:
    from .worker import Worker


def check_options(path: Path, own_text: str, other_text: str) -> None:
    """Refuses a checkpoint of a run with other options."""
    own, other = _meaning(own_text), _meaning(other_text)
    differing = [key for key in sorted({*own, *other}) if own.get(key) != other.get(key)]
    if differing:
        raise RunError(
            f"{path} is of a run with other options ({', '.join(differing)}): distribute that run itself, with "
            "sorth-onnx distribute --resume"
        )


def _meaning(text: str) -> dict[str, Any]:
    """The options of a checkpoint that must be the same in all of a run; where it computes may change."""
    options: dict[str, Any] = json.loads(text)
    numbers = options.pop("numbers")
    options.pop("version", None)
    return {**options, **{key: one for key, one in numbers.items() if key not in _PLACEMENT}}


_PLACEMENT = ("normalize", "backend", "threads", "stepsPerRun", "allowFallback")


def check_data(plan: Mapping[str, Any], train: Dataset, validation: float | None) -> list[str]:
    """Refuses other data than those with which a resumed run was begun; returns remarks for the user."""
    before, held = plan["data"], plan.get("validation", 0)
    if validation is not None and validation != held:
        begun = f"a share of {held}" if isinstance(held, (int, float)) else f'"{held["name"]}"'
        raise RunError(
            f"the run was begun with {begun} held out for validation, not with a share of {validation}: leave "
            "--validation out, or give --other-data"
        )
    same = same_data(train, before)
    if same is None:
        remark = (
            f'the checkpoint\'s checksum of "{before["name"]}" is not compared, because that takes Python long; '
            f"the number of samples is the same ({train.size})"
        )
        return [remark]
    if not same:
        now = identity_of(train)
        raise RunError(
            f'the run was trained on other data: "{before["name"]}" with {before["samples"]} samples (checksum '
            f'{before["checksum"]}), and "{now["name"]}" has {now["samples"]} ({now["checksum"]}); give the same data, '
            "or --other-data to go on with these"
        )
    return []


def check_same(worker: Worker, fit: Fit) -> None:
    """Refuses processes that would do different runs, as with another copy of the data on another machine."""
    if worker.reducer.size == 1 or worker.plan is None or worker.data is None:
        return
    held = worker.plan.get("validation")
    sets = [worker.plan["data"], *([held] if isinstance(held, dict) else [])]
    data = [*([one["samples"], one["checksum"]] for one in sets), worker.data.test.size if worker.data.test else 0]
    flags = replace(fit, checkpoint=None, early_stop=None), fit.checkpoint is None, worker.plan.get("earlyStop"), worker.how
    states = [worker.graphs.state[one.input].read() for one in (*worker.contract.parameters, *worker.contract.statistics)]
    facts = {
        "another folder of graphs": json_text(worker.contract.raw).encode(),
        "other data": json_text(data).encode(),
        "other flags": repr(flags).encode(),
        "other weights at the start": b"".join(one.tobytes() for one in states),
    }
    for name, content in facts.items():
        of_all = of_each(worker.reducer, zlib.crc32(content))
        different = np.flatnonzero(of_all != of_all[0])
        if different.size > 0:
            raise RunError(f"process {different[0]} has {name} than process 0: give all machines the same, and start all alike")


def check_held_out(fit: Fit, validation: Dataset | None) -> None:
    """Refuses to decide between epochs by nothing."""
    asked = (
        "early stopping (--early-stop)" if fit.early_stop is not None
        else "keeping the best checkpoints (--keep)" if fit.keep is not None
        else "a monitored figure (--monitor)" if fit.monitor is not None
        else f"the trained model of {fit.weights} (--from)" if fit.weights is not None
        else None
    )  # fmt: skip
    if asked and validation is None:
        raise RunError(f"{asked} needs held-out samples: give --validation, as in --validation 0.1")
    if fit.keep is not None and fit.checkpoint is None:
        raise RunError("keeping the best checkpoints (--keep) needs a folder for them: give --checkpoint")


def check_taught(contract: Contract, normalize: Any) -> None:
    """Refuses samples that are scaled otherwise than those on which the teacher was trained: both read the same numbers."""
    wanted, own = contract.raw["data"]["taught"], "none" if normalize is None else normalize
    if wanted is not None and wanted != own:
        raise RunError(
            f"the teacher was trained on samples scaled by {json_text(wanted)}, and this run scales them by {json_text(own)}: "
            "distribute it with --normalize as the teacher has it"
        )
