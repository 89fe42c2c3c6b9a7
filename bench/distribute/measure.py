"""Measures steps of a distributed run, or sums over processes alone.

    python measure.py steps DIR [STEPS]               one process
    torchrun --nproc-per-node 2 measure.py steps DIR  several
    torchrun --nproc-per-node 2 measure.py sums       all-reduce by size

The first process prints one line of JSON. Each step waits for the others, so a step's time is that of the slowest process.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))

from sorth_distributed import Dataset, Fit, Worker, column_of, load, reducer_of_environment  # noqa: E402

SIZES = [4 << 10, 64 << 10, 512 << 10, 4 << 20, 16 << 20]


class Timed:
    """A reducer that measures how long its caller waits, and counts the bytes."""

    def __init__(self, inner):
        self.inner, self.rank, self.size = inner, inner.rank, inner.size
        self.seconds, self.bytes, self.sums = 0.0, 0, 0

    def sum(self, array, half=False):
        self.bytes += array.nbytes // (2 if half else 1)
        self.sums += 1
        return self._timed(lambda: self.inner.sum(array, half))

    def share(self, array, source):
        return self._timed(lambda: self.inner.share(array, source))

    def _timed(self, begin):
        started = time.perf_counter()
        work = begin()
        self.seconds += time.perf_counter() - started
        return Waiting(self, work)

    def close(self):
        self.inner.close()


class Waiting:
    """A sum under way, whose wait is measured."""

    def __init__(self, timed, work):
        self.timed, self.work = timed, work

    def wait(self):
        started = time.perf_counter()
        self.work.wait()
        self.timed.seconds += time.perf_counter() - started


def random_samples(contract):
    """One batch of samples of the shapes that the contract feeds."""
    feeds = contract.raw["feeds"]
    shapes = [one["shape"][1:] for one in feeds["inputs"]]
    numbers = np.random.default_rng(1)
    x = numbers.standard_normal((contract.batch, *shapes[0])).astype(np.float32)
    return Dataset("random", contract.batch, (column_of("x", x),), column_of("y", np.zeros(contract.batch, np.int32)))


def steps(folder, count):
    contract = load(Path(folder))
    reducer = Timed(reducer_of_environment(contract.backend))
    worker = Worker(contract, reducer, random_samples(contract))
    times, waits = [], []
    began = time.perf_counter()
    for event in worker.fit(Fit(epochs=count, validation=0)):
        if event["event"] != "step":
            continue
        now = time.perf_counter()
        times.append(now - began)
        waits.append(reducer.seconds)
        began, reducer.seconds = now, 0.0
    warm = count // 5
    done = {
        "processes": reducer.size,
        "step": round(1e3 * statistics.median(times[warm:]), 3),
        "least": round(1e3 * min(times[warm:]), 3),
        "quartiles": [round(1e3 * float(q), 3) for q in np.quantile(times[warm:], [0.25, 0.75])],
        "communication": round(1e3 * statistics.median(waits[warm:]), 3),
        "leastCommunication": round(1e3 * min(zip(times[warm:], waits[warm:]))[1], 3),
        "bytes": reducer.bytes // count,
        "sums": round(reducer.sums / count, 2),
    }
    if reducer.rank == 0:
        print(json.dumps(done), flush=True)
    reducer.close()


def sums():
    reducer = reducer_of_environment("cpu")
    found = {}
    for size in SIZES:
        array = np.zeros(size // 4, np.float32)
        times = []
        for _ in range(40 if size < 1 << 20 else 12):
            began = time.perf_counter()
            reducer.sum(array).wait()
            times.append(time.perf_counter() - began)
        found[size] = round(1e3 * min(times[3:]), 4)
    if reducer.rank == 0:
        print(json.dumps({"processes": reducer.size, "sums": found}), flush=True)
    reducer.close()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.argv[1] == "sums":
        sums()
    else:
        steps(sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 60)
