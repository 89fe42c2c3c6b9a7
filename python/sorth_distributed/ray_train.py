"""Ray Train: the same runner as a TorchTrainer loop.

    python -m sorth_distributed.ray_train DIR --workers 2 --data mnist --checkpoint RUN -o trained.onnx

All flags but --workers and --gpu are those of run.py. Ray places the workers, sets up torch.distributed between them, and starts
them again after a failure (--failures), from the last checkpoint.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import command
from .contract import load
from .data import whole_path
from .errors import RunError, unusable
from .reducer import Reducer, of_each, reducer_of_environment

PATHS = ("checkpoint", "resume", "output")


def train_loop(config: Mapping[str, Any]) -> None:
    """The loop of one Ray worker: what run.py does in a process of torchrun. `config`: `folder`, and the flags of run.py by name."""
    contract = load(Path(config["folder"]))
    flags = argparse.Namespace(**config["flags"])
    reducer = reducer_of_environment(contract.backend)
    code = command._run(contract, reducer, flags, again=_started_before(config, reducer))
    if code:
        raise RunError(f"the run ended before its last step (exit code {code})")


def _started_before(config: Mapping[str, Any], reducer: Reducer) -> bool:
    """Whether this is a restart: at the first start the first worker leaves a mark, which it alone looks for."""
    mark = Path(config["mark"])
    found = reducer.rank == 0 and mark.exists()
    if reducer.rank == 0:
        mark.touch()
    return bool(of_each(reducer, found).any())


def train(
    folder: str | Path,
    words: Sequence[str],
    *,
    workers: int,
    gpu: bool = False,
    failures: int = 0,
    storage: str | Path | None = None,
) -> None:
    """Trains a distributed run on Ray workers. `words`: flags of run.py. Raises RunError where a worker failed."""
    try:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError as error:
        raise unusable("ray", 'pip install "ray[train]==2.55.1" torch', error) from error
    flags = vars(command._parser().parse_args(list(words)))
    # Ray's workers have another working directory.
    for name in PATHS:
        if flags[name]:
            flags[name] = str(Path(flags[name]).resolve())
    if flags["data"]:
        flags["data"] = whole_path(flags["data"])
    contract = load(folder)
    if not 1 <= workers <= contract.shards:
        # Else Ray waits, perhaps for ever, until it has machines for them.
        raise RunError(
            f"{workers} workers, but the batch is cut into {contract.shards} parts: give --workers 1 to {contract.shards}"
        )
    show_package_to_workers()
    kept = Path(storage) if storage else Path(tempfile.mkdtemp(prefix="sorth-ray-"))
    config = {"folder": str(Path(folder).resolve()), "flags": flags, "mark": str(kept / "started")}
    trainer = TorchTrainer(
        train_loop,
        train_loop_config=config,
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
        run_config=RunConfig(storage_path=str(kept), failure_config=FailureConfig(max_failures=failures)),
    )
    try:
        result = trainer.fit()
    except Exception as error:
        raise RunError(f"the run failed on Ray: {_cause(error)}") from error
    if result.error:
        raise RunError(f"the run failed on Ray: {_cause(result.error)}")


def _cause(error: BaseException) -> str:
    """The last line of what a worker raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def show_package_to_workers() -> None:
    """Ray's workers import this package too."""
    parent = str(Path(__file__).resolve().parent.parent)
    paths = [parent, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m sorth_distributed.ray_train", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="what sorth-onnx distribute wrote")
    parser.add_argument("--workers", type=int, required=True, help="number of Ray workers")
    parser.add_argument("--gpu", action="store_true", help="a GPU for each worker, and NCCL between them")
    parser.add_argument("--failures", type=int, default=0, help="restarts from the last checkpoint after a failure")
    own, others = parser.parse_known_args(words)
    try:
        train(own.folder, others, workers=own.workers, gpu=own.gpu, failures=own.failures)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
