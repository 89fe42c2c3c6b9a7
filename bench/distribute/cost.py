"""What training over a network costs, on paper and by simulation, for 2 to 1,000 workers.

    python cost.py --write    writes the tables of docs/distribution-cost.md from bench/results/distribute.json
    python cost.py            fails where that file has other tables

Model of a step of W workers that sum n bytes by a ring (each sends 2(W−1) pieces of n/W bytes; Patarasuk, Yuan 2009):

    step = compute + sums·(2(W−1)·latency) + 2(W−1)/W·n/bandwidth + n·host

`compute`: forward, backward and update of a worker's own share; `latency`: of one message, one way; `host`: seconds a byte costs
on the machines themselves (copies, additions), from sums over loopback. The runner reduces a step's gradients after its backward
pass, which is one run of ONNX Runtime: nothing is hidden behind it. The simulation draws each worker's compute time from the
spread that was measured, lets each wait for its left neighbour in each of the 2(W−1) phases, and takes the mean over steps.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).resolve().parents[1] / "results" / "distribute.json"
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "distribution-cost.md"
WORKERS = [2, 4, 8, 16, 64, 256, 1000]
GPU = 2e13
"""Multiplications and additions a second: assumed, and not measured."""
NETWORKS = {
    # bits per second, seconds one way
    "10 Gbit/s, 0.05 ms (a rack)": (10e9, 5e-5),
    "1 Gbit/s, 0.2 ms (an office)": (1e9, 2e-4),
    "100 Mbit/s, 10 ms (homes)": (1e8, 1e-2),
}


@dataclass(frozen=True)
class Job:
    """One run: what each worker computes and what travels."""

    name: str
    parameters: int
    """Those that are trained: adapters alone where only they are."""
    compute: float
    """Seconds of a step of one worker: measured, or its products at the measured rate of products."""
    sums: float = 3
    """Sums in a step: gradients, figures, and whether some worker stops."""
    width: int = 4
    """Bytes of a gradient: 2 in bfloat16."""
    gram: int = 0
    """Numbers of the matrices that --exact adds: k² of each layer with a penalty on responses, 2k of each BatchNorm."""
    accumulate: int = 1
    """Steps between two exchanges: gradients accumulated, or local steps of federated averaging."""

    @property
    def bytes(self) -> float:
        """What is summed in one exchange."""
        return self.parameters * self.width + 4 * self.gram


def sent(job: Job, workers: int, zero: bool = False) -> float:
    """Bytes that a worker sends in one exchange. ZeRO-1 here: gradients summed as before, then new parameters from their owners."""
    ring = (workers - 1) / workers
    return ring * (2 * job.bytes + (4 * job.parameters if zero else 0))


def on_paper(job: Job, workers: int, bits: float, latency: float, host: float) -> float:
    """Seconds of a step, a mean over those between exchanges."""
    moved = sent(job, workers) / (bits / 8) + job.bytes * host
    return job.compute + (2 * (workers - 1) * latency * job.sums + moved) / job.accumulate


def simulated(job: Job, workers: int, bits: float, latency: float, host: float, spread: float, steps: int = 12) -> float:
    """The same with compute times that differ from worker to worker and step to step (log-normal; `spread` is its deviation)."""
    numbers = np.random.default_rng(workers)
    piece = job.bytes / workers / (bits / 8) + job.bytes * host / (2 * (workers - 1))
    total = 0.0
    for _ in range(steps):
        # Local steps add up before the workers meet.
        drawn = numbers.lognormal(0.0, spread, (min(job.accumulate, 64), workers))
        clock = job.compute * job.accumulate * drawn.mean(axis=0)
        for _ in range(2 * (workers - 1)):
            clock = np.maximum(clock, np.roll(clock, 1)) + latency + piece
        clock += (job.sums - 1) * 2 * (workers - 1) * latency
        total += float(clock.max()) / job.accumulate
    return total / steps


def limit(job: Job, bits: float, latency: float, host: float) -> int:
    """The most workers at which at least half of a step's time is computing; 1 if two are too many."""
    most = 1
    for workers in range(2, 1001):
        if job.compute / on_paper(job, workers, bits, latency, host) >= 0.5:
            most = workers
    return most


def jobs(constants: dict) -> list[Job]:
    """The networks of the tables."""
    rate = constants["flops"]
    return [
        Job("MLP 784-128-64-10, 64 digits", constants["parameters"]["mlp"], constants["steps"]["mlp"]),
        Job("CNN 3-32-64-128, 16 images", constants["parameters"]["cnn"], constants["steps"]["cnn"]),
        Job("PointNet, 8 clouds", constants["parameters"]["pointnet"], constants["steps"]["pointnet"]),
        # 4.1 GFLOP forward an image (two for a multiply and add), three times that with the backward pass.
        Job("ResNet-50, 32 images", 25_557_032, 32 * 3 * 2 * 4.1e9 / rate),
        # Rank 16 beside all seven products of 16 layers of width 2048/8192; frozen weights need no gradient of their own.
        Job("1 B adapters, rank 16, 512 tokens", 11_272_192, 512 * 4 * 1.24e9 / rate),
        Job("ResNet-50 on a GPU", 25_557_032, 32 * 3 * 2 * 4.1e9 / GPU),
        Job("1 B adapters on a GPU", 11_272_192, 512 * 4 * 1.24e9 / GPU),
    ]


