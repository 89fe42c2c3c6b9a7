import sys

import numpy as np
import onnxruntime as ort

step, initial = (ort.InferenceSession(file) for file in sys.argv[1:3])
state = dict(zip([output.name for output in initial.get_outputs()], initial.run(None, {})))
inputs = {value.name: value for value in step.get_inputs()}
names = [output.name for output in step.get_outputs()]
own = {*state, "labels", "learning_rate", "step", "penalty_weight"}
data = next(name for name in inputs if name not in own)
x = inputs[data].shape
scalar = lambda value: np.array(value, np.float32)

for number in range(1, 11):
    feeds = {
        **state,
        data: np.sin(np.arange(np.prod(x))).astype(np.float32).reshape(x),
        "labels": np.arange(x[0], dtype=np.int32) % 2,
        "learning_rate": scalar(1e-3),
        "step": scalar(number),
    }
    if "penalty_weight" in inputs:
        feeds["penalty_weight"] = scalar(0.1)
    outputs = dict(zip(names, step.run(None, feeds)))
    print(number, float(outputs["loss"]))
    state = {name: outputs[f"{name}.next"] for name in state}
