"""The command line of `run.py`."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import run_folder
from .contract import Contract, load
from .data import load_data, source_of
from .errors import RunError
from .export import check_export, check_output
from .fit_loop import Fit, NothingLeft
from .reducer import Reducer, reducer_of_environment
from .restarts import begin_launch, end_launch, holder_of, is_restart, is_there
from .worker import Worker


class _Once(argparse.Action):
    """A value that is given once: of two, one would be lost without a word."""

    def __call__(self, parser: Any, flags: Any, value: Any, option: str | None = None) -> None:
        if getattr(flags, self.dest) is not self.default:
            parser.error(f"{option} is given twice: give it once")
        setattr(flags, self.dest, value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Trains a run of sorth-onnx distribute: python run.py, or torchrun --nproc-per-node N run.py.",
    )
    parser.register("action", None, _Once)
    parser.add_argument("--data", help="mnist, or a file as sorth-onnx train reads it; data that were converted need none")
    parser.add_argument("--epochs", type=int, help="passes over the data (default: as distributed)")
    parser.add_argument(
        "--max-steps", type=int, help="stop after this number of steps, where the epochs do not end the run before"
    )
    parser.add_argument("--validation", type=float, help="share of the data to hold out for validation")
    parser.add_argument("--monitor", help="the figure on the held-out samples that says which epochs are best")
    parser.add_argument("--early-stop", type=int, help="end when that figure has not improved for this many epochs in a row")
    parser.add_argument("--no-early-stop", action="store_true", help="a resumed run no longer ends early")
    parser.add_argument("--minimum-change", type=float, help="--early-stop only counts an improvement that exceeds this")
    parser.add_argument("--keep", type=int, help="keep the checkpoints of this many best epochs, as epoch-N.safetensors")
    parser.add_argument("--from", dest="weights", help="weights of the trained model: last, best or epoch-N")
    parser.add_argument("--checkpoint", help="folder for checkpoints and run.jsonl")
    parser.add_argument("--resume", help="continue the run of this folder")
    parser.add_argument("--other-data", action="store_true", help="allow a resumed run to continue with other data")
    parser.add_argument("--save-every", type=int, help="also save whenever this many steps are done, not only after epochs")
    parser.add_argument("-o", "--output", help="where to write the trained model")
    parser.add_argument("--shard-optimizer", action="store_true", help="each process updates its share of the weights")
    parser.add_argument("--reduce", choices=["float32", "bfloat16"], default="float32", help="the type in which gradients travel")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


def main(folder: Path, words: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code: 0 done, 1 failed, 2 wrong usage."""
    flags = _parser().parse_args(words)
    try:
        contract = load(folder)
        reducer = reducer_of_environment(contract.backend)
    except RunError as error:
        return _failed(error)
    try:
        return _run(contract, reducer, flags)
    except RunError as error:
        return _failed(error)
    except OSError as error:
        where = "" if error.filename is None else f' "{error.filename}"'
        return _failed(RunError(f"the file system refuses{where}: {error.strerror}"))
    finally:
        reducer.close()


def _failed(error: RunError) -> int:
    # Once on each machine: another one may have found what is wrong.
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        print(f"error: {error}", file=sys.stderr, flush=True)
    return 1


