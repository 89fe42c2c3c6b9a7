"""Writes test/fixtures/tensorboard.json: a file of events as TensorBoard's own package writes it.

Run: npm run python -- scripts/oracles/event_files.py
"""

import base64
import io
import json
from pathlib import Path

import tensorboard
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

FIXTURE = Path(__file__).parents[2] / "test" / "fixtures" / "tensorboard.json"
SECONDS = 1700000000.25
# A step beyond 32 bits, numbers that are 0, negative and not finite, and a name outside of ASCII.
STEPS = [
    (1, {"train/loss": 2.5, "train/penalty/som": 0.0}),
    (300, {"validation/loss": -1.25, "Σ/ü": float("inf")}),
    (5_000_000_000, {"train/loss": 1e-20}),
]
HYPER_PARAMETERS = {"ema": False, "optimizer": "sgd:momentum=0.9", "seed": 0}


class Kept(io.BytesIO):
    def close(self) -> None:
        self.kept = self.getvalue()
        super().close()


def hyper_parameters() -> event_pb2.Event:
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=SECONDS)
    for name, value in HYPER_PARAMETERS.items():
        kind = {str: "string_value", bool: "bool_value"}.get(type(value), "number_value")
        setattr(start.hparams[name], kind, value)
    data = plugin_data_pb2.HParamsPluginData(session_start_info=start)
    content = data.SerializeToString(deterministic=True)
    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="hparams", content=content)
    )
    value = summary_pb2.Summary.Value(tag="_hparams_/session_start_info", metadata=metadata)
    return event_pb2.Event(wall_time=SECONDS, summary=summary_pb2.Summary(value=[value]))


def main() -> None:
    events = [event_pb2.Event(wall_time=SECONDS, file_version="brain.Event:2")]
    for step, scalars in STEPS:
        values = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        events.append(event_pb2.Event(wall_time=SECONDS, step=step, summary=summary_pb2.Summary(value=values)))
    events.append(hyper_parameters())
    file = Kept()
    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString())
    writer.close()
    content = {
        "tensorboard": tensorboard.__version__,
        "seconds": SECONDS,
        "steps": [[step, [[tag, str(value)] for tag, value in scalars.items()]] for step, scalars in STEPS],
        "hyperParameters": HYPER_PARAMETERS,
        "file": base64.b64encode(file.kept).decode(),
    }
    FIXTURE.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


main()