def variants(job: Job) -> list[tuple[str, Job]]:
    """What helps."""
    return [
        ("as it is", job),
        ("--reduce bfloat16", replace(job, width=2)),
        ("--accumulate 8", replace(job, accumulate=8)),
        ("both", replace(job, width=2, accumulate=8)),
        ("100 local steps (federated)", replace(job, accumulate=100)),
    ]


def tables(results: dict) -> str:
    """The tables as Markdown."""
    constants = results["constants"]
    host, spread = constants["host"], constants["spread"]
    lines = ["| run | numbers that travel | step alone | sent by each of 2 workers | of many | bfloat16 | ZeRO-1 |", "|---|---|---|---|---|---|---|"]
    for job in jobs(constants):
        cells = [sent(job, 2), sent(job, 1000), sent(replace(job, width=2), 1000), sent(job, 1000, zero=True)]
        lines.append(
            f"| {job.name} | {job.parameters:,} | {_time(job.compute)} | " + " | ".join(_size(one) for one in cells) + " |"
        )
    for name, (bits, latency) in NETWORKS.items():
        lines += ["", f"**{name}**: time of a step, simulated (on paper), and share of it that is computing", ""]
        lines += ["| run | " + " | ".join(f"{w:,}" for w in WORKERS) + " |", "|---" * (len(WORKERS) + 1) + "|"]
        for job in jobs(constants):
            cells = []
            for workers in WORKERS:
                paper = on_paper(job, workers, bits, latency, host)
                found = simulated(job, workers, bits, latency, host, spread)
                cells.append(f"{_time(found)} ({_time(paper)}), {100 * job.compute / found:.0f} %")
            lines.append(f"| {job.name} | " + " | ".join(cells) + " |")
    lines += ["", "Most workers at which half of the time or more is computing (on paper; 1,000 is where the table ends):", ""]
    names = [name for name, _ in variants(jobs(constants)[0])]
    lines += ["| run | network | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for job in jobs(constants):
        for name, (bits, latency) in NETWORKS.items():
            counts = [limit(own, bits, latency, host) for _, own in variants(job)]
            lines.append(f"| {job.name} | {name} | " + " | ".join(f"{one:,}" for one in counts) + " |")
    return "\n".join(lines)


def _size(count: float) -> str:
    return f"{count / 1e6:.3g} MB"


def _time(seconds: float) -> str:
    if seconds >= 0.995:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    return f"{1e3 * seconds:.0f} ms" if seconds >= 0.00995 else f"{1e3 * seconds:.1f} ms"


def scaling(results: dict) -> str:
    """One process and two on this machine, at the same work a process."""
    lines = ["| network | one process | two | efficiency | waiting for sums |", "|---|---|---|---|---|"]
    for row in results["scaling"]:
        one, two = row["one"], row["two"]
        lines.append(
            f"| {row['network']}, {row['samples']} samples a process | {one['least']:.1f} ms ({one['step']:.1f}) | {two['least']:.1f} ms "
            f"({two['step']:.1f}) | {100 * one['least'] / two['least']:.0f} % | {100 * two['leastCommunication'] / two['least']:.0f} % "
            f"({100 * two['communication'] / two['step']:.0f} %) |"
        )
    return "\n".join(lines)


def checks(results: dict) -> str:
    """The measured steps in namespaces beside the model."""
    lines = ["| link | step measured | model | difference |", "|---|---|---|---|"]
    for row in results["namespaces"]:
        job = Job("", row["bytes"] // 4, row["compute"] / 1e3, sums=row["sums"])
        # The token bucket counts whole frames: 1,514 bytes for 1,448 of ours.
        bits = row["megabits"] * 1e6 * 1448 / 1514
        latency = 1e-3 * results["sums"]["4096"] / 2
        paper = 1e3 * on_paper(job, 2, bits, latency, results["constants"]["host"])
        lines.append(
            f"| {row['megabits']} Mbit/s | {row['least']:.1f} ms ({row['step']:.1f}) | {paper:.1f} ms | {100 * (row['least'] / paper - 1):+.0f} % |"
        )
    return "\n".join(lines)


def document(results: dict) -> str:
    """The guide with the tables of these results."""
    text = GUIDE.read_text()
    for name, table in (("tables", tables(results)), ("scaling", scaling(results)), ("checks", checks(results))):
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n\n{table}\n\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    written = document(json.loads(RESULTS.read_text()))
    if sys.argv[1:] == ["--write"]:
        GUIDE.write_text(written)
    elif written != GUIDE.read_text():
        sys.exit("docs/distribution-cost.md is not of bench/results/distribute.json: run cost.py --write")