def _run(contract: Contract, reducer: Reducer, flags: Any, again: bool | None = None) -> int:
    """`again`: whether an earlier attempt began the run; None: torchrun's environment says it."""
    flags.data = source_of(flags.data, contract)
    for name in ("epochs", "max_steps", "save_every", "early_stop", "keep"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            raise RunError(f"--{name.replace('_', '-')} must be a whole number of 1 or more, not {value}")
    if flags.validation is not None and not 0 <= flags.validation < 1:
        raise RunError(f"--validation must be at least 0 and below 1, not {flags.validation}")
    if flags.minimum_change is not None and (flags.early_stop is None or not flags.minimum_change >= 0):
        raise RunError("--minimum-change is a number of 0 or more, and belongs to --early-stop: give the number of epochs too")
    if flags.early_stop is not None and flags.no_early_stop:
        raise RunError("--early-stop and --no-early-stop contradict each other: give one")
    if flags.weights is not None and not re.fullmatch(r"last|best|epoch-[1-9]\d*", flags.weights):
        raise RunError(f'--from takes last, best or epoch-N, not "{flags.weights}"')
    if flags.weights is not None and not flags.output:
        raise RunError("--from chooses the weights of the trained model: give -o too")
    run = Path(flags.checkpoint or flags.resume) if flags.checkpoint or flags.resume else None
    again = is_restart(run, reducer) if again is None else again
    if flags.output:
        check_export(contract, run, Path(flags.output))
    if flags.output and reducer.rank == 0:
        check_output(contract, Path(flags.output), flags.force or flags.resume or again)
    continued = Path(flags.resume) if flags.resume else None
    restarted = run is not None and again and is_there(run / "last.safetensors", reducer)
    if restarted:
        continued = run
    if continued:
        # A name that is mistyped must not become a folder.
        holder_of(continued / "last.safetensors", reducer)
    worker = Worker(
        contract, reducer, load_data(flags.data, contract),
        shard_optimizer=flags.shard_optimizer, half=flags.reduce == "bfloat16",
    )  # fmt: skip
    lock = None
    if reducer.rank == 0 and run is not None:
        run_folder.check_folder(contract, run)
        lock = run_folder.RunLock(run)
    try:
        if reducer.rank == 0 and run is not None:
            # --force deletes the checkpoints of an earlier run, so only after the data were found, and of none that goes on.
            if continued != run:
                run_folder.check_new(run, flags.force or again)
            begin_launch(run)
        worker.other_data = flags.other_data
        if continued:
            worker.load(continued)
        if restarted and run and reducer.rank == 0:
            run_folder.forget_after(run, worker.position.step)
        code = _train(worker, run, continued, flags)
    finally:
        if lock:
            lock.release()
    # torchrun stops the processes with a signal too, when another machine joins.
    if code == 0 and reducer.rank == 0 and run is not None:
        end_launch(run)
    return code


def _fit_of(worker: Worker, run: Path | None, flags: Any, continued: bool) -> Fit:
    noted, before = worker.contract.raw["fit"], worker.plan or {}
    known = (before or noted) if continued else {**before, **noted}
    validation = flags.validation if flags.validation is not None else known.get("validation")
    max_steps = flags.max_steps
    if max_steps is None and flags.epochs is None:
        max_steps = known.get("maxSteps")
    return Fit(
        epochs=flags.epochs or known.get("epochs", 1),
        max_steps=max_steps,
        validation=validation if isinstance(validation, (int, float)) else None,
        checkpoint=run,
        save_every=flags.save_every,
        monitor=flags.monitor or known.get("monitor"),
        keep=flags.keep or known.get("keep"),
        early_stop=_early_stop(flags, known),
        goes_on=flags.early_stop is None and not flags.no_early_stop and known.get("earlyStop") is not False,
    )


def _early_stop(flags: Any, known: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if flags.no_early_stop:
        return None
    if flags.early_stop is None:
        return known.get("earlyStop") or None
    least = {} if flags.minimum_change is None else {"minimumChange": flags.minimum_change}
    return {"patience": flags.early_stop, **least}


def _wanted_weights(worker: Worker, run: Path | None, fit: Fit, flags: Any) -> tuple[str, bool]:
    """Of which checkpoint the trained model is, by default the best with early stopping; and whether that was asked for by name."""
    asked = flags.weights or worker.contract.raw["fit"].get("from")
    kind = asked or ("best" if fit.early_stop else "last")
    if flags.output and kind != "last" and run is None:
        raise RunError(f"the weights of {kind} are those of a checkpoint: give --checkpoint, or --from last")
    return kind, asked is not None


def _awaited_weights(worker: Worker, run: Path | None, fit: Fit, kind: str) -> str | None:
    """A checkpoint that was asked for, if it does not exist yet. Refuses, before the run begins, one that it cannot make."""
    if kind == "last" or run is None or is_there(run / f"{kind}.safetensors", worker.reducer):
        return None
    if kind != "best" and fit.keep is None:
        raise RunError(f"--from {kind}: no epoch's checkpoint stays without --keep: give it, or --from last")
    return kind


def _load_weights(worker: Worker, run: Path, kind: str, is_asked: bool) -> str:
    """Goes to the checkpoint of which the trained model is to be; without one that was not asked for, to none."""
    if is_there(run / f"{kind}.safetensors", worker.reducer):
        worker.load(run, kind)
        return kind
    if not is_asked:
        return "last"
    why = "validate (--validation)" if kind == "best" else "keep the checkpoints of single epochs (--keep)"
    raise RunError(f'"{run}" has no checkpoint "{kind}": {why}, or give --from last')


def _train(worker: Worker, run: Path | None, continued: Path | None, flags: Any) -> int:
    reducer = worker.reducer
    # Ray runs the loop in a thread, where Python takes no signals.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: worker.stop())
    fit = _fit_of(worker, run, flags, continued is not None)
    kind, is_asked = _wanted_weights(worker, run, fit, flags)
    if flags.output and is_asked:
        fit = replace(fit, weights=_awaited_weights(worker, run, fit, kind))
    log = run_folder.RunLog(run, continued == run) if run and reducer.rank == 0 else None
    if log:
        fit = replace(fit, before_save=log.flush)
    event: dict[str, Any] = {}
    begun = continued == run
    try:
        events = worker.fit(fit)
        for event in events:
            if log:
                log.add(event)
            for remark in worker.remarks:
                if reducer.rank == 0 and not flags.quiet:
                    print(remark, file=sys.stderr, flush=True)
            worker.remarks.clear()
            if not flags.quiet and reducer.rank == 0:
                _show(event)
            if log and run and not begun:
                _begin(worker, run, fit, flags)
                begun = True
    except NothingLeft:
        # What ended the run before may have ended it while it wrote its model.
        if not flags.output or continued is None:
            raise
    finally:
        if log:
            log.flush()
    if event.get("stopped") == "aborted":
        if reducer.rank == 0:
            where = f"; to go on: run.py --data {flags.data} --resume {run}" if run else ""
            print(f"stopped after step {worker.position.step}{where}", file=sys.stderr, flush=True)
        return 1
    if flags.output and kind != "last" and run:
        kind = _load_weights(worker, run, kind, is_asked)
    done = worker.update_batch_norm() if flags.output or worker.data and worker.data.test else None
    if done and reducer.rank == 0 and not flags.quiet:
        print(done, file=sys.stderr, flush=True)
    if flags.output:
        worker.export(flags.output)
        if reducer.rank == 0 and not flags.quiet:
            _say_end(worker, event, kind)
    if worker.data and worker.data.test and not worker.evaluation.obstacle:
        figures = worker.evaluate(worker.data.test)
        if reducer.rank == 0:
            accuracy = f"accuracy {100 * figures['accuracy']:.2f} %, " if "accuracy" in figures else ""
            print(f"test: {accuracy}loss {figures['loss']:.4g} on {figures['samples']} samples", flush=True)
    return 0


def _say_end(worker: Worker, event: Mapping[str, Any], kind: str) -> None:
    if event.get("stopped") == "early":
        print(f"stopped: early, after epoch {event['epoch']}; to go on all the same: --no-early-stop", file=sys.stderr)
    if kind != "last":
        print(f"weights of step {worker.position.step} ({kind})", file=sys.stderr, flush=True)


def _begin(worker: Worker, run: Path, fit: Fit, flags: Any) -> None:
    stop = fit.early_stop or {}
    chosen = {
        "epochs": fit.epochs, "maxSteps": fit.max_steps, "validation": fit.validation, "monitor": fit.monitor,
        "keep": fit.keep, "earlyStop": stop.get("patience"), "minimumChange": stop.get("minimumChange"),
        "from": flags.weights or worker.contract.raw["fit"].get("from"),
    }  # fmt: skip
    run_folder.begin(worker.contract, run, flags.data, chosen, worker.record())


def _show(event: dict[str, Any]) -> None:
    if event["event"] == "step" and event["step"] % 100 == 0 or event["event"] == "epoch":
        held = event.get("validation")
        more = f", validation loss {held['loss']:.4f}" if held else ""
        print(
            f"epoch {event['epoch']}, step {event['step']}: loss {event['loss']:.4f}{more}, "
            f"{event['samplesPerSecond']:.0f} samples/s",
            file=sys.stderr,
            flush=True,
        )
