"""Runs ONNX Runtime's official training package over what sorth-onnx wrote (see check.ts) and prints a Markdown table.

Usage: check.py FOLDER EXAMPLES   (EXAMPLES: the folder examples/, of which 08-official-python-block and
09-official-python-loss-in-graph are run)
"""

import json
import runpy
import sys
from pathlib import Path

from official import CheckpointState, Module, Optimizer

sys.path.insert(0, str(Path(__file__).parent.parent / "oracles"))
from lcg import labels, uniform  # noqa: E402

RATES = {"adamw": 1e-3, "sgd": 0.01}
EXAMPLE = {"block": "08-official-python-block", "graph": "09-official-python-loss-in-graph"}


def batch(task, index):
    name, shape = task["network"], task["shape"]
    return uniform(f"{name}/x/{index}", shape, 1.7), labels(f"{name}/y/{index}", shape[0], task["classes"])


def train(folder, task, checkpoint, first, last, save=None, optimizer="optimizer_model.onnx"):
    state = CheckpointState.load_checkpoint(str(checkpoint))
    # The official builder's eval model of training-form BatchNorm does not load.
    evaluation = [str(folder / "eval_model.onnx")] if task.get("eval") else []
    module = Module(str(folder / task.get("training", "training_model.onnx")), state, *evaluation)
    update = Optimizer(str(folder / optimizer), module)
    update.set_learning_rate(RATES[task["optimizer"]])
    module.train()
    losses = []
    for index in range(first, last):
        outputs = module(*batch(task, index))
        losses.append(float(outputs[0] if isinstance(outputs, (tuple, list)) else outputs))
        update.step()
        module.lazy_reset_grad()
    if save:
        CheckpointState.save_checkpoint(state, str(save), include_optimizer_state=True)
    return losses


def run(folder, task, examples):
    target = folder / task["folder"]
    if "example" in task:
        arguments = sys.argv
        sys.argv = ["main.py", str(target / "injected.onnx"), str(target)]
        runpy.run_path(str(examples / EXAMPLE[task["example"]] / "main.py"))
        sys.argv = arguments
    checkpoint = target / task.get("checkpoint", "checkpoint")
    losses = train(target, task, checkpoint, task.get("first", 0), 20)
    worst = max(abs(a - b) for a, b in zip(losses, task["losses"]))
    resumed = ""
    if task.get("resume"):
        half = train(target, task, checkpoint, 0, 10, target / "checkpoint-half")
        rest = train(target, task, target / "checkpoint-half", 10, 20)
        resumed = "yes" if half + rest == losses else "NO"
    return worst, resumed, len(losses)


def main(folder, examples):
    rows = []
    for task in json.loads((folder / "tasks.json").read_text()):
        try:
            worst, resumed, count = run(folder, task, examples)
            rows.append(f"| {task['what']} | {task['network']} | {task['optimizer']} | {count} | {worst:.1e} | {resumed} |")
        except Exception as error:  # noqa: BLE001
            reason = str(error).replace("\n", " ")[-160:]
            rows.append(f"| {task['what']} | {task['network']} | {task['optimizer']} | refused: {reason} | | |")
    (folder / "table.md").write_text("\n".join(rows) + "\n")


main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
